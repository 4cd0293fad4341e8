//! Portals: limits, suspension, closing, and what becomes of the unnamed one.

use super::super::conversation::{Case, batches, bind, extended};
use crate::support::messages::{close, describe, execute, parse, query, sync};

pub(super) fn cases() -> Vec<Case> {
    vec![
        row_limits(),
        suspended(),
        closed(),
        without_a_portal(),
        executed_twice(),
        the_unnamed_portal_in_a_block(),
    ]
}

fn row_limits() -> Case {
    batches(
        "row limits",
        [
            limited("SELECT a FROM t ORDER BY a", 3),
            limited("SELECT a FROM t ORDER BY a", 50),
            limited("SELECT a FROM t ORDER BY a", 51),
            limited("SELECT 1", 1),
            limited("TABLE nothing", 1),
            limited("SHOW DateStyle", 1),
        ],
    )
}

fn suspended() -> Case {
    batches(
        "suspended",
        [
            [
                parse("", "SELECT a FROM t ORDER BY a", &[]),
                bind("p", "", &[], &[1]),
                execute("p", 20),
                execute("p", 20),
                execute("p", 20),
                execute("p", 20),
                sync(),
            ]
            .concat(),
            [execute("p", 1), sync()].concat(),
            query("BEGIN"),
            [
                parse("s", "SELECT a FROM t ORDER BY a", &[]),
                bind("p", "s", &[], &[]),
                execute("p", 2),
                sync(),
            ]
            .concat(),
            query("SELECT 1"),
            [execute("p", 2), describe(b'P', "p"), sync()].concat(),
            [bind("p", "s", &[], &[]), sync()].concat(),
            query("ROLLBACK"),
            [execute("p", 2), sync()].concat(),
        ],
    )
}

fn closed() -> Case {
    batches(
        "closed",
        [
            query("BEGIN"),
            [
                parse("s", "SELECT a FROM t ORDER BY a", &[]),
                bind("p", "s", &[], &[]),
                execute("p", 2),
                close(b'P', "p"),
                sync(),
            ]
            .concat(),
            [execute("p", 2), sync()].concat(),
            query("COMMIT"),
        ],
    )
}

fn without_a_portal() -> Case {
    batches(
        "without a portal",
        [
            [execute("", 0), sync()].concat(),
            [describe(b'P', ""), sync()].concat(),
            [bind("", "none", &[], &[]), sync()].concat(),
            [close(b'P', ""), sync()].concat(),
        ],
    )
}

fn executed_twice() -> Case {
    batches(
        "limit: executed again in a batch to come",
        [
            [
                parse("", "SELECT a FROM t WHERE a < 4 ORDER BY a", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                execute("", 0),
                sync(),
            ]
            .concat(),
            query("BEGIN"),
            [
                parse("", "SELECT a FROM t WHERE a < 4 ORDER BY a", &[]),
                bind("", "", &[], &[]),
                execute("", 0),
                sync(),
            ]
            .concat(),
            [execute("", 0), sync()].concat(),
            [execute("", 0), sync()].concat(),
            query("COMMIT"),
        ],
    )
}

fn the_unnamed_portal_in_a_block() -> Case {
    batches(
        "limit: the unnamed portal of a hit",
        [
            query("BEGIN"),
            extended("SELECT a FROM t WHERE a < 4 ORDER BY a", &[], 0),
            extended("SELECT a FROM t WHERE a < 4 ORDER BY a", &[], 0),
            [describe(b'P', ""), sync()].concat(),
            [execute("", 0), sync()].concat(),
            query("COMMIT"),
        ],
    )
}

/// One execution of at most so many rows.
fn limited(sql: &str, rows_max: i32) -> Vec<u8> {
    let (parse, bind) = (parse("", sql, &[]), bind("", "", &[], &[]));
    [parse, bind, describe(b'P', ""), execute("", rows_max), sync()].concat()
}
