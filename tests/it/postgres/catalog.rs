//! Wall 2 against a real server: its built-ins are known, and its own functions are seen through.

use std::sync::Arc;
use std::time::Duration;

use pgsluice::sql::catalog::{CatalogSnapshot, CatalogVerdict};
use pgsluice::sql::functions::{self, FunctionVerdict};
use pgsluice::sql::settings::{self, SettingVerdict};
use pgsluice::upstream::catalog::{self, Catalog, Config, Whom};
use tokio::time::timeout;
use tokio_postgres::{Client, NoTls};

use crate::support::STEP_MAX;
use crate::support::postgres::Postgres;
use crate::support::replication::{Replication, config, tracked, until};

#[tokio::test]
async fn every_function_of_the_server_has_a_verdict() {
    let server = Postgres::start();
    let client = server.connect().await;

    let names = column(&client, BUILTIN_NAMES).await;

    assert!(names.len() > 2500, "{} names", names.len());
    let uncovered = functions::uncovered(names.iter().map(String::as_str));
    assert_eq!(uncovered, [""; 0]);
}

#[tokio::test]
async fn no_volatile_function_of_the_server_counts_as_pure() {
    let server = Postgres::start();
    let client = server.connect().await;

    let names = column(&client, VOLATILE_BUILTIN_NAMES).await;

    assert!(names.len() > 200, "{} names", names.len());
    let is_pure = |name: &&String| functions::builtin(name) == FunctionVerdict::Pure;
    assert_eq!(names.iter().filter(is_pure).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn no_setting_beyond_a_plain_user_s_may_be_set() {
    let server = Postgres::start();
    let client = server.connect().await;

    let names = column(&client, "SELECT name FROM pg_settings WHERE context <> 'user'").await;

    assert!(names.len() > 100, "{} names", names.len());
    let is_allowed =
        |name: &&String| settings::verdict(name, Some("on")) == SettingVerdict::Allowed;
    assert_eq!(names.iter().filter(is_allowed).collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn a_plain_database_is_plain() {
    let server = Postgres::start();
    let client = server.connect().await;

    let snapshot = catalog::load(&client).await.unwrap();

    assert!(snapshot.is_plain());
    // information_schema brings functions of its own.
    assert!(snapshot.knows("_pg_expandarray"));
    assert_eq!(snapshot.verdict("_pg_expandarray"), CatalogVerdict::Harmless);
    assert_eq!(snapshot.verdict("no_such_function"), CatalogVerdict::Harmless);
    for name in ["random", "nextval", "lower", "pg_sleep", "gen_random_uuid"] {
        assert!(!snapshot.shadows_builtin(name), "{name}");
    }
}

#[tokio::test]
async fn the_users_own_functions_are_seen_through() {
    let server = Postgres::start();
    let client = server.connect().await;
    client.batch_execute(USERS_OWN).await.unwrap();

    let snapshot = catalog::load(&client).await.unwrap();

    let cases = [
        ("reads", CatalogVerdict::Harmless),
        ("computes", CatalogVerdict::Harmless),
        ("writes", CatalogVerdict::Volatile),
        ("both_ways", CatalogVerdict::Volatile),
        ("sums_up", CatalogVerdict::Volatile),
        ("adds_up", CatalogVerdict::Harmless),
        ("another_nextval", CatalogVerdict::Denied),
        ("another_lower", CatalogVerdict::Harmless),
        ("MixedCase", CatalogVerdict::Volatile),
        ("mixedcase", CatalogVerdict::Harmless),
        ("a_procedure", CatalogVerdict::Harmless),
    ];
    for (name, verdict) in cases {
        assert_eq!(snapshot.verdict(name), verdict, "{name}");
    }
    assert!(snapshot.may_read_tables("reads") && !snapshot.may_read_tables("computes"));
    assert!(snapshot.shadows_builtin("upper") && !snapshot.shadows_builtin("lower"));
    assert!(snapshot.operator_is_harmful("<+!>") && !snapshot.operator_is_harmful("<+->"));
    assert!(!snapshot.is_plain());
}

#[tokio::test]
async fn a_function_that_does_with_one_argument_is_an_attribute() {
    let server = Postgres::start();
    let client = server.connect().await;
    client.batch_execute(USERS_OWN).await.unwrap();

    let snapshot = catalog::load(&client).await.unwrap();

    let harmful = ["of_row", "of_any", "of_domain", "of_row_and_default", "of_row_by_cast"];
    for name in harmful {
        assert!(snapshot.attribute_is_harmful(name), "{name}");
        client.batch_execute(&format!("SELECT (r).{name} FROM r")).await.unwrap();
    }
    assert!(!snapshot.attribute_is_harmful("of_row_stable"));
    assert!(snapshot.attribute_is_harmful("of_text"));
    let of_text = "SELECT ('x'::text).of_text, f.of_text FROM unnest(ARRAY['x']) f";
    client.batch_execute(of_text).await.unwrap();
    for name in ["of_row_and_more", "of_none"] {
        assert!(!snapshot.attribute_is_harmful(name), "{name}");
        let called = client.batch_execute(&format!("SELECT (r).{name} FROM r")).await;
        assert!(called.is_err(), "{name} is an attribute after all");
    }
}

#[tokio::test]
async fn a_new_function_is_seen_when_it_is_asked_for() {
    let server = Postgres::start();
    let client = server.connect().await;
    let catalog = start(&server, Duration::from_hours(1)).await.unwrap();
    client.batch_execute(NEW_FUNCTION).await.unwrap();

    assert_eq!(catalog.snapshot().verdict("brand_new"), CatalogVerdict::Harmless);
    catalog.refresh_if_older_than(Duration::from_hours(1)).await.unwrap();
    assert_eq!(catalog.snapshot().verdict("brand_new"), CatalogVerdict::Harmless, "read too soon");
    catalog.refresh_if_older_than(Duration::ZERO).await.unwrap();

    assert_eq!(catalog.snapshot().verdict("brand_new"), CatalogVerdict::Volatile);
}

#[tokio::test]
async fn what_is_known_to_have_changed_is_read_again_however_young_the_reading() {
    let server = Postgres::start();
    let catalog = start(&server, Duration::from_hours(1)).await.unwrap();
    server.connect().await.batch_execute(NEW_FUNCTION).await.unwrap();
    let hour = Duration::from_hours(1);
    catalog.refresh_if_older_than(hour).await.unwrap();
    assert_eq!(catalog.snapshot().verdict("brand_new"), CatalogVerdict::Harmless, "read too soon");

    catalog.on_changed();
    catalog.refresh_if_older_than(hour).await.unwrap();
    let changed = catalog.snapshot();
    assert_eq!(changed.verdict("brand_new"), CatalogVerdict::Volatile);
    // Once for a change, and no more.
    catalog.refresh_if_older_than(hour).await.unwrap();
    assert!(Arc::ptr_eq(&changed, &catalog.snapshot()));
}

#[tokio::test]
async fn a_new_function_is_seen_in_time() {
    let server = Postgres::start();
    let client = server.connect().await;
    let catalog = start(&server, Duration::from_millis(20)).await.unwrap();
    client.batch_execute(NEW_FUNCTION).await.unwrap();

    let seen = async {
        while is_harmless(&catalog.snapshot()) {
            tokio::task::yield_now().await;
        }
    };

    timeout(STEP_MAX, seen).await.unwrap();
}

#[tokio::test]
async fn callers_at_once_share_one_reading() {
    let server = Postgres::start();
    let catalog = start(&server, Duration::from_hours(1)).await.unwrap();
    let first = catalog.snapshot();

    let all_at_once = async {
        loop {
            let callers = (0..50).map(|_| async {
                catalog.refresh_if_older_than(Duration::from_secs(1)).await.unwrap();
                catalog.snapshot()
            });
            let seen = futures::future::join_all(callers).await;
            if seen.iter().any(|snapshot| !Arc::ptr_eq(snapshot, &first)) {
                return seen;
            }
        }
    };
    let seen = timeout(STEP_MAX, all_at_once).await.unwrap();

    let second = seen.last().unwrap();
    let is_expected = |seen: &&Arc<_>| Arc::ptr_eq(seen, &first) || Arc::ptr_eq(seen, second);
    assert_eq!(seen.iter().filter(is_expected).count(), seen.len(), "more than one reading");
}

#[tokio::test]
async fn a_server_that_is_gone_is_an_error_and_the_old_snapshot_stays() {
    let mut server = Postgres::start();
    server.connect().await.batch_execute(NEW_FUNCTION).await.unwrap();
    let catalog = start(&server, Duration::from_hours(1)).await.unwrap();
    server.cluster.kill();

    assert!(catalog.refresh_if_older_than(Duration::ZERO).await.is_err());
    // Not tried again within the age, and not taken for a success either.
    assert!(catalog.refresh_if_older_than(Duration::from_hours(1)).await.is_err());

    assert_eq!(catalog.snapshot().verdict("brand_new"), CatalogVerdict::Volatile);
    assert!(start(&server, Duration::from_hours(1)).await.is_err(), "starts without a server");
}

#[tokio::test]
async fn the_catalog_is_read_where_the_primary_is() {
    let mut servers = Replication::start();
    let upstreams = tracked(&config(&servers.all())).await;
    let hour = Duration::from_hours(1);
    let catalog = start_at(&servers.primary, upstreams.whom_to_ask(), hour).await.unwrap();
    let define = async |server: &Postgres, name: &str| {
        let define = format!("CREATE FUNCTION {name}() RETURNS int LANGUAGE sql AS 'SELECT 1'");
        server.connect().await.batch_execute(&define).await.unwrap();
    };

    // The old primary lives on, and has a function that nobody else has.
    servers.replicas[0].promote().await;
    servers.replicas[1].cluster.follow(&servers.replicas[0].cluster).unwrap();
    until(&upstreams, ["second_primary", "primary", "serving"]).await;
    define(&servers.primary, "of_the_old").await;
    define(&servers.replicas[0], "of_the_new").await;
    catalog.refresh_if_older_than(Duration::ZERO).await.unwrap();
    let known = ["of_the_old", "of_the_new"].map(|name| catalog.snapshot().knows(name));
    assert_eq!(known, [false, true]);

    // No primary at all: a replica will do.
    define(&servers.replicas[0], "of_all").await;
    servers.replicas[1].until_caught_up_with(&servers.replicas[0]).await;
    servers.replicas[0].cluster.kill();
    until(&upstreams, ["second_primary", "away", "serving"]).await;
    catalog.refresh_if_older_than(Duration::ZERO).await.unwrap();
    assert!(catalog.snapshot().knows("of_all") && !catalog.snapshot().knows("of_the_old"));
}

async fn start(
    server: &Postgres,
    refresh_interval: Duration,
) -> Result<Arc<Catalog>, catalog::CatalogError> {
    let address = server.address();
    start_at(server, Arc::new(move || address.clone()), refresh_interval).await
}

async fn start_at(
    server: &Postgres,
    whom: Whom,
    refresh_interval: Duration,
) -> Result<Arc<Catalog>, catalog::CatalogError> {
    let login = server.as_superuser();
    let mut connect = tokio_postgres::Config::new();
    connect.dbname(login.database).user(login.user).password(login.password);
    Catalog::start(connect, whom, NoTls, Config { refresh_interval, ..Config::default() }).await
}

fn is_harmless(snapshot: &CatalogSnapshot) -> bool {
    snapshot.verdict("brand_new") == CatalogVerdict::Harmless
}

async fn column(client: &Client, query: &str) -> Vec<String> {
    let rows = client.query(query, &[]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

const BUILTIN_NAMES: &str = "
    SELECT DISTINCT proname::text FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace";

const VOLATILE_BUILTIN_NAMES: &str = "
    SELECT DISTINCT proname::text FROM pg_proc
     WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' AND prokind <> 'a'";

const NEW_FUNCTION: &str = "
    CREATE FUNCTION brand_new() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'";

const USERS_OWN: &str = "
    CREATE TABLE r (a int);
    INSERT INTO r VALUES (1);
    CREATE DOMAIN d AS r;

    CREATE FUNCTION reads(int) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM r';
    CREATE FUNCTION computes(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION writes(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION both_ways(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1';
    CREATE FUNCTION both_ways(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION \"MixedCase\"() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE PROCEDURE a_procedure() LANGUAGE sql AS 'INSERT INTO r VALUES (2)';

    CREATE FUNCTION step(int, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT $1 + $2';
    CREATE AGGREGATE sums_up(int) (SFUNC = step, STYPE = int, INITCOND = 0);
    CREATE AGGREGATE adds_up(int) (SFUNC = int4pl, STYPE = int, INITCOND = 0);
    CREATE FUNCTION another_nextval(regclass) RETURNS bigint
      LANGUAGE internal STABLE AS 'nextval_oid';
    CREATE FUNCTION another_lower(text) RETURNS text LANGUAGE internal IMMUTABLE AS 'lower';

    CREATE FUNCTION upper(r) RETURNS text LANGUAGE sql VOLATILE AS 'SELECT 1::text';
    CREATE FUNCTION lower(r) RETURNS text LANGUAGE sql STABLE AS 'SELECT 1::text';

    CREATE OPERATOR <+!> (FUNCTION = step, LEFTARG = int, RIGHTARG = int);
    CREATE OPERATOR <+-> (FUNCTION = int4pl, LEFTARG = int, RIGHTARG = int);

    CREATE FUNCTION cast_to_int(r) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1';
    CREATE CAST (r AS int) WITH FUNCTION cast_to_int(r) AS IMPLICIT;
    CREATE FUNCTION of_row(r) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_any(anyelement) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_domain(d) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_row_and_default(r, int DEFAULT 1) RETURNS int
      LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_row_by_cast(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_text(text) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_none() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
    CREATE FUNCTION of_row_stable(r) RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
    CREATE FUNCTION of_row_and_more(r, int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';";
