//! What one setting means beside another.

use super::bad::BadSetting;
use super::settings::{self, Draft};
use super::{Config, values};
use crate::rules::{Problem, RuleSet};
use crate::server::config::{AuthConfig, AuthMethod, TlsConfig};
use crate::server::rules;
use crate::server::tls::Tls;
use crate::server::users::{BadUser, Users};
use crate::session::recording::query_log::To;
use crate::upstream::config::RootCertificates;

/// The required settings that have no value.
pub(super) fn missing(draft: &Draft) -> Vec<BadSetting> {
    let has_file = |name: &str| draft.has(&format!("{name}_FILE"));
    let required = settings::all().filter(|setting| setting.is_required);
    required
        .filter(|setting| !draft.has(setting.name) && !has_file(setting.name))
        .map(|setting| BadSetting::missing(setting.name, setting.help))
        .collect()
}

/// The settings that contradict each other.
pub(super) fn conflicts(draft: &Draft) -> Vec<BadSetting> {
    let groups = [
        upstream(draft),
        tls(draft),
        authentication(draft),
        sizes(draft),
        admin(draft),
        records(draft),
        traffic(draft),
    ];
    groups.into_iter().flatten().collect()
}

/// The finished configuration of a draft without problems.
pub(super) fn assembled(draft: Draft) -> Config {
    let Draft { mut config, tls_certificate, tls_key, tls_required, .. } = draft;
    config.server.tls = tls_certificate.zip(tls_key).map(|(certificate, key)| TlsConfig {
        certificate,
        key,
        is_required: tls_required,
    });
    let cache = &mut config.cache;
    let bytes_max = usize::try_from(cache.bytes_max).unwrap_or(usize::MAX);
    cache.entry_bytes_max = cache.entry_bytes_max.min(bytes_max);
    config
}

fn upstream(draft: &Draft) -> Vec<BadSetting> {
    let mut bad = Vec::new();
    let upstream = &draft.config.upstream;
    if draft.has("UPSTREAM_PASSWORD") && draft.has("UPSTREAM_PASSWORD_FILE") {
        bad.push(BadSetting::conflict(
            "UPSTREAM_PASSWORD_FILE",
            "UPSTREAM_PASSWORD is set too; keep one of the two",
        ));
    }
    let has_roots = matches!(upstream.root_certificates, RootCertificates::File(_));
    if has_roots && !upstream.sslmode.is_verifying() {
        bad.push(BadSetting::conflict(
            "UPSTREAM_SSLROOTCERT",
            format!(
                "UPSTREAM_SSLMODE={} does not look at certificates; set verify-full or verify-ca",
                upstream.sslmode.as_str()
            ),
        ));
    }
    if upstream.replicas.iter().any(|replica| replica.address == upstream.primary) {
        bad.push(BadSetting::conflict("REPLICAS", "one of them is the UPSTREAM_HOST itself"));
    }
    bad
}

fn tls(draft: &Draft) -> Vec<BadSetting> {
    let mut bad = Vec::new();
    let (has_certificate, has_key) = (draft.has("TLS_CERT_FILE"), draft.has("TLS_KEY_FILE"));
    if has_certificate && !has_key {
        bad.push(BadSetting::conflict("TLS_CERT_FILE", "it needs its key; set TLS_KEY_FILE too"));
    }
    if has_key && !has_certificate {
        bad.push(BadSetting::conflict(
            "TLS_KEY_FILE",
            "it needs its certificate; set TLS_CERT_FILE too",
        ));
    }
    if draft.tls_required && !has_certificate {
        bad.push(BadSetting::conflict(
            "TLS_REQUIRED",
            "there is no TLS without a certificate; set TLS_CERT_FILE and TLS_KEY_FILE",
        ));
    }
    if let (Some(certificate), Some(key)) = (&draft.tls_certificate, &draft.tls_key)
        && let Err(error) = Tls::load(certificate, key)
    {
        bad.push(BadSetting::conflict("TLS_CERT_FILE", error.to_string()));
    }
    bad
}

fn authentication(draft: &Draft) -> Vec<BadSetting> {
    let auth = &draft.config.auth;
    let is_given = draft.has("AUTH_USERS") || draft.has("AUTH_USERS_FILE");
    match (auth.method, is_given) {
        (AuthMethod::ScramSha256, false) => vec![BadSetting::conflict(
            "AUTH_METHOD",
            "scram-sha-256 needs to know who may sign in; set AUTH_USERS or AUTH_USERS_FILE, or \
             AUTH_METHOD=trust",
        )],
        (AuthMethod::Trust, true) => vec![BadSetting::conflict(
            "AUTH_METHOD",
            "trust asks nobody for a secret, yet users are set; remove AUTH_USERS and \
             AUTH_USERS_FILE, or set AUTH_METHOD=scram-sha-256",
        )],
        (AuthMethod::ScramSha256, true) => users(auth),
        (AuthMethod::Trust, false) => Vec::new(),
    }
}

/// Every user that cannot be used, by line or by place, and never by what is written there.
fn users(auth: &AuthConfig) -> Vec<BadSetting> {
    let list = match auth.user_list() {
        Ok(list) => list,
        Err(error) => {
            let reason = format!("the file cannot be read: {error}");
            return vec![BadSetting::conflict("AUTH_USERS_FILE", reason)];
        }
    };
    let told = |bad: BadUser| match bad.line.checked_sub(list.file_lines).filter(|n| *n > 0) {
        Some(place) => BadSetting::conflict("AUTH_USERS", format!("entry {place}: {}", bad.reason)),
        None => BadSetting::conflict("AUTH_USERS_FILE", bad.to_string()),
    };
    match Users::parse(list.text.expose()) {
        // A list that was refused as a whole is reported already.
        Ok(users) if users.is_empty() && auth.has_users() => {
            vec![BadSetting::conflict("AUTH_USERS", "nobody is listed; expected name:secret")]
        }
        Ok(_) => Vec::new(),
        Err(bad) => bad.into_iter().map(told).collect(),
    }
}

/// Every problem of the rules file, by line.
fn traffic(draft: &Draft) -> Vec<BadSetting> {
    let path = draft.config.server.rules_file.as_deref();
    match rules::load(path, &RuleSet::empty()) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            let told = |problem: Problem| BadSetting::conflict("RULES_FILE", problem.to_string());
            problems.into_iter().map(told).collect()
        }
    }
}

fn sizes(draft: &Draft) -> Vec<BadSetting> {
    let session = &draft.config.session;
    let (statement, message) = (session.statement_bytes_max, session.message_bytes_max);
    match statement > message {
        true => vec![BadSetting::conflict(
            "STATEMENT_BYTES_MAX",
            format!(
                "{} do not fit into CLIENT_MESSAGE_BYTES_MAX={}",
                values::shown_bytes(statement),
                values::shown_bytes(message)
            ),
        )],
        false => Vec::new(),
    }
}

fn records(draft: &Draft) -> Vec<BadSetting> {
    let session = &draft.config.session;
    let mut bad = Vec::new();
    if session.journal_file.is_some() && session.journal_bytes_max == 0 {
        bad.push(BadSetting::conflict(
            "JOURNAL_FILE",
            "there is no journal: JOURNAL_BYTES_MAX is 0",
        ));
    }
    if let (Some(journal), Some(To::File(log))) = (&session.journal_file, &session.query_log.to)
        && journal == log
    {
        bad.push(BadSetting::conflict("QUERY_LOG", "JOURNAL_FILE is the same file"));
    }
    bad
}

fn admin(draft: &Draft) -> Vec<BadSetting> {
    let admin = &draft.config.admin;
    // A token that was refused is reported already.
    let has_token = draft.has("ADMIN_TOKEN");
    match admin.listen.as_ref().is_some_and(|place| !place.is_loopback()) && !has_token {
        true => vec![BadSetting::conflict(
            "ADMIN_LISTEN",
            "whoever reaches this address could see and cancel everything; set ADMIN_TOKEN, or \
             listen on 127.0.0.1",
        )],
        false => Vec::new(),
    }
}
