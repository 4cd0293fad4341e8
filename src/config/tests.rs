//! The settings as a whole: defaults, sources, contradictions, secrets, documents.
use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::server::config::{AuthMethod, TlsConfig};
use crate::server::users::Users;
use crate::upstream::config::TrackingConfig;

/// The least that a gateway needs.
const NEEDED: [(&str, &str); 5] = [
    ("UPSTREAM_HOST", "db"),
    ("UPSTREAM_USER", "admin"),
    ("UPSTREAM_PASSWORD", "hunter2"),
    ("UPSTREAM_DATABASE", "app"),
    ("AUTH_USERS", "ann:hunter3"),
];

/// Reads [`NEEDED`] with `more` over it.
fn config(more: &[(&str, &str)]) -> Result<Config, Vec<BadSetting>> {
    let given: BTreeMap<_, _> = NEEDED.iter().chain(more).copied().collect();
    Config::from_lookup(|name| given.get(name).map(|value| (*value).to_owned()))
}

/// What is said about [`NEEDED`] with `more` over it.
fn complaints(more: &[(&str, &str)]) -> Vec<String> {
    let bad = config(more).err().unwrap_or_default();
    bad.iter().map(ToString::to_string).collect()
}

/// A file of its own, gone with the value.
struct TemporaryFile(std::path::PathBuf);

impl TemporaryFile {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgsluice-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // One that is left behind is in the temporary folder.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn every_default_is_usable_and_what_the_owners_say() {
    let config = config(&[]).unwrap();

    assert_eq!(config.pool, PoolConfig::default());
    assert_eq!(config.server, ServerConfig::default());
    assert_eq!(config.session, SessionConfig::default());
    assert_eq!(config.log, LogConfig::default());
    assert_eq!(config.auth.method, AuthMethod::default());
    assert_eq!(config.upstream.primary.to_string(), "db:5432");
    assert_eq!(config.cache.ttl, Duration::from_mins(15));
    assert_eq!((config.cache.entries_max, config.cache.bytes_max), (10_000, 64 << 20));
    assert_eq!(
        (config.cache.entry_bytes_max, config.cache.caches_clock_functions),
        (1 << 20, true)
    );
    assert_eq!(config.drain_timeout, Duration::from_secs(8));
    assert!(config.worker_threads >= 1);
}

#[test]
fn every_default_given_by_hand_changes_nothing() {
    let defaults: Vec<_> = settings::all()
        .filter(|setting| !setting.default.is_empty())
        .map(|setting| (setting.name, setting.default))
        .collect();
    assert_eq!(format!("{:?}", config(&defaults)), format!("{:?}", config(&[])));
}

#[test]
fn every_setting_has_a_name_of_its_own_and_refuses_nonsense() {
    let mut names: Vec<_> = settings::all().map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), settings::all().count());

    for setting in settings::all() {
        assert!(setting.help.ends_with('.'), "{}: no sentence", setting.name);
        let said = complaints(&[(setting.name, "\u{1}no/such\u{1}")]).join("\n");
        assert!(said.contains(setting.name), "{} accepts anything: {said}", setting.name);
    }
}

#[test]
fn users_are_listed_with_commas_between_them() {
    let config = config(&[("READ_WRITE_USERS", " ann, ,Bob"), ("ADMIN_USERS", "carol")]).unwrap();
    assert_eq!(config.auth.writers, ["ann", "Bob"]);
    assert_eq!(config.auth.admins, ["carol"]);
}

#[test]
fn waits_for_freshness_and_failover_have_bounds() {
    let tracking = |given: &[(&str, &str)]| config(given).unwrap().upstream.tracking;
    assert_eq!(tracking(&[]), TrackingConfig::default());
    let given = [("LSN_POLL_MS", "5"), ("LSN_WAIT_MAX_MS", "0"), ("FAILOVER_WAIT_MAX_MS", "0")];
    let TrackingConfig { lsn_poll, lsn_wait_max, failover_wait_max, .. } = tracking(&given);
    assert_eq!(lsn_poll, Duration::from_millis(5));
    assert_eq!((lsn_wait_max, failover_wait_max), (Duration::ZERO, Duration::ZERO));
    for (name, value) in [("LSN_POLL_MS", "0"), ("LSN_WAIT_MAX_MS", "2147483648")] {
        assert!(complaints(&[(name, value)]).join("").contains(name), "{name}={value}");
    }
}

#[test]
fn every_bad_setting_is_reported_at_once() {
    let bad = Config::from_lookup(|name| match name {
        "UPSTREAM_HOST" => Some("postgres://admin:hunter2@db/app".to_owned()),
        "POOL_SIZE" => Some("0".to_owned()),
        "LISTEN_PORT" => Some("65536".to_owned()),
        "TLS_REQUIRED" => Some("true".to_owned()),
        "AUTH_METHOD" => Some("md5".to_owned()),
        _ => None,
    });
    let said: Vec<_> = bad.unwrap_err().iter().map(ToString::to_string).collect();

    let expected = [
        "UPSTREAM_HOST=(a connection string, not shown) is not usable: expected a host name",
        "POOL_SIZE=\"0\" is not usable: expected a whole number from 1 to 10000",
        "LISTEN_PORT=\"65536\" is not usable: expected a whole number from 0 to 65535",
        "AUTH_METHOD=\"md5\" is not usable: expected one of scram-sha-256, trust",
        "UPSTREAM_USER is required and not set",
        "UPSTREAM_PASSWORD is required and not set",
        "UPSTREAM_DATABASE is required and not set",
        "TLS_REQUIRED: there is no TLS without a certificate",
        "AUTH_METHOD: scram-sha-256 needs to know who may sign in; set AUTH_USERS or \
         AUTH_USERS_FILE, or AUTH_METHOD=trust",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for line in expected {
        assert!(said.iter().any(|said| said.starts_with(line)), "{line}: {said:#?}");
    }
}

#[test]
fn every_problem_of_the_rules_file_is_reported_with_its_line() {
    let good = "traffic_control:\n  rules:\n  - {name: a, match: {}, action: observe}\n";
    let file = TemporaryFile::new("rules", good);
    assert_eq!(complaints(&[("RULES_FILE", file.path())]), Vec::<String>::new());
    let path = config(&[("RULES_FILE", file.path())]).unwrap().server.rules_file;
    assert_eq!(path.as_deref(), Some(Path::new(file.path())));

    let bad = good.replace("observe", "refuse") + "  - {name: b, match: {usr: x}, action: deny}\n";
    let file = TemporaryFile::new("bad-rules", &bad);
    let said = complaints(&[("RULES_FILE", file.path()), ("POOL_SIZE", "0")]);
    let expected =
        ["POOL_SIZE=", "RULES_FILE: line 3: rule \"a\":", "RULES_FILE: line 4: rule \"b\":"];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    assert!(said.iter().zip(expected).all(|(said, begin)| said.starts_with(begin)), "{said:#?}");

    let gone = complaints(&[("RULES_FILE", "/nonexistent/rules.yaml")]);
    assert!(gone.len() == 1 && gone[0].contains("the file cannot be read"), "{gone:#?}");
}

#[test]
fn contradictions_say_how_to_choose() {
    let file = TemporaryFile::new("any", "x");
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("AUTH_METHOD", "trust")], "AUTH_METHOD: trust asks nobody"),
        (&[("AUTH_USERS", "")], "AUTH_METHOD: scram-sha-256 needs"),
        (&[("AUTH_USERS", "a:1,b:2,a:3")], "AUTH_USERS: entry 3: the name was given before"),
        (&[("TLS_CERT_FILE", file.path())], "TLS_CERT_FILE: it needs its key"),
        (&[("TLS_KEY_FILE", file.path())], "TLS_KEY_FILE: it needs its certificate"),
        (&[("UPSTREAM_SSLROOTCERT", file.path())], "UPSTREAM_SSLROOTCERT: UPSTREAM_SSLMODE=prefer"),
        (
            &[("UPSTREAM_PASSWORD_FILE", file.path())],
            "UPSTREAM_PASSWORD_FILE: UPSTREAM_PASSWORD is",
        ),
        (&[("STATEMENT_BYTES_MAX", "128MiB")], "STATEMENT_BYTES_MAX: 128MiB do not fit"),
        (&[("REPLICAS", "r1:5432,db")], "REPLICAS: one of them is the UPSTREAM_HOST"),
    ];
    for (more, expected) in cases {
        let said = complaints(more);
        assert!(said.len() == 1 && said[0].starts_with(expected), "{expected}: {said:?}");
    }
}

#[test]
fn zero_switches_off_what_may_be_off() {
    let off: Vec<_> = [
        "POOL_IDLE_TIMEOUT_SECONDS",
        "POOL_LIFETIME_SECONDS",
        "CACHE_TTL_SECONDS",
        "MAX_CACHE_ENTRIES",
        "CACHE_BYTES_MAX",
        "CLIENT_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS",
        "ANALYSIS_MEMO_BYTES_MAX",
    ]
    .map(|name| (name, "0"))
    .to_vec();
    let config = config(&off).unwrap();

    assert_eq!((config.pool.idle_timeout, config.pool.lifetime), (None, None));
    assert!(config.cache.ttl.is_zero());
    assert_eq!((config.cache.entries_max, config.cache.bytes_max), (0, 0));
    assert_eq!(config.cache.entry_bytes_max, 0, "one reply never outgrows the cache");
    assert_eq!(config.session.idle_in_transaction_timeout, None);
    assert_eq!(config.session.memo_bytes_max, 0);
}

#[test]
fn secrets_come_from_files_too() {
    let password = TemporaryFile::new("password", "hunter4 $x\r\n");
    let users = TemporaryFile::new("users", "# readers\nbob:hunter5\n\"eve\" \"hunter6\"\n");
    let config = config(&[
        ("UPSTREAM_PASSWORD", ""),
        ("UPSTREAM_PASSWORD_FILE", password.path()),
        ("AUTH_USERS_FILE", users.path()),
    ])
    .unwrap();

    assert_eq!(config.upstream.password.expose(), "hunter4 $x");
    let list = config.auth.user_list().unwrap();
    assert_eq!(list.file_lines, 3);
    assert_eq!(Users::parse(list.text.expose()).unwrap().len(), 3);

    let missing = complaints(&[("UPSTREAM_PASSWORD", ""), ("UPSTREAM_PASSWORD_FILE", "/no/such")]);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(
        missing[0].contains("\"/no/such\" is not usable: the file cannot be read"),
        "{missing:?}"
    );
}

#[test]
fn every_user_who_cannot_be_used_is_named_by_source_and_place() {
    let users = TemporaryFile::new("bad-users", "# readers\nhunter2\nbob:hunter2\nbob:hunter3\n");
    let verifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    let inline = format!("ann:{verifier}, bob:hunter4\neve:SCRAM-SHA-256$hunter5,");
    let said = complaints(&[("AUTH_USERS", &inline), ("AUTH_USERS_FILE", users.path())]);

    let expected = [
        "AUTH_USERS_FILE: line 2: expected name:secret",
        "AUTH_USERS_FILE: line 4: the name was given before",
        "AUTH_USERS: entry 2: the name was given before",
        "AUTH_USERS: entry 3: not a verifier",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for line in expected {
        assert!(said.iter().any(|said| said.starts_with(line)), "{line}: {said:#?}");
    }
    assert!(!said.join("").contains("hunter"), "{said:#?}");

    for nobody in [" , ,", "\n"] {
        assert_eq!(complaints(&[("AUTH_USERS", nobody)]).len(), 1, "{nobody:?}");
    }
    let empty = TemporaryFile::new("no-users", "# nobody\n");
    let said = complaints(&[("AUTH_USERS", ""), ("AUTH_USERS_FILE", empty.path())]);
    assert_eq!(said, ["AUTH_USERS: nobody is listed; expected name:secret"]);
}

#[test]
fn a_certificate_is_tried_with_its_key() {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = TemporaryFile::new("cert", &pair.cert.pem());
    let key = TemporaryFile::new("key", &pair.signing_key.serialize_pem());
    let other_key = TemporaryFile::new("other-key", &other.signing_key.serialize_pem());

    let files = [("TLS_CERT_FILE", certificate.path()), ("TLS_KEY_FILE", key.path())];
    let tls = config(&[&files[..], &[("TLS_REQUIRED", "on")]].concat()).unwrap().server.tls;
    let expected =
        TlsConfig { certificate: certificate.0.clone(), key: key.0.clone(), is_required: true };
    assert_eq!(tls, Some(expected));

    let said = complaints(&[files[0], ("TLS_KEY_FILE", other_key.path())]);
    assert!(
        said.len() == 1 && said[0].starts_with("TLS_CERT_FILE: the certificate in"),
        "{said:?}"
    );
    let said = complaints(&[("TLS_CERT_FILE", "/no/such"), ("TLS_KEY_FILE", key.path())]);
    assert!(said.len() == 1 && said[0].contains("cannot be read"), "{said:?}");
}

#[test]
fn no_secret_is_ever_shown() {
    let good = config(&[]).unwrap();
    let shown = format!("{good:?} {good:#?}");
    assert!(!shown.contains("hunter"), "{shown}");

    for bad in [
        [("UPSTREAM_PASSWORD", "hunter2\nhunter3"), ("AUTH_USERS", "hunter2")],
        [("UPSTREAM_PASSWORD", "hunter2\u{0}"), ("AUTH_USERS", "ann:hunter2,ann:hunter3")],
        [("UPSTREAM_HOST", "postgres://u:hunter2@db"), ("AUTH_USERS", "ann:SCRAM-SHA-256$hunter2")],
        [("UPSTREAM_PASSWORD_FILE", "/x"), ("AUTH_METHOD", "trust")],
    ] {
        let errors = config(&bad).unwrap_err();
        let said = format!("{errors:?} {:?}", complaints(&bad));
        assert!(!said.contains("hunter"), "{said}");
    }
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_file() {
    let text = "POOL_SIZE=1\nLISTEN_PORT=1\nCACHE_TTL_SECONDS=1\nUPSTREAM_PORT=1\n";
    let environment = NEEDED
        .iter()
        .chain(&[("POOL_SIZE", "2"), ("LISTEN_PORT", "2"), ("UPSTREAM_PORT", " ")])
        .map(|(name, value)| (name.into(), value.into()));
    let flags = [("POOL_SIZE".to_owned(), "3".to_owned())];
    let sources = Sources::new(flags.into(), environment).with_env_text(Path::new(".env"), text);
    let config = Config::from_sources(&sources).unwrap();

    assert_eq!(config.pool.size, 3);
    assert_eq!(config.server.listen_port, 2);
    assert_eq!(config.cache.ttl, Duration::from_secs(1));
    assert_eq!(config.upstream.primary.port, 1, "an empty value lets the next source speak");
}

#[test]
fn what_looks_like_a_setting_and_is_none_is_reported_with_the_rest() {
    let environment = [("POOL_SZIE", "9"), ("LOG_LEVEL", "x"), ("UPSTREAM_HOST", "")];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let sources = Sources::new(BTreeMap::new(), environment)
        .with_env_text(Path::new("some.env"), "UPSTREAM_PASWORD=hunter2\nnonsense\n");
    let said: Vec<_> =
        Config::from_sources(&sources).unwrap_err().iter().map(ToString::to_string).collect();

    let said = said.join("\n");
    assert!(
        said.contains("POOL_SZIE is not a setting of pgsluice; the nearest is POOL_SIZE"),
        "{said}"
    );
    assert!(said.contains("UPSTREAM_PASWORD is not a setting"), "{said}");
    assert!(said.contains("some.env, line 2: expected NAME=value"), "{said}");
    for required in NEEDED.map(|(name, _)| name).iter().filter(|name| name.starts_with("UP")) {
        assert!(said.contains(&format!("{required} is required and not set")), "{said}");
    }
    assert!(!said.contains("LOG_LEVEL") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_file_that_was_asked_for_must_be_there() {
    let sources = Sources::new(BTreeMap::new(), []).with_env_file(Some(Path::new("/no/such.env")));
    assert!(sources.problems()[0].to_string().starts_with("/no/such.env: the file cannot be read"));
}

#[test]
fn where_clients_come_in_is_known_without_the_rest() {
    let found = Config::listen_address(|name| (name == "LISTEN_PORT").then(|| "6000".to_owned()));
    assert_eq!(found, Ok(("0.0.0.0".to_owned(), 6000)));
}

#[test]
fn the_example_file_is_the_list_printed() {
    let file = include_str!("../../.env.example");
    assert!(file == env_example(), "run: pgsluice print-settings env > .env.example");

    // Filled in, it is a working file and changes nothing.
    let filled = file.replace("# AUTH_METHOD=scram-sha-256", "AUTH_METHOD=trust");
    let mut all = filled.clone();
    for setting in settings::all().filter(|setting| !setting.default.is_empty()) {
        let line = format!("{}={}", setting.name, setting.default);
        all = all.replace(&format!("# {line}\n"), &format!("{line}\n"));
    }
    let environment = NEEDED.map(|(name, value)| (name.into(), value.into()));
    let environment = environment.into_iter().filter(|(name, _)| name != "AUTH_USERS");
    let sources = Sources::new(BTreeMap::new(), environment).with_env_text(Path::new(".env"), &all);
    let config = Config::from_sources(&sources).unwrap();
    assert_eq!(config.server, ServerConfig::default());
}

#[test]
fn the_documents_hold_the_table_of_settings() {
    let document = include_str!("../../docs/operations.md");
    let (_, rest) = document.split_once("<!-- settings:begin -->\n").unwrap();
    let (table, _) = rest.split_once("<!-- settings:end -->").unwrap();
    assert!(table == markdown_table(), "run: pgsluice print-settings markdown");
}

mod admin;
