//! What `EXPLAIN PGSLUICE` says of a statement is what then becomes of it, when it is sent: who
//! refuses it and how, its plan, its way past the cache, its server, its rules.

use std::collections::BTreeMap;

use tokio::time::{sleep, timeout};

use super::conversation::lines;
use super::fixture;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::explained::{Told, explain};
use crate::support::files::Folder;
use crate::support::gateway::Gateway;
use crate::support::http::get;
use crate::support::messages::{Message, field, message, query, rows, sqlstate, terminate};
use crate::support::postgres::Postgres;

/// Limits that nothing reaches, and of each other kind some.
const RULES: &str = "
traffic_control:
  rules:
    - {name: seen, priority: 9, match: {}, action: observe}
    - {name: few, priority: 8, match: {class: read}, action: rate_limit, rate_per_sec: 100000}
    - {name: one, priority: 8, match: {tables: t}, action: concurrency, max: 9}
    - {name: quick, priority: 8, match: {user: writer}, action: kill_after_ms, timeout_ms: 100000}
    - {name: dry, priority: 7, match: {class: ddl}, action: deny, observe_only: true}
    - {name: there, priority: 6, match: {query_regex: 'go there'}, action: route_primary}
    - {name: here, priority: 6, match: {query_regex: 'go here'}, action: route_replica}
    - {name: fresh, priority: 6, match: {tables: nothing}, action: cache, ttl_seconds: never}
    - {name: hidden, priority: 5, match: {tables: big}, action: deny, message: not that one}
    - {name: tool, priority: 4, match: {application_name: tool, class: read}, action: allow}
    - {name: others, priority: 1, match: {application_name: tool}, action: deny, sqlstate: '42P17'}
    - {name: all, priority: 0, match: {class: write}, action: require_where}
";

/// Primary, replica, and the gateway in front of them.
struct Place {
    // Dropped in this order: the gateway leaves before its upstreams do.
    gateway: Gateway,
    replica: Postgres,
    primary: Postgres,
    _rules: Folder,
}

impl Place {
    async fn start() -> Self {
        let primary = Postgres::start();
        fixture::fill(&primary).await;
        let own = "CREATE SEQUENCE counter; CREATE TABLE s (a int); CREATE TABLE u (a int, b text);
            CREATE FUNCTION writes() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING a';
            CREATE FUNCTION counts() RETURNS bigint LANGUAGE sql AS $$SELECT nextval('counter')$$;
            CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM t';
            CREATE PROCEDURE does() LANGUAGE sql AS 'DELETE FROM t'";
        primary.connect().await.batch_execute(own).await.unwrap();
        let replica = primary.replica();
        replica.until_caught_up_with(&primary).await;
        let rules = Folder::new();
        let file = rules.write("rules.yaml", RULES);
        let replicas = format!("127.0.0.1:{}", replica.port());
        let settings = [
            ("AUTH_METHOD", "trust"),
            ("ADMIN_LISTEN", "127.0.0.1:0"),
            ("ADMIN_USERS", "root"),
            ("READ_WRITE_USERS", "writer"),
            ("RULES_FILE", file.as_str()),
            ("REPLICAS", replicas.as_str()),
        ];
        let gateway = Gateway::start(&primary, &settings);
        Self { gateway, replica, primary, _rules: rules }
    }

    fn login<'a>(&self, user: &'a str) -> Login<'a> {
        Login { port: self.gateway.port(), user, password: "", database: "postgres" }
    }

    async fn client(&self, user: &str, setup: &[&str]) -> Client {
        let mut client = Client::login(self.login(user)).await;
        for sql in setup {
            say(&mut client, sql).await;
        }
        client
    }

    /// What is counted, by name.
    async fn counts(&self, admin: &mut Client) -> BTreeMap<String, i64> {
        let port = self.gateway.admin_port();
        let mut counts = BTreeMap::new();
        let mut add = |group: &str, name: &str, count: i64| {
            *counts.entry(format!("{group} {name}")).or_default() += count;
        };
        let stats = get(port, "/stats").await.json();
        let cache = get(port, "/cache").await.json();
        let groups = [("plan", &stats["plans"]), ("error", &stats["errors"])];
        let groups = groups.into_iter().chain([("bypass", &cache["bypasses"])]);
        for (group, all) in groups {
            for (name, count) in all.as_object().unwrap() {
                add(group, name, count.as_i64().unwrap());
            }
        }
        let looks = |name: &str| cache[name].as_i64().unwrap();
        add("cache", "looks", looks("hits") + looks("misses"));
        add("cache", "hits", looks("hits"));
        let number = |value: &Option<String>| value.as_ref().unwrap().parse::<i64>().unwrap();
        for row in rows(&admin.query("SHOW pgsluice.rules").await) {
            let name = row[0].as_ref().unwrap();
            for (outcome, at) in [("matched", 4), ("enforced", 5), ("would_have", 6)] {
                add("rule", &format!("{name} {outcome}"), number(&row[at]));
            }
        }
        let replica = format!(":{}", self.replica.port());
        for row in rows(&admin.query("SHOW pgsluice.upstreams").await) {
            let is_replica = row[0].as_ref().unwrap().ends_with(&replica);
            add("taken", if is_replica { "replica" } else { "primary" }, number(&row[3]));
        }
        // What looking at these counted itself comes before them in the next look.
        counts.remove("plan answer");
        counts
    }

    /// Explains a statement, sends it, and tells what is not as it was told.
    async fn compare(&self, client: &mut Client, admin: &mut Client, sql: &str) -> Vec<String> {
        let before = self.counts(admin).await;
        let told = explain(client, sql).await;
        let between = self.counts(admin).await;
        let mut wrong = Vec::new();
        if before != between {
            wrong.push(format!("explaining counts: {:?}", grown(&before, &between)));
        }
        let reply = say(client, sql).await;
        let after = self.counts(admin).await;
        let grown = grown(&between, &after);
        wrong.extend(differences(&told, &reply, &grown));
        wrong
    }
}

/// What came to be counted.
fn grown(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let more = after.iter().map(|(name, count)| (name.clone(), count - before[name]));
    more.filter(|(_, count)| *count != 0).collect()
}

/// Those of a group.
fn group(grown: &BTreeMap<String, i64>, group: &str) -> BTreeMap<String, i64> {
    let of_group = |(name, count): (&String, &i64)| {
        name.strip_prefix(group)?.strip_prefix(' ').map(|name| (name.to_owned(), *count))
    };
    grown.iter().filter_map(of_group).collect()
}

fn count<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

fn differences(told: &Told, reply: &[Message], grown: &BTreeMap<String, i64>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut expect = |what: &str, expected: BTreeMap<String, i64>, found: BTreeMap<String, i64>| {
        if expected != found {
            wrong.push(format!("{what}: told {expected:?}, was {found:?}"));
        }
    };
    let is_refused = told.get("verdict") != "passes";
    let error = reply.iter().find(|(tag, _)| *tag == b'E').map(|(_, body)| body);
    let errors: i64 = group(grown, "error").values().sum();
    if errors != i64::from(is_refused) {
        expect("errors", count(is_refused.then_some("one")), group(grown, "error"));
    }
    if is_refused {
        let of = |field| told.get(field).to_owned();
        let expected = (of("sqlstate"), of("message"));
        let found = error
            .map(|body| (sqlstate(body), field(body, b'M').unwrap_or_default()))
            .unwrap_or_default();
        if expected != found {
            expect("error", count([expected.0.as_str()]), count([found.1.as_str()]));
        }
    }
    expect("rules", rules(told), group(grown, "rule"));
    let taken = group(grown, "taken");
    let is_at = |place: &str| taken.len() == 1 && taken.contains_key(place);
    let is_hit = group(grown, "cache").contains_key("hits");
    let is_there = match told.get("route") {
        _ if is_hit => taken.is_empty(),
        "replica" => is_at("replica"),
        "primary" => is_at("primary"),
        "primary_instead" => is_at("primary") || is_at("replica"),
        _ => taken.is_empty(),
    };
    if !is_there {
        expect("route", count([told.get("route"), told.get("because")]), taken);
    }
    if !is_refused {
        let plans = told.all("plan").into_iter().filter(|plan| *plan != "answer");
        expect("plans", count(plans), group(grown, "plan"));
        let bypasses =
            told.all("cache").into_iter().filter_map(|said| said.strip_prefix("bypass "));
        let mut passed = group(grown, "bypass");
        if told.get("cache").starts_with("cached") {
            // That the reply is an error, or long, nobody knows beforehand.
            for late in ["not_complete", "entry_too_large"] {
                passed.remove(late);
            }
        }
        expect("bypasses", count(bypasses), passed);
        let cached = told.all("cache");
        let looks = cached.iter().filter(|said| said.starts_with("cached")).map(|_| "looks");
        let hits = cached.iter().filter(|said| said.ends_with("a reply is stored")).map(|_| "hits");
        expect("cache", count(looks.chain(hits)), group(grown, "cache"));
    }
    wrong
}

/// What the counters of rules come to.
fn rules(told: &Told) -> BTreeMap<String, i64> {
    let mut counts = BTreeMap::new();
    for rule in told.all("rule") {
        let (name, rest) = rule.split_once(": ").unwrap();
        let outcome = rest.split(", ").nth(1).unwrap();
        *counts.entry(format!("{name} matched")).or_default() += 1;
        if matches!(outcome, "enforced" | "would_have") {
            *counts.entry(format!("{name} {outcome}")).or_default() += 1;
        }
    }
    counts
}

/// Sends a simple query; a COPY that waits for rows is ended.
async fn say(client: &mut Client, sql: &str) -> Vec<Message> {
    client.send(&query(sql)).await;
    let mut reply = Vec::new();
    loop {
        let said = client.receive().await;
        if said.0 == b'G' {
            client.send(&message(b'f', b"no rows\0")).await;
        }
        let is_end = said.0 == b'Z';
        reply.push(said);
        if is_end {
            return reply;
        }
    }
}

/// Compares each statement, each in a session of its own: some leave what nothing takes away.
async fn compare_all(place: &Place, user: &str, setup: &[&str], texts: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut admin = place.client("root", &[]).await;
    for sql in texts {
        let mut client = place.client(user, setup).await;
        let found = place.compare(&mut client, &mut admin, sql).await;
        wrong.extend(found.into_iter().map(|found| format!("{user} {setup:?} {sql}: {found}")));
        client.send(&terminate()).await;
        client.until_end().await;
    }
    wrong
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn what_a_reader_is_told_of_a_statement_becomes_of_it() {
    let (few, _) = READERS.split_at(2);
    compare_in(&[("reader", READERS), ("root", few)]).await;
}

#[tokio::test]
async fn what_a_writer_is_told_of_a_statement_becomes_of_it() {
    compare_in(&[("writer", WRITERS)]).await;
}

async fn compare_in(sessions: &[(&str, &[&[&str]])]) {
    let place = Place::start().await;
    let texts: Vec<_> = TEXTS.trim_start().split('\n').map(str::to_owned).collect();
    let mut wrong = Vec::new();
    for (user, setups) in sessions {
        for setup in *setups {
            // What the statements before have written is to be everywhere.
            place.replica.until_caught_up_with(&place.primary).await;
            until_seen(&place).await;
            wrong.extend(compare_all(&place, user, setup, &texts).await);
        }
    }
    assert_none(&wrong);
}

#[tokio::test]
async fn the_verdicts_on_the_corpus_are_those_of_the_gateway() {
    let place = Place::start().await;
    let files = ["reads", "writes", "unproven", "tricks", "needed", "classified"];
    let all = files.iter().flat_map(|file| lines(&format!("sql/{file}.sql")));
    let texts: Vec<_> = all.filter(|line| !line.starts_with("#= ")).collect();
    let wrong = compare_all(&place, "reader", &[], &texts).await;
    assert!(texts.len() > 800, "the corpus has been emptied: {}", texts.len());
    assert_none(&wrong);
}

/// Waits until the gateway has seen that its replica has come as far as the primary.
async fn until_seen(place: &Place) {
    let mut client = place.client("reader", &["SET pgsluice.scope = 'global'"]).await;
    let seen = async {
        while explain(&mut client, "SELECT random()").await.get("route") != "replica" {
            // Whoever asks has the position looked at.
            client.query("SELECT random()").await;
            sleep(STEP_MAX / 1000).await;
        }
    };
    timeout(STEP_MAX, seen).await.expect("the replica is seen to catch up");
}

const READERS: &[&[&str]] = &[
    &[],
    &["SET application_name = 'tool'"],
    &["SET pgsluice.route = primary"],
    &["SET pgsluice.route = replica", "SET pgsluice.scope = 'global'"],
    &["BEGIN"],
    &["BEGIN ISOLATION LEVEL SERIALIZABLE"],
    &["BEGIN", "SELECT random()"],
    &["PREPARE q AS SELECT 1"],
    &["SET default_transaction_isolation = 'serializable'"],
    &["SET work_mem = '7MB'"],
];

const WRITERS: &[&[&str]] = &[
    &[],
    &["SET application_name = 'tool'"],
    &["SET pgsluice.route = primary"],
    &["SET pgsluice.route = replica"],
    &["BEGIN"],
    &["BEGIN READ ONLY"],
    &["BEGIN", "INSERT INTO s VALUES (1)"],
    &["SET pgsluice.pin = on", "SELECT 1"],
    &["INSERT INTO s VALUES (1)"],
    &["SET default_transaction_read_only = on"],
];

/// A text a line; the last is empty.
const TEXTS: &str = "
SELECT 1 AS never_before
SELECT a FROM t WHERE a = 7
SELECT a FROM t WHERE a = 7
SELECT a FROM nothing
SELECT a FROM big
SELECT random()
SELECT now()
SELECT reads()
SELECT writes()
SELECT no_such_function()
SELECT random(), 'go there'
SELECT random(), 'go here'
/* pgsluice.route=primary */ SELECT random()
/* pgsluice.route=replica */ SELECT random()
SELECT 1; SELECT random()
SELECT 1; SELECT a FROM big
SELECT 1; SHOW pgsluice.nothing; SELECT 2
SELECT 1; DELETE FROM u WHERE a = 1
SELECT 'no end
SELEC 1
INSERT INTO u VALUES (1, 'x')
DELETE FROM u
DELETE FROM u WHERE a = 1
INSERT INTO u VALUES (2, 'x'); SELECT count(*) FROM u
INSERT INTO u VALUES (2, 'x'); SHOW pgsluice.version
SELECT nextval('counter')
SELECT currval('counter')
SELECT nextval('counter'); SELECT currval('counter')
CREATE TEMP TABLE own (a int)
SELECT a FROM t WHERE a = 7 FOR UPDATE
CALL does()
COPY u FROM STDIN
BEGIN
BEGIN READ WRITE
COMMIT
ROLLBACK TO SAVEPOINT x
SET work_mem = '1MB'
SET session_authorization = 'x'
SET pgsluice.route = nowhere
SET pgsluice.pin = on
SHOW pgsluice.cache
SHOW pgsluice.nothing
PREPARE p AS SELECT 1
EXECUTE q
EXECUTE nobody
DEALLOCATE q
DISCARD PLANS
DISCARD ALL
LISTEN c
EXPLAIN PGSLUICE SELECT 1
EXPLAIN ANALYZE DELETE FROM u WHERE a = 1
SELECT $1
";
