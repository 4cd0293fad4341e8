//! An explanation as a table: a row a fact, in an order that stays.

use super::{CacheSaid, Explained, Explanation, RefusalSaid, RouteSaid, Target};
use crate::upstream::prospects::Prospect;
use crate::wire::backend::{Column, Row, TextTable};

/// The answer without its rows.
pub(super) fn describe() -> TextTable {
    let columns = vec![Column::text("item"), Column::text("value")];
    TextTable { columns, rows: Vec::new(), tag: "EXPLAIN".to_owned() }
}

/// The whole answer.
pub(super) fn of(explanation: &Explanation) -> TextTable {
    let mut rows = Rows::default();
    rows.add("user", &explanation.user);
    rows.add("application_name", &explanation.application);
    rows.add("access", access(explanation));
    rows.add("transaction", explanation.block);
    rows.add("statements", count(explanation));
    rows.add("verdict", verdict(explanation));
    if let Some(refused) = &explanation.refused {
        rows.add_refusal(refused);
    }
    for statement in &explanation.statements {
        rows.add_statement(statement);
    }
    rows.add_route(&explanation.route);
    TextTable { rows: rows.0, ..describe() }
}

fn access(explanation: &Explanation) -> String {
    let access = if explanation.is_writer { "read_write" } else { "read_only" };
    format!("{access}{}", if explanation.is_admin { ", admin" } else { "" })
}

fn count(explanation: &Explanation) -> String {
    let (count, told) = (explanation.count, explanation.statements.len());
    match count {
        0 | 1 => count.to_string(),
        _ if told < count => format!("{count}, in one text; the first {told} are told of"),
        _ => format!("{count}, in one text"),
    }
}

fn verdict(explanation: &Explanation) -> String {
    match (&explanation.refused, explanation.refused_at) {
        (None, _) => "passes".to_owned(),
        (Some(_), None) => "refused".to_owned(),
        (Some(_), Some(at)) => format!("refused at statement {}, behind the others", at + 1),
    }
}

#[derive(Default)]
struct Rows(Vec<Row>);

impl Rows {
    #[expect(clippy::needless_pass_by_value, reason = "so that it reads as a list of values")]
    fn add(&mut self, item: &str, value: impl ToString) {
        self.0.push(vec![Some(item.to_owned()), Some(value.to_string())]);
    }

    fn add_refusal(&mut self, refused: &RefusalSaid) {
        self.add("reason", refused.label);
        self.add("sqlstate", refused.sqlstate.as_str());
        self.add("message", &refused.message);
        for (item, value) in [("detail", &refused.detail), ("hint", &refused.hint)] {
            if !value.is_empty() {
                self.add(item, value);
            }
        }
    }

    fn add_statement(&mut self, statement: &Explained) {
        self.add("statement", &statement.statement);
        self.add("fingerprint", format_args!("{:016x}", statement.fingerprint));
        self.add("kind", statement.verb);
        self.add("class", statement.class);
        self.add("proof", proof(statement));
        for function in &statement.functions {
            self.add("function", format_args!("{}: {}", function.name, function.verdict));
        }
        self.add("tables", list(statement.tables.as_deref(), "not known"));
        self.add("writes", list(statement.written.as_deref(), "anything"));
        for rule in &statement.ruling.matched {
            let dry_run = if rule.is_dry_run { ", observe_only" } else { "" };
            let (name, action, outcome) = (&rule.name, rule.action, rule.outcome);
            self.add("rule", format_args!("{name}: {action}, {outcome}{dry_run}"));
        }
        let ruling = &statement.ruling;
        if ruling.more > 0 {
            self.add("rule", format_args!("and {} more", ruling.more));
        }
        match &ruling.by {
            Some(rule) => self.add("rules", format_args!("{} by {rule}", ruling.verdict)),
            None => self.add("rules", ruling.verdict),
        }
        self.add("plan", statement.plan);
        self.add("cache", cache(statement.cache));
        self.add("pin", statement.pin.map_or("none", |pin| pin.as_str()));
    }

    fn add_route(&mut self, route: &RouteSaid) {
        match &route.target {
            Target::Held(address) => self.add("route", format_args!("held_connection {address}")),
            target => self.add("route", target.as_str()),
        }
        if !route.because.is_empty() {
            self.add("because", route.because);
        }
        if let Some(floor) = route.floor {
            self.add("floor", format_args!("{floor} (scope {})", route.scope));
        }
        for prospect in route.upstreams.iter().flatten() {
            self.add("upstream", upstream(prospect, route.floor.is_some()));
        }
    }
}

fn proof(statement: &Explained) -> String {
    let unknown = match statement.not_in_catalog.as_slice() {
        [] => String::new(),
        names => {
            format!("; the catalog is read again before it runs, for {}", names.join(", "))
        }
    };
    match &statement.unproven {
        None => format!("read{unknown}"),
        Some(why) => format!("not proven ({}): {}{unknown}", why.label, why.message),
    }
}

fn list(names: Option<&[String]>, unknown: &str) -> String {
    match names {
        None => unknown.to_owned(),
        Some([]) => "none".to_owned(),
        Some(names) => names.join(", "),
    }
}

fn cache(said: CacheSaid) -> String {
    match said {
        CacheSaid::NotAsked => "not asked".to_owned(),
        CacheSaid::Bypass(bypass) => format!("bypass {}", bypass.as_str()),
        CacheSaid::Cached { ttl_s, is_stored } => {
            let stored = match is_stored {
                Some(true) => ", a reply is stored",
                Some(false) => ", none is stored",
                None => "",
            };
            format!("cached for {ttl_s} s{stored}")
        }
    }
}

fn upstream(prospect: &Prospect, is_read: bool) -> String {
    let Prospect { address, standing, replayed, may_serve } = prospect;
    let standing = standing.label();
    match (is_read, standing, may_serve) {
        (false, ..) | (true, "primary", _) => format!("{address}: {standing}"),
        (true, _, true) => format!("{address}: {standing} at {replayed}, may serve"),
        (true, _, false) => format!("{address}: {standing} at {replayed}, may not serve"),
    }
}
