//! Tables of statements and what is seen in them; the bounds, each on a worker's stack.

use super::*;
use crate::bypass::Bypass::{ConnectionBound, NotAQuery, Statistics};

#[test]
fn tables_are_those_that_the_statement_reads() {
    let cases = [
        ("select 1", ""),
        ("SELECT * FROM Orders", "orders"),
        (r#"select * from "Orders" o, public.items"#, "Orders public.items"),
        ("select * from a join b using (x) left join s.c on true", "a b s.c"),
        ("select (select max(x) from b) from a where exists (select from c)", "a b c"),
        ("select * from a union select * from b except select * from c", "a b c"),
        ("select * from generate_series(1, 3) g, t", "t"),
        ("select * from t, lateral (select * from u where u.a = t.a) v", "t u"),
        ("select * from f((select x from t))", "t"),
        ("with w as (select * from t) select * from w", "t"),
        ("with w as (select * from w) select * from w", "w"),
        ("with v as (select * from w), w as (select * from v) select * from w, v", "w"),
        ("with recursive w as (select 1 union all select * from w) select * from w", ""),
        ("select * from (with w as (select * from t) select * from w) x, w", "t w"),
        ("with w as (select 1) select * from public.w", "public.w"),
        ("select 1 union table T", "T t"),
        ("copy t to stdout", "t"),
        ("copy (select * from t) to stdout", "t"),
        ("explain select * from t", "t"),
        ("insert into t select * from u", "t u"),
        ("select * from db.s.t", "s.t"),
    ];
    for (text, expected) in cases {
        let tables = inspect(text).map(|inspection| inspection.tables);
        let shown = tables.map(|tables| {
            let names = tables.into_iter().map(|table| match table.schema {
                Some(schema) => format!("{schema}.{}", table.name),
                None => table.name,
            });
            names.collect::<Vec<_>>().join(" ")
        });
        let mut words: Vec<_> = shown.as_deref().unwrap_or("?").split(' ').collect();
        words.sort_unstable();
        let mut expected: Vec<_> = expected.split(' ').collect();
        expected.sort_unstable();
        assert_eq!(words, expected, "{text}");
    }
}

#[test]
fn a_write_anywhere_is_seen() {
    let cases = [
        ("select 1", true, "SELECT"),
        ("(select 1)", true, "SELECT"),
        ("values (1), (2)", true, "VALUES"),
        ("with w as (select 1) select * from w", true, "SELECT"),
        ("with w as (delete from t returning *) select * from w", false, "DELETE"),
        ("with w as (select 1) insert into t select * from w", false, "INSERT"),
        (
            "with a as (with b as (update t set x = 1 returning x) select 1) select 1",
            false,
            "UPDATE",
        ),
        ("select * into u from t", false, "SELECT INTO"),
        ("select * from t for update", false, "SELECT FOR UPDATE"),
        ("select * from (select * from t for share) x", false, "SELECT FOR UPDATE"),
        ("insert into t values (1)", false, "INSERT"),
        ("delete from t", false, "DELETE"),
        ("create table t (a int)", false, "CREATE"),
        ("truncate t", false, "TRUNCATE"),
        ("grant select on t to u", false, "GRANT"),
        ("explain delete from t", true, "EXPLAIN"),
        ("explain analyze delete from t", false, "DELETE"),
        ("explain (analyze, verbose) delete from t", false, "DELETE"),
        ("explain analyze select 1", true, "EXPLAIN"),
        ("begin", true, "BEGIN"),
        ("start transaction read write", false, "BEGIN READ WRITE"),
        ("show all", true, "SHOW"),
        ("set datestyle = iso", true, "SET"),
        ("copy t from stdin", false, "COPY"),
        ("copy t to '/tmp/x'", false, "COPY"),
        ("copy t to program 'x'", false, "COPY"),
        ("lock table t in access share mode", true, "LOCK"),
        ("lock table t", false, "LOCK"),
        ("prepare p as delete from t", false, "DELETE"),
        ("prepare p as select 1", true, "PREPARE"),
    ];
    for (text, is_read, verb) in cases {
        let seen = inspect(text).map(|inspection| (inspection.is_read, inspection.verb));
        assert_eq!(seen, Some((is_read, verb)), "{text}");
    }
}

#[test]
fn live_views_are_not_cached() {
    let cases = [
        ("select * from pg_stat_activity", Some(Statistics)),
        ("select * from pg_catalog.pg_locks l join t on true", Some(Statistics)),
        ("select name from pg_settings", Some(ConnectionBound)),
        ("select * from pg_temp.t", Some(ConnectionBound)),
        ("select * from pg_stats", None),
        ("select * from pg_class", None),
        ("explain select 1", Some(NotAQuery)),
    ];
    for (text, expected) in cases {
        let bypass = inspect(text).map(|inspection| inspection.bypass);
        assert_eq!(bypass, Some(expected), "{text}");
    }
}

#[test]
fn what_could_be_read_differently_is_not_read() {
    let texts = [
        "",
        "select 1; select 2",
        "select 1 end; delete from t",
        "select a end from t",
        "select * from only t",
        "select * from only (t)",
        "select 1 >--'\n 2; delete from t; --'",
        "select $€$, ' $€$; delete from t; --'",
        "select e''\n'\\', '; delete from t; --'",
        "frobnicate t",
        "select '",
    ];
    for text in texts {
        assert_eq!(inspect(text), None, "{text}");
    }
}

#[test]
fn names_are_folded_and_cut_as_postgresql_does() {
    let name = |text: &str| inspect(text).unwrap().tables.remove(0).name;

    assert_eq!(name("select * from ÄPFEL"), "Äpfel".replace('ä', "Ä"));
    assert_eq!(name(&format!("select * from {}", "A".repeat(80))), "a".repeat(63));
    assert_eq!(name(&format!("select * from \"{}\"", "ä".repeat(40))), "ä".repeat(31));
}

/// Each shape grows until it is no longer read, and past that, on a quarter of a tokio worker's
/// stack. The process would abort if a bound came too late.
#[test]
fn no_shape_overflows_the_stack_of_a_worker() {
    let shapes = [
        ("select 1", "+1", ""),
        ("select 1 where true", " and a = 1", ""),
        ("select a", "::int", ""),
        ("select a", " is null", ""),
        ("select a", "[1]", ""),
        ("select ", "not ", "true"),
        ("select ", "- ", "1"),
        ("select 1", " union select 1, 2", ""),
        ("select ", "(", "1"),
        ("select ", "f(", "1"),
        ("select ", "(select ", "1"),
        ("select * from ", "(select * from ", "t"),
        ("select ", "case when a then ", "1"),
        ("select array", "[", "1"),
        ("select * from ", "a join ", "b"),
        ("select * from ", "(a join ", "b"),
        ("select ", "(1+1+1+1+", "1"),
        ("select ", "f(a and b and c and ", "d"),
        ("select * from ", "(select * from a join b join ", "t"),
        ("", "explain ", "select 1"),
        ("", "with a as (", "select 1"),
    ];
    let worker = thread::Builder::new().stack_size(WORKER_STACK_BYTES / 4);
    let all = worker.spawn(move || {
        for (start, step, end) in shapes {
            for repeats in (0..8).chain((8..200).step_by(9)).chain([500, 1500, 5000, 30_000]) {
                let closing = closing(step).repeat(repeats);
                let text = format!("{start}{}{end}{closing}", step.repeat(repeats));
                let _ = inspect(&text);
            }
        }
    });

    assert!(all.unwrap().join().is_ok());
}

#[test]
fn what_dashboards_send_is_within_the_bounds() {
    let sums = vec!["coalesce(sum(case when a = 1 and b > 2 then c else 0 end), 0)"; 100];
    let nested = "select * from (".repeat(12) + "select * from t" + &") x".repeat(12);
    let texts = [
        format!("select {} from t", sums.join(", ")),
        format!("select * from t where {}", vec!["(a = 1 and b = 2)"; 150].join(" or ")),
        format!("select * from t where a in ({})", vec!["12345"; 5000].join(",")),
        format!("select * from t {}", "join u on t.a = u.a and t.b = u.b ".repeat(60)),
        format!("select 1 {}", "union all select a, b from t ".repeat(100)),
        nested,
    ];
    for text in texts {
        assert!(inspect(&text).is_some(), "{}…", text.get(..60).unwrap());
    }
}

fn closing(step: &str) -> &'static str {
    match step {
        "(" | "f(" | "(select " | "with a as (" | "(1+1+1+1+" | "f(a and b and c and " => ")",
        "(select * from " => ") x",
        "(select * from a join b join " => " on true on true) x",
        "case when a then " => " end",
        "[" => "]",
        "a join " => " on true",
        "(a join " => " on true)",
        _ => "",
    }
}

/// The stack of a tokio worker, in bytes.
const WORKER_STACK_BYTES: usize = 2 * 1024 * 1024;
