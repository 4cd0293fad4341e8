//! A value, or several, of every type that PostgreSQL brings.

use std::collections::BTreeSet;

use super::conversation::{Case, batches, extended};
use crate::support::client::Client;
use crate::support::messages::{query, row, rows};

/// Text and binary results, text and binary parameters, arrays and NULL for each.
///
/// What is sent as a binary parameter is what the server itself sends as a binary result.
pub(super) async fn cases(direct: &mut Client) -> Vec<Case> {
    assert_all_are_here(direct).await;
    let mut cases = Vec::new();
    for (name, literals) in VALUES {
        for literal in *literals {
            let literal = format!("'{}'::{name}", literal.replace('\'', "''"));
            let sql =
                format!("SELECT {literal} AS v, NULL::{name} AS n, ARRAY[{literal}, NULL] AS a");
            let asking = format!("SELECT $1::{name} AS v, ARRAY[$1::{name}] AS a");
            let mut steps = vec![query(&sql), extended(&sql, &[], 0), extended(&sql, &[], 1)];
            steps.push(extended(&asking, &[(0, None)], 1));
            for format in [0, 1] {
                let one = format!("SELECT {literal}");
                let reply = direct.exchange(&extended(&one, &[], format)).await;
                let Some((_, body)) = reply.iter().find(|(tag, _)| *tag == b'D') else { continue };
                let value = row(body)[0];
                steps.push(extended(&asking, &[(format, value)], 0));
                steps.push(extended(&asking, &[(format, value)], 1));
            }
            cases.push(batches(&format!("type {literal:.60}"), steps));
        }
    }
    cases
}

async fn assert_all_are_here(direct: &mut Client) {
    let theirs = direct
        .query(
            "SELECT typname FROM pg_type JOIN pg_namespace n ON n.oid = typnamespace
              WHERE typtype IN ('b', 'r', 'm') AND typelem = 0 AND nspname = 'pg_catalog'",
        )
        .await;
    let theirs = rows(&theirs).into_iter().flatten().flatten().collect::<BTreeSet<_>>();
    let ours: BTreeSet<_> =
        VALUES.iter().map(|(name, _)| name.trim_matches('"').to_owned()).collect();
    let missing: Vec<_> =
        theirs.difference(&ours).filter(|name| !WITHOUT_VALUES.contains(&name.as_str())).collect();
    assert!(theirs.len() > 60 && missing.is_empty(), "{missing:?}");
}

/// These take no input at all.
const WITHOUT_VALUES: &[&str] = &[
    "gtsvector",
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
];

const VALUES: &[(&str, &[&str])] = &[
    ("bool", &["t", "f"]),
    ("bytea", &["\\x", "\\x00ff5c27", "plain"]),
    ("\"char\"", &["x", "", "\\377"]),
    ("int2", &["-32768", "32767"]),
    ("int4", &["-2147483648", "2147483647", "0"]),
    ("int8", &["-9223372036854775808", "9223372036854775807"]),
    ("float4", &["NaN", "-Infinity", "1e-45", "3.4028235e38", "-0", "0.1"]),
    ("float8", &["NaN", "Infinity", "5e-324", "1.7976931348623157e308", "-0", "0.1"]),
    (
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0",
            "-0.00",
            "1e131071",
            "1e-16383",
            "123456789012345678901234567890.123456789",
            "10000",
        ],
    ),
    ("money", &["-92233720368547758.08", "$1,234.56"]),
    ("text", &["", "plain", "Zürich – 東京 🜁", "tab\tline\nquote' back\\slash"]),
    ("varchar", &["", "some text"]),
    ("bpchar", &["padded   ", ""]),
    ("name", &["a_name"]),
    ("xml", &["<a b=\"c\">d &amp; e</a>", ""]),
    ("json", &["{\"a\" : [1, null, \"x\"]}", "  3 "]),
    ("jsonb", &["{\"a\" : [1, null, \"x\"], \"a\": 1e400}", "\"\\u00fc\""]),
    ("jsonpath", &["$.a[*] ? (@ > 1)"]),
    ("oid8", &["18446744073709551615", "0"]),
    ("regdatabase", &["postgres", "-"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("date", &["infinity", "-infinity", "0044-03-15 BC", "5874897-12-31", "2024-02-29"]),
    ("time", &["00:00", "24:00:00", "12:34:56.789012"]),
    ("timetz", &["12:34:56.789012+05:45", "24:00:00-15:59"]),
    (
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "4713-01-01 00:00:00 BC",
            "294276-12-31 23:59:59.999999",
            "2024-02-29 12:00",
        ],
    ),
    ("timestamptz", &["infinity", "-infinity", "2024-02-29 12:00+00", "1883-01-01 00:00+00"]),
    ("interval", &["178000000 years", "1 year 2 mons -3 days +04:05:06.789", "-1 us", "0"]),
    ("bit", &["1", "0"]),
    ("varbit", &["", "10110"]),
    ("inet", &["192.168.0.1/24", "::ffff:1.2.3.4", "fe80::1/10"]),
    ("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("point", &["(1,-2.5)", "(NaN,Infinity)"]),
    ("line", &["{1,-1,0}"]),
    ("lseg", &["[(0,0),(1,1)]"]),
    ("box", &["(1,1),(0,0)"]),
    ("path", &["[(0,0),(1,1)]", "((0,0),(1,1),(2,0))"]),
    ("polygon", &["((0,0),(1,1),(2,0))"]),
    ("circle", &["<(1,2),3>"]),
    ("tsvector", &["'a':1A,2 'fat cat':3", ""]),
    ("tsquery", &["a & !b | c <-> d:*A", ""]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["4294967295"]),
    ("xid8", &["18446744073709551615"]),
    ("cid", &["7"]),
    ("tid", &["(0,1)", "(4294967295,65535)"]),
    ("pg_lsn", &["16/B374D848"]),
    ("pg_snapshot", &["10:20:10,14,15"]),
    ("txid_snapshot", &["10:20:10,14,15"]),
    ("refcursor", &["c"]),
    ("aclitem", &["postgres=r/postgres"]),
    ("regclass", &["pg_class", "0"]),
    ("regcollation", &["\"C\""]),
    ("regconfig", &["english"]),
    ("regdictionary", &["simple"]),
    ("regnamespace", &["pg_catalog"]),
    ("regoper", &["0"]),
    ("regoperator", &["+(integer,integer)"]),
    ("regproc", &["int4pl"]),
    ("regprocedure", &["lower(text)"]),
    ("regrole", &["postgres"]),
    ("regtype", &["integer"]),
    ("int4range", &["empty", "[1,5)", "(,)"]),
    ("int8range", &["[1,5]"]),
    ("numrange", &["[1.5,)", "(NaN,)"]),
    ("daterange", &["[2024-01-01,infinity]"]),
    ("tsrange", &["[2024-01-01,2024-02-01)"]),
    ("tstzrange", &["[2024-01-01 00:00+00,)"]),
    ("int4multirange", &["{}", "{[1,5),[7,9)}"]),
    ("int8multirange", &["{[1,5)}"]),
    ("nummultirange", &["{[1.5,2.5],(3,)}"]),
    ("datemultirange", &["{[2024-01-01,2024-02-01)}"]),
    ("tsmultirange", &["{[2024-01-01,2024-02-01)}"]),
    ("tstzmultirange", &["{[2024-01-01 00:00+00,)}"]),
    // Those of this database.
    ("mood", &["ok", "no such mood"]),
    ("pair", &["(1,\"a \"\"b\"\"\")", "(,)"]),
    ("nested", &["(\"(1,a)\",\"{\"\"(2,b)\"\",NULL}\")"]),
    ("small", &["99", "100"]),
    ("smalls", &["{1,2}", "{1,200}"]),
    ("textrange", &["[a,z)"]),
    ("varchar(3)", &["abcdef"]),
    ("numeric(5,2)", &["999.999", "1.005"]),
    ("timestamp(0)", &["2024-02-29 12:00:00.5"]),
    ("bit(3)", &["10110"]),
    ("interval year to month", &["1 year 2 mons 3 days"]),
    ("int4[]", &["{}", "[2:3][-1:0]={{1,2},{3,NULL}}"]),
];
