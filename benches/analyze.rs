//! What a text is proven to be: `sql::analyze`, with and without its memo.
//!
//! Good: a text seen before in a tenth of a microsecond, since every statement of a prepared
//! or repeated workload pays it and a whole transaction through a pooler costs some 10 µs of
//! CPU; a text with other integers in it, which is what `pgbench -M simple` and most applications
//! send, in little more; a text of a known shape with other constants in under 1 µs; a text never
//! seen in under 10 µs, or 100 µs for a long report: nine tenths of that are sqlparser's, paid once
//! for each shape.

mod harness;

use bytes::Bytes;
use pgsluice::sql::{Analyzer, Config};

use self::harness::Harness;

const POINT: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;";

const ANY_INTEGER: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = 0000000000;";

const ANY_FRACTION: &str = "SELECT abalance FROM pgbench_accounts WHERE aid = .0000000000;";

const REPORT: &str = "WITH monthly AS (SELECT date_trunc('month', o.placed_at) AS month, \
    c.country, sum(l.quantity * l.price) AS revenue FROM orders o JOIN customers c ON c.id = \
    o.customer_id JOIN order_lines l ON l.order_id = o.id WHERE o.placed_at >= '2026-01-01' AND \
    c.country IN ('SE', 'NO', 'DK') GROUP BY 1, 2) SELECT month, country, revenue, rank() OVER \
    (PARTITION BY month ORDER BY revenue DESC) FROM monthly ORDER BY month, country LIMIT 100";

fn main() {
    let harness = Harness::from_args();
    let known = Analyzer::new(Config::default());
    let forgetful = Analyzer::new(Config { memo_bytes_max: 0, ..Config::default() });

    for (name, text) in [("point read", POINT), ("report", REPORT)] {
        let text = Bytes::from_static(text.as_bytes());
        harness.case(&format!("{name}, known text"), || known.analyze_script(&text));
        harness.case(&format!("{name}, new"), || forgetful.analyze_script(&text));
    }

    for (name, text) in [("known skeleton", ANY_INTEGER), ("known shape", ANY_FRACTION)] {
        let mut number = 0_u32;
        let mut text = text.as_bytes().to_vec();
        harness.case(&format!("point read, {name}"), || {
            number = number.wrapping_add(1);
            put_digits(&mut text, number);
            known.analyze_script(&Bytes::copy_from_slice(&text))
        });
    }

    let write = Bytes::from_static(b"UPDATE pgbench_accounts SET abalance = 0 WHERE aid = 12345");
    harness.case("write, new", || forgetful.analyze_script(&write));
}

/// Writes `number` over the ten digits before the last byte.
fn put_digits(text: &mut [u8], mut number: u32) {
    for digit in text.iter_mut().rev().skip(1).take(10) {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}
