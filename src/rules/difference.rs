//! What a set of rules has that another has not.

use std::collections::{HashMap, HashSet};

use super::{Rule, RuleSet};

/// How a set of rules differs from the one before it: names, each list in its set's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rules that are new.
    pub added: Vec<String>,
    /// Rules that are gone.
    pub removed: Vec<String>,
    /// Rules that are written otherwise than they were; order, quotes and comments do not count.
    pub changed: Vec<String>,
}

impl Difference {
    /// What `new` has done to `old`.
    #[must_use]
    pub fn between(old: &RuleSet, new: &RuleSet) -> Self {
        let known: HashMap<&str, u64> =
            old.rules().iter().map(|rule| (rule.name(), rule.digest)).collect();
        let kept: HashSet<&str> = new.rules().iter().map(Rule::name).collect();
        let mut difference = Self::default();
        for rule in new.rules() {
            match known.get(rule.name()) {
                None => difference.added.push(rule.name().to_owned()),
                Some(digest) if *digest != rule.digest => {
                    difference.changed.push(rule.name().to_owned());
                }
                Some(_) => {}
            }
        }
        let gone = old.rules().iter().map(Rule::name).filter(|name| !kept.contains(name));
        difference.removed = gone.map(str::to_owned).collect();
        difference
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rules: &str) -> RuleSet {
        RuleSet::compile(&format!("traffic_control: {{rules: [{rules}]}}")).unwrap()
    }

    #[test]
    fn what_is_written_counts_and_not_how() {
        let old = set("{name: gone, match: {}, action: deny},
            {name: same, match: {user: [a, b], class: read}, action: deny},
            {name: list, match: {user: [a, b]}, action: deny},
            {name: match, match: {user: a}, action: deny},
            {name: action, match: {user: a}, action: deny},
            {name: priority, match: {}, action: deny}");
        let new = set("{name: priority, match: {}, action: deny, priority: 1},
            {name: action, match: {user: a}, action: deny, message: m},
            {name: match, match: {user: a, class: read}, action: deny},
            {name: list, match: {user: [b, a]}, action: deny},
            {action: 'deny', name: \"same\", match: {class: read, user: [a, b]}},
            {name: new, match: {}, action: deny}");
        let difference = Difference::between(&old, &new);
        assert_eq!(
            (difference.added, difference.removed),
            (vec!["new".into()], vec!["gone".into()])
        );
        assert_eq!(difference.changed, ["priority", "action", "match", "list"]);
        assert_eq!(Difference::between(&old, &old), Difference::default());
    }
}
