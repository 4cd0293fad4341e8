//! The operator's rules in front of a real server, by the program itself.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::files::Folder;
use crate::support::gateway::Gateway;
use crate::support::messages::{
    Message, bind, execute, field, message, parse, rows, sqlstate, sync, tags,
};
use crate::support::postgres::Postgres;
use crate::support::served::{Served, USER};

/// The four of sluss's documentation, as they stand there but for the time of the third.
const FOUR: &str = r#"
traffic_control:
  default_action: "allow"
  rules:
    # Legacy code that still writes Oracle-flavoured SQL: count, do not break.
    - name: "observe_oracle_dual"
      priority: 100
      observe_only: true
      match:
        query_regex: '(?i)\bfrom\s+dual\b'
      action: "deny"
      message: "FROM DUAL is not portable; remove the FROM clause"
    # Refuse a DELETE without WHERE.
    - name: "block_unbounded_delete"
      priority: 1000
      match:
        query_regex: '(?is)^\s*delete\s+from\s+\w+\s*;?\s*$'
      action: "deny"
      message: "unbounded DELETE blocked by pgsluice"
    # A BI tool that leaves long table scans running.
    - name: "kill_runaway_analytics"
      priority: 50
      match:
        application_name: "metabase"
      action: "kill_after_ms"
      timeout_ms: 1000
    # A client that does not back off.
    - name: "rate_limit_legacy_erp"
      priority: 10
      match:
        application_name: "legacy-erp"
      action: "rate_limit"
      rate_per_sec: 200
"#;

/// A gateway under these rules, whose one user may write.
fn serve(rules: &str, settings: &[(&str, &str)]) -> (Served, Folder) {
    let folder = Folder::new();
    let file = folder.write("rules.yaml", rules);
    let own = [("RULES_FILE", file.as_str()), ("READ_WRITE_USERS", USER)];
    (Served::start(&[&own, settings].concat()), folder)
}

async fn named(served: &Served, application: &str) -> Client {
    let mut client = served.client().await;
    client.query(&format!("SET application_name = '{application}'")).await;
    client
}

fn failure(reply: &[Message]) -> Option<(String, String)> {
    let error = reply.iter().find(|(tag, _)| *tag == b'E')?;
    Some((sqlstate(&error.1), field(&error.1, b'M').unwrap_or_default()))
}

/// What `SHOW pgsluice.rules` counts of a rule: matched, enforced, would have.
async fn counts(client: &mut Client, name: &str) -> [String; 3] {
    let reply = client.query("SHOW pgsluice.rules").await;
    let row = rows(&reply).into_iter().find(|row| row[0].as_deref() == Some(name));
    let row = row.expect("a rule");
    [4, 5, 6].map(|at| row[at].clone().expect("a number"))
}

fn extended(sql: &str) -> Vec<u8> {
    [parse("", sql, &[]), bind("", "", &[], 0), execute("", 0), sync()].concat()
}

#[tokio::test]
async fn discard_all_takes_back_the_name_that_rules_know() {
    let rules = "traffic_control: {rules: [{name: erp, match: {application_name: erp, query_regex: SELECT}, \
                 action: deny, message: no}]}";
    let (served, _folder) = serve(rules, &[]);
    let mut client = named(&served, "erp").await;
    assert!(failure(&client.query("SELECT 1").await).is_some());
    assert_eq!(failure(&client.query("DISCARD ALL").await), None);
    assert_eq!(failure(&client.query("SELECT 1").await), None);
}

#[tokio::test]
async fn the_four_rules_do_what_they_say() {
    let (served, _folder) = serve(FOUR, &[]);
    let mut client = served.client().await;
    client.query("CREATE TABLE dual (a int); INSERT INTO dual VALUES (7)").await;

    assert_eq!(rows(&client.query("SELECT a FROM dual").await)[0][0].as_deref(), Some("7"));
    assert_eq!(counts(&mut client, "observe_oracle_dual").await, ["1", "0", "1"]);

    let denied = Some(("42501".to_owned(), "unbounded DELETE blocked by pgsluice".to_owned()));
    assert_eq!(failure(&client.query("DELETE FROM dual").await), denied);
    assert_eq!(failure(&client.exchange(&extended("delete from dual;")).await), denied);
    let both = client.query("INSERT INTO dual VALUES (8); DELETE FROM dual").await;
    assert_eq!((failure(&both), tags(&both).as_str()), (denied.clone(), "EZ"), "none of them runs");
    let block = client.query("BEGIN; INSERT INTO dual VALUES (9)").await;
    assert_eq!(failure(&block), None);
    assert_eq!(failure(&client.query("DELETE FROM dual").await), denied);
    assert_eq!(failure(&client.query("SELECT 1").await).unwrap().0, "25P02");
    assert_eq!(tags(&client.query("ROLLBACK").await), "CZ");
    assert_eq!(counts(&mut client, "block_unbounded_delete").await[1], "4");
    assert_eq!(rows(&client.query("SELECT count(*) FROM dual").await)[0][0].as_deref(), Some("1"));

    let mut erp = named(&served, "legacy-erp").await;
    let mut refused = 0;
    for _ in 0..60 {
        refused += usize::from(failure(&erp.query("SELECT 1").await).is_some());
    }
    let counted = counts(&mut client, "rate_limit_legacy_erp").await[1].parse::<usize>().unwrap();
    assert_eq!(counted, refused);
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn a_runaway_ends_on_its_server_within_a_second_of_its_limit() {
    let (served, _folder) = serve(FOUR, &[]);
    let direct = served.postgres.connect().await;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(10)%' AND pid <> pg_backend_pid()";
    for is_extended in [false, true] {
        let mut client = named(&served, "metabase").await;
        let began = Instant::now();
        let asking = tokio::spawn(async move {
            let reply = match is_extended {
                false => client.query("SELECT pg_sleep(10)").await,
                true => client.exchange(&extended("SELECT pg_sleep(10)")).await,
            };
            (client, reply)
        });
        let count = async |expected: i64| {
            let seen = async {
                while direct.query_one(sleeping, &[]).await.unwrap().get::<_, i64>(0) != expected {
                    tokio::time::sleep(STEP_MAX / 1_000).await;
                }
            };
            timeout(STEP_MAX, seen).await.expect("what the server does");
        };
        count(1).await;
        count(0).await;
        let elapsed = began.elapsed();
        let limit = Duration::from_secs(1);
        assert!(elapsed >= limit && elapsed < 2 * limit, "it ran for {elapsed:?}");
        let (mut client, reply) = asking.await.unwrap();
        let told = ("57014".to_owned(), "canceling statement due to user request".to_owned());
        assert_eq!(failure(&reply), Some(told));
        assert_eq!(rows(&client.query("SELECT 40 + 2").await)[0][0].as_deref(), Some("42"));
    }
    let mut client = served.client().await;
    assert_eq!(counts(&mut client, "kill_runaway_analytics").await[1], "2");
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn what_returns_too_much_is_cut_off_and_the_session_goes_on() {
    let rules = "traffic_control: {rules: [{name: r, match: {}, action: max_rows, max: 1000}]}";
    let (served, _folder) = serve(rules, &[]);
    let mut client = served.client().await;
    let many = "SELECT g FROM generate_series(1, 3000000) g";
    for _ in 0..3 {
        for sql in [many, "COPY (SELECT g FROM generate_series(1, 3000000) g) TO STDOUT"] {
            let reply = client.query(sql).await;
            assert_eq!(failure(&reply).unwrap().0, "54000", "{sql}");
            let sent = reply.iter().filter(|(tag, _)| matches!(tag, b'D' | b'd')).count();
            assert_eq!(sent, 1_000, "{sql}");
        }
        let reply = client.exchange(&extended(many)).await;
        assert_eq!((failure(&reply).unwrap().0.as_str(), rows(&reply).len()), ("54000", 1_000));
        assert_eq!(client.query("BEGIN").await.last().unwrap().1, b"T");
        // It is over long before a cancel could come.
        let reply = client.query("SELECT g FROM generate_series(1, 1001) g").await;
        assert_eq!(failure(&reply).unwrap().0, "54000");
        assert_eq!(reply.last().unwrap().1, b"E");
        assert_eq!(failure(&client.query("SELECT 1").await).unwrap().0, "25P02");
        assert_eq!(client.query("ROLLBACK").await.last().unwrap().1, b"I");
        assert_eq!(rows(&client.query("SELECT 40 + 2").await)[0][0].as_deref(), Some("42"));
    }
    let reply = client.query("SELECT g FROM generate_series(1, 1000) g").await;
    assert_eq!((failure(&reply), rows(&reply).len()), (None, 1_000));
    served.until_released().await;
    served.assert_sound();
}

#[tokio::test]
async fn require_where_and_tables_go_by_what_is_written() {
    let rules = "
traffic_control:
  rules:
    - {name: where, match: {}, action: require_where}
    - {name: secret, match: {tables: secret}, action: deny, sqlstate: '42P01'}
    - {name: ddl, match: {class: ddl, tables_unknown: true}, action: observe}
";
    let (served, _folder) = serve(rules, &[]);
    let direct = served.postgres.connect().await;
    direct.batch_execute("CREATE TABLE t (a int); CREATE TABLE secret (a int)").await.unwrap();
    let mut client = served.client().await;
    for sql in [
        "DELETE FROM t",
        "/* WHERE */ UPDATE t SET a = 1 -- where",
        "WITH gone AS (DELETE FROM t RETURNING a) SELECT a FROM gone WHERE a = 1",
        "INSERT INTO t VALUES (1); UPDATE t SET a = 2",
    ] {
        assert_eq!(
            failure(&client.query(sql).await).map(|told| told.0),
            Some("42501".into()),
            "{sql}"
        );
    }
    for sql in [
        "SELECT a FROM secret",
        "SELECT 1; SELECT a FROM secret",
        "INSERT INTO t SELECT a FROM public.secret",
        "UPDATE t SET a = secret.a FROM secret WHERE true",
        "SELECT (SELECT random() FROM secret LIMIT 1)",
        "COPY secret TO STDOUT",
        "PREPARE p AS SELECT a FROM secret",
        "TRUNCATE secret",
        "DROP TABLE secret",
        "LOCK TABLE secret",
    ] {
        assert_eq!(
            failure(&client.query(sql).await).map(|told| told.0),
            Some("42P01".into()),
            "{sql}"
        );
    }
    for sql in ["DELETE FROM t WHERE a = 1", "UPDATE t SET a = 2 WHERE true", "SELECT a FROM t"] {
        assert_eq!(failure(&client.query(sql).await), None, "{sql}");
    }
    assert_eq!(failure(&client.query("EXPLAIN DELETE FROM t").await), None, "nothing is deleted");
    client.query("ALTER TABLE t ADD b int REFERENCES s").await;
    assert_eq!(counts(&mut client, "ddl").await[0], "1", "nobody can say what it names");
}

#[tokio::test]
async fn the_rules_are_read_again_and_a_file_with_a_problem_is_not() {
    let deny = |message: &str| {
        format!(
            "traffic_control: {{rules: [{{name: r, match: {{tables: t}}, action: deny, message: {message}}}]}}"
        )
    };
    let (served, folder) = serve(&deny("one"), &[]);
    let mut client = served.client().await;
    let told =
        async |client: &mut Client| failure(&client.query("SELECT a FROM t").await).unwrap().1;
    assert_eq!(told(&mut client).await, "one");

    folder.write("rules.yaml", "traffic_control:\n  rules:\n    - nmae: r\n");
    served.gateway.signal("HUP");
    let said = served.gateway.until_logged("rules not read again");
    assert!(said.contains("ERROR") && said.contains("line 3"), "{said}");
    assert_eq!(told(&mut client).await, "one");

    folder.write("rules.yaml", &deny("two"));
    served.gateway.signal("HUP");
    served.gateway.until_logged("rules read again");
    assert_eq!(told(&mut client).await, "two");
    assert_eq!(counts(&mut client, "r").await, ["3", "3", "0"], "the name goes on counting");
}

#[tokio::test]
async fn an_admin_can_look_at_the_rules_whatever_they_say() {
    let all = "traffic_control: {rules: [{name: r, match: {}, action: deny}]}";
    let (served, _folder) = serve(all, &[]);
    assert_eq!(
        failure(&served.client().await.query("SHOW pgsluice.rules").await).unwrap().0,
        "42501"
    );
    let postgres = Postgres::start();
    let folder = Folder::new();
    let file = folder.write("rules.yaml", all);
    let users = [("AUTH_METHOD", "trust"), ("ADMIN_USERS", "root"), ("RULES_FILE", file.as_str())];
    let gateway = Gateway::start(&postgres, &users);
    for database in ["postgres", "pgsluice"] {
        let login = Login { port: gateway.port(), user: "root", password: "", database };
        let mut admin = Client::login(login).await;
        let shown = if database == "postgres" { "SHOW pgsluice.rules" } else { "SHOW RULES" };
        let row = &rows(&admin.query(shown).await)[0];
        let shown: Vec<_> = row[..7].iter().flatten().map(String::as_str).collect();
        assert_eq!(shown, ["r", "deny", "0", "no", "0", "0", "0"]);
        assert_eq!(row[7], None);
    }
}

#[tokio::test]
async fn a_call_by_function_number_is_a_write_to_rules() {
    let (served, _folder) = serve(
        "traffic_control: {rules: [{name: r, match: {class: write}, action: deny, message: no}]}",
        &[],
    );
    let mut client = served.client().await;
    // lo_create(47110), in binary.
    let body = [&715_u32.to_be_bytes()[..], &[0, 1, 0, 1, 0, 1], &4_u32.to_be_bytes()].concat();
    let call = message(b'F', &[&body[..], &47_110_u32.to_be_bytes(), &[0, 1]].concat());
    for status in [b"I", b"T"] {
        if status == b"T" {
            client.query("BEGIN").await;
        }
        let told = client.exchange(&call).await;
        assert_eq!(failure(&told), Some(("42501".to_owned(), "no".to_owned())));
        let expected = if status == b"T" { b"E" } else { b"I" };
        assert_eq!((tags(&told).as_str(), &told[1].1[..]), ("EZ", &expected[..]));
    }
    client.query("ROLLBACK").await;
    assert_eq!(counts(&mut client, "r").await, ["2", "2", "0"]);
    let direct = served.postgres.connect().await;
    let made = direct.query_one("SELECT count(*) FROM pg_largeobject_metadata", &[]).await;
    assert_eq!(made.unwrap().get::<_, i64>(0), 0);
    served.until_released().await;
}

/// The replica replays nothing, so that what is read says where it was read.
#[tokio::test]
async fn rules_say_which_server_reads_and_writes_stay_on_the_primary() {
    let primary = Postgres::start();
    let replica = primary.replica();
    let direct = primary.connect().await;
    direct.batch_execute("CREATE TABLE t (a int); INSERT INTO t VALUES (1)").await.unwrap();
    replica.until_caught_up_with(&primary).await;
    let folder = Folder::new();
    let file = folder.write(
        "rules.yaml",
        "
traffic_control:
  rules:
    - {name: now, match: {tags: {wants: now}}, action: route_primary}
    - {name: old, match: {tags: {wants: [old, now]}}, action: route_replica}
    - {name: dry, observe_only: true, priority: 1, match: {}, action: route_replica}
",
    );
    let gateway = Gateway::start(
        &primary,
        &[
            ("AUTH_METHOD", "trust"),
            ("RULES_FILE", &file),
            ("REPLICAS", &format!("127.0.0.1:{}", replica.port())),
            ("READ_WRITE_USERS", "ann"),
            ("CACHE_TTL_SECONDS", "0"),
        ],
    );
    replica.pause_replay(true).await;
    let login = gateway.login(primary.as_superuser());
    let mut ann = Client::login(Login { user: "ann", ..login }).await;
    let mut bob = Client::login(Login { user: "bob", ..login }).await;
    let read = async |client: &mut Client, wants: &str| {
        let reply = client.query(&format!("SELECT a FROM t /*wants='{wants}'*/")).await;
        rows(&reply)[0][0].clone().expect("a number")
    };
    // A write stays where it can be done, whatever a rule says.
    assert_eq!(tags(&ann.query("UPDATE t SET a = 2 /*wants='old'*/").await), "CZ");
    let now = direct.query_one("SELECT a FROM t", &[]).await.unwrap();
    assert_eq!(now.get::<_, i32>(0), 2);

    assert_eq!(read(&mut ann, "nothing").await, "2", "its own write");
    assert_eq!(read(&mut ann, "old").await, "1", "however far behind that is");
    assert_eq!(read(&mut bob, "nothing").await, "1");
    assert_eq!(read(&mut bob, "now").await, "2", "of two rules the higher");
    assert_eq!(failure(&ann.query("SET pgsluice.route = 'replica'").await), None);
    assert_eq!(
        (read(&mut ann, "now").await, read(&mut ann, "nothing").await),
        ("2".into(), "1".into())
    );
    assert_eq!(failure(&ann.query("SET pgsluice.route = 'primary'").await), None);
    assert_eq!(
        (read(&mut ann, "old").await, read(&mut ann, "nothing").await),
        ("1".into(), "2".into())
    );
    for (name, enforced) in [("now", "2"), ("old", "3"), ("dry", "0")] {
        assert_eq!(counts(&mut bob, name).await[1], enforced, "{name}");
    }
    replica.pause_replay(false).await;
}
