//! A simulation as JSON, and for people.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Change, Difference, Simulation};

impl Simulation {
    /// How many statements would be stopped that were not.
    #[must_use]
    pub fn stopped(&self) -> u64 {
        self.totals.iter().filter(|(change, _)| change.is_stop()).map(|(_, count)| count).sum()
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let totals: Map<_, _> = Change::ALL
            .into_iter()
            .map(|change| (change.as_str().to_owned(), json!(self.total(change))))
            .collect();
        json!({
            "from_ms": self.from_ms,
            "to_ms": self.to_ms,
            "statements": self.statements,
            "differences": self.differences.iter().map(difference).collect::<Vec<_>>(),
            "others": self.others,
            "totals": totals,
            "unsure": {
                "query_regex": self.unsure.query_regex,
                "incomplete": self.unsure.incomplete,
                "close": self.unsure.close,
                "limits": self.unsure.limits,
            },
            "dropped": self.dropped,
        })
    }

    /// For people: a line for each difference, what they come to, and what is not certain.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "{} statements in the journal", self.statements);
        for difference in &self.differences {
            let Difference { change, rule, user, application, count, first } = difference;
            let _ = writeln!(
                text,
                "{:>8}  {count} by rule {rule:?}, user {user:?}, application {application:?}; \
                 first {:016x} {}",
                change.as_str(),
                first.fingerprint,
                first.statement.escape_debug(),
            );
        }
        if self.others > 0 {
            let _ = writeln!(text, "{} more in differences that are not listed", self.others);
        }
        let totals: Vec<_> = Change::ALL
            .into_iter()
            .map(|change| format!("{} {}", self.total(change), change.as_str()))
            .collect();
        let _ = writeln!(text, "together: {}", totals.join(", "));
        for (count, words) in [
            (self.unsure.query_regex, "hinge on a query_regex, which saw no constants"),
            (self.unsure.incomplete, "are not whole in the journal"),
            (self.unsure.close, "are too close to a limit to be sure"),
            (self.unsure.limits, "met a rate or a number, taken to come evenly in each minute"),
            (self.dropped, "are not in the journal for want of room"),
        ] {
            if count > 0 {
                let _ = writeln!(text, "not certain: {count} statements {words}");
            }
        }
        text
    }

    fn total(&self, change: Change) -> u64 {
        self.totals.get(&change).copied().unwrap_or_default()
    }
}

fn difference(difference: &Difference) -> Value {
    json!({
        "change": difference.change.as_str(),
        "rule": difference.rule,
        "user": &*difference.user,
        "application_name": &*difference.application,
        "count": difference.count,
        "first": {
            "at_ms": difference.first.at_ms,
            "fingerprint": format!("{:016x}", difference.first.fingerprint),
            "statement": difference.first.statement,
        },
    })
}
