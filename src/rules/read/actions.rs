//! `action`, and the keys that say more of it.

use std::sync::Arc;

use super::fields::{Fields, Reader};
use crate::rules::action::{
    Action, ActionName, CacheFor, Concurrency, Denial, EffectKind, Per, RateLimit, ResultMax, Route,
};
use crate::rules::bucket::Rate;
use crate::rules::condition::Test;
use crate::rules::yaml::{Node, Value};
use crate::sqlstate::SqlState;

/// Reads the action of a rule called `rule`; the condition is one that the action brings along.
pub(super) fn read(
    reader: &mut Reader,
    fields: &Fields<'_, '_>,
    rule: Option<&str>,
) -> Option<(ActionName, Action, Option<Test>)> {
    let Some(node) = fields.get("action") else {
        reader.wrong(fields.line("action"), "action is missing");
        return None;
    };
    let name = named(reader, node)?;
    let mut is_foreign = false;
    for (key, line) in fields.keys() {
        if KEYS.contains(&key) && !name.keys().contains(&key) {
            reader.wrong(line, format!("{key} means nothing to {}", name.as_str()));
            is_foreign = true;
        }
    }
    let action = Reading { reader, fields, rule: rule.unwrap_or_default(), name }.action();
    let condition = (name == ActionName::RequireWhere).then_some(Test::WithoutWhere);
    action.filter(|_| !is_foreign).map(|action| (name, action, condition))
}

fn named(reader: &mut Reader, node: &Node<'_>) -> Option<ActionName> {
    if let Value::Scalar { text, .. } = &node.value
        && let Some(name) = ActionName::parse(text)
    {
        return Some(name);
    }
    reader.choice(node, &ActionName::ALL.map(|name| (name.as_str(), name)))
}

/// One action on its way.
struct Reading<'r, 'f, 'n, 't> {
    reader: &'r mut Reader,
    fields: &'f Fields<'n, 't>,
    rule: &'r str,
    name: ActionName,
}

impl Reading<'_, '_, '_, '_> {
    fn action(&mut self) -> Option<Action> {
        let rule = self.rule;
        Some(Action::Effect(match self.name {
            ActionName::Allow => return Some(Action::Allow),
            ActionName::Observe => return Some(Action::Observe),
            ActionName::Deny => {
                return self.denial(format!("statement refused by traffic rule \"{rule}\""));
            }
            ActionName::RequireWhere => {
                return self.denial("UPDATE and DELETE need a WHERE clause".to_owned());
            }
            ActionName::Warn => {
                let message = match self.fields.get("message") {
                    Some(_) => self.message(String::new()),
                    None => self.missing("message"),
                };
                EffectKind::Warn(message?)
            }
            ActionName::RoutePrimary => EffectKind::Route(Route::Primary),
            ActionName::RouteReplica => EffectKind::Route(Route::Replica),
            ActionName::RateLimit => EffectKind::RateLimit(self.rate_limit()?),
            ActionName::Concurrency => EffectKind::Concurrency(self.concurrency()?),
            ActionName::KillAfterMs => {
                EffectKind::KillAfterMs(self.whole("timeout_ms", 1, TIME_MAX, None)?)
            }
            ActionName::Cache => EffectKind::Cache(self.cache()?),
            ActionName::MaxRows => EffectKind::MaxRows(self.result_max("rows")?),
            ActionName::MaxBytes => EffectKind::MaxBytes(self.result_max("bytes")?),
        }))
    }

    fn denial(&mut self, message: String) -> Option<Action> {
        let message = self.message(message);
        let sqlstate = match self.fields.get("sqlstate") {
            None => Some(SqlState::INSUFFICIENT_PRIVILEGE),
            Some(node) => {
                let text = self.reader.text(node, "sqlstate", MESSAGE_BYTES_MAX);
                text.and_then(|text| {
                    let code = SqlState::parse(&text);
                    if code.is_none() {
                        let message = format!("{text:?} is no SQLSTATE of an error, such as 42501");
                        self.reader.wrong(node.line, message);
                    }
                    code
                })
            }
        };
        Some(Action::Deny(Denial { sqlstate: sqlstate?, message: message? }))
    }

    fn rate_limit(&mut self) -> Option<RateLimit> {
        let per_second = match self.fields.get("rate_per_sec") {
            Some(node) => self.reader.number(node, RATE_MIN..=RATE_MAX),
            None => self.missing("rate_per_sec"),
        };
        // A tenth of a second's worth: what comes in bunches passes, and the rate is kept.
        let burst = (per_second.unwrap_or(1.0) / 10.0).ceil().max(1.0);
        #[expect(clippy::cast_possible_truncation, reason = "a tenth of RATE_MAX at most")]
        let burst = self.whole("burst", 1, COUNT_MAX, Some(burst as i64));
        let per = self.per();
        let wait_ms = self.whole("wait_ms", 0, WAIT_MAX, Some(0));
        let message = self.message(format!("rate limit of traffic rule \"{}\" reached", self.rule));
        Some(RateLimit {
            rate: Rate::new(per_second?, u32::try_from(burst?).unwrap_or(u32::MAX)),
            per: per?,
            wait_ms: wait_ms?,
            message: message?,
        })
    }

    fn concurrency(&mut self) -> Option<Concurrency> {
        let max = self.whole("max", 1, COUNT_MAX, None);
        let queue = self.whole("queue", 0, COUNT_MAX, Some(0));
        let per = self.per();
        let wait_ms = self.whole("wait_ms", 0, WAIT_MAX, Some(WAIT_MS));
        let message =
            self.message(format!("too many statements at once for traffic rule \"{}\"", self.rule));
        Some(Concurrency {
            max: usize::try_from(max?).unwrap_or(usize::MAX),
            queue: usize::try_from(queue?).unwrap_or(usize::MAX),
            per: per?,
            wait_ms: wait_ms?,
            message: message?,
        })
    }

    fn cache(&mut self) -> Option<CacheFor> {
        let Some(node) = self.fields.get("ttl_seconds") else { return self.missing("ttl_seconds") };
        match &node.value {
            Value::Scalar { text, .. } if text == "never" => Some(CacheFor::Never),
            Value::Scalar { text, is_plain: true } if text.parse() == Ok(0) => {
                self.reader.wrong(node.line, "0 seconds; to keep nothing is ttl_seconds: never");
                None
            }
            _ => self.whole("ttl_seconds", 1, TIME_MAX, None).map(CacheFor::Seconds),
        }
    }

    fn result_max(&mut self, unit: &str) -> Option<ResultMax> {
        let max = self.whole("max", 1, i64::MAX, None);
        let shown = max.unwrap_or_default();
        let message = self.message(format!(
            "result is longer than the {shown} {unit} of traffic rule \"{}\"",
            self.rule
        ));
        Some(ResultMax { max: max?, message: message? })
    }

    fn per(&mut self) -> Option<Per> {
        match self.fields.get("per") {
            Some(node) => self.reader.choice(node, &Per::ALL.map(|per| (per.as_str(), per))),
            None => Some(Per::Rule),
        }
    }

    /// A whole number; without a default it must be there.
    fn whole(&mut self, key: &str, least: i64, most: i64, default: Option<i64>) -> Option<u64> {
        let number = match (self.fields.get(key), default) {
            (Some(node), _) => self.reader.whole(node, least..=most),
            (None, Some(default)) => Some(default),
            (None, None) => self.missing(key),
        };
        number.and_then(|number| u64::try_from(number).ok())
    }

    fn message(&mut self, default: String) -> Option<Arc<str>> {
        match self.fields.get("message") {
            Some(node) => self.reader.text(node, "message", MESSAGE_BYTES_MAX).map(Arc::from),
            None => Some(default.into()),
        }
    }

    fn missing<T>(&mut self, key: &str) -> Option<T> {
        let line = self.fields.line("action");
        self.reader.wrong(line, format!("{} needs {key}", self.name.as_str()));
        None
    }
}

/// Every key that some action reads.
pub(super) const KEYS: &[&str] = &[
    "message",
    "sqlstate",
    "timeout_ms",
    "rate_per_sec",
    "burst",
    "per",
    "wait_ms",
    "max",
    "queue",
    "ttl_seconds",
];

/// The longest message to a client, in bytes.
const MESSAGE_BYTES_MAX: usize = 1_000;

/// The slowest rate and the fastest, in statements a second.
const RATE_MIN: f64 = 0.001;
const RATE_MAX: f64 = 1_000_000.0;

/// The largest number of statements.
const COUNT_MAX: i64 = 1_000_000;

/// The longest that a limit holds a statement back, in milliseconds: an hour.
const WAIT_MAX: i64 = 3_600_000;

/// How long a statement waits for its turn unless the rule says otherwise, in milliseconds.
const WAIT_MS: i64 = 1_000;

/// PostgreSQL's own bound on times, each in its unit.
const TIME_MAX: i64 = 2_147_483_647;
