//! Misspelt settings: a typo must not silently become a default.
//!
//! The environment also holds variables of others. Under the prefixes that hardly anyone else
//! uses, every unknown name is taken for a typo; under the common ones only what looks like one
//! of our names.

use super::settings;

/// The setting that `name` was probably meant to be; `None` when it is a setting, or not ours.
pub(super) fn nearest(name: &str, value: &str) -> Option<&'static str> {
    let known = || settings::all().map(|setting| setting.name);
    if known().any(|known| known == name) || is_of_others(name, value) {
        return None;
    }
    let is_ours = OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let is_common = COMMON_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let nearest = known().min_by_key(|known| (distance(name, known), *known))?;
    let is_typo = distance(name, nearest) <= TYPO_DISTANCE_MAX;
    match known().find(|known| has_stem_of(name, known)) {
        _ if is_ours || (is_common && is_typo) => Some(nearest),
        Some(known) if is_common => Some(known),
        _ => None,
    }
}

/// Whether `name` says all but the last word of `known`: the unit is wrong, or missing.
fn has_stem_of(name: &str, known: &str) -> bool {
    let Some((stem, _)) = known.rsplit_once('_') else { return false };
    let rest = name.strip_prefix(stem);
    stem.contains('_') && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

/// Whether systemd or a container's service links made this variable.
///
/// <https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html>
/// <https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>
fn is_of_others(name: &str, value: &str) -> bool {
    let is_link = name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || name.contains("_TCP_")
        || value.starts_with("tcp://")
        || value.starts_with("udp://");
    is_link || ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"].contains(&name)
}

/// The least number of characters to add, leave out, replace or swap with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // Three rows of the usual table: the one being filled and the two before it.
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, &to) in b.iter().enumerate() {
            let at = |row: &[usize], j: usize| row.get(j).copied().unwrap_or(usize::MAX);
            let mut best = (at(&last, j) + usize::from(from != to))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let earlier = i.checked_sub(1).zip(j.checked_sub(1));
            let is_swap = earlier.is_some_and(|(i, j)| {
                a.get(i).is_some_and(|a| *a == to) && b.get(j).is_some_and(|b| *b == from)
            });
            if is_swap && j > 0 {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

/// Prefixes under which every variable is taken for ours.
const OWN_PREFIXES: [&str; 10] = [
    "UPSTREAM_",
    "LISTEN_",
    "POOL_",
    "TLS_",
    "STATEMENT_",
    "PREPARED_",
    "DRAIN_",
    "CATALOG_",
    "RULES_",
    "QUERY_LOG",
];

/// Prefixes that other programs use as well.
const COMMON_PREFIXES: [&str; 16] = [
    "PROBE_",
    "LSN_",
    "FAILOVER_",
    "READ_WRITE_",
    "FRESHNESS_",
    "RULE_",
    "JOURNAL_",
    "ADMIN_",
    "AUTH_",
    "CACHE_",
    "CLIENT_",
    "LOG_",
    "MAX_",
    "REPLICA",
    "ANALYSIS_",
    "WORKER_",
];

/// How far from a name a typo is.
const TYPO_DISTANCE_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_names_what_it_was_meant_to_be() {
        let cases = [
            ("UPSTREAM_PASWORD", "UPSTREAM_PASSWORD"),
            ("UPSTREAM_HSOT", "UPSTREAM_HOST"),
            ("UPSTREAM_SSL_MODE", "UPSTREAM_SSLMODE"),
            ("POOL_MAX", "POOL_SIZE"),
            ("CACHE_TTL", "CACHE_TTL_SECONDS"),
            ("CACHE_TTL_MS", "CACHE_TTL_SECONDS"),
            ("MAX_CACHE_SIZE", "MAX_CACHE_ENTRIES"),
            ("AUTH_USER", "AUTH_USERS"),
            ("LOG_FROMAT", "LOG_FORMAT"),
            ("TLS_CERT", "TLS_CERT_FILE"),
            ("REPLICA", "REPLICAS"),
            ("WORKER_THREAD", "WORKER_THREADS"),
            ("RULES_FILES", "RULES_FILE"),
            ("RULES_PATH", "RULES_FILE"),
            ("RULE_FILE", "RULES_FILE"),
            ("READ_WRITE_USER", "READ_WRITE_USERS"),
            ("FRESHNESS_SCOPES", "FRESHNESS_SCOPE"),
            ("LSN_WAIT_MAX", "LSN_WAIT_MAX_MS"),
            ("FAILOVER_WAIT_MAX_SECONDS", "FAILOVER_WAIT_MAX_MS"),
            ("JOURNAL_FILES", "JOURNAL_FILE"),
        ];
        for (typo, meant) in cases {
            assert_eq!(nearest(typo, "x"), Some(meant), "{typo}");
        }
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let cases = [
            ("PATH", "/bin"),
            ("LISTEN_FDS", "1"),
            ("POOL_SERVICE_HOST", "10.0.0.1"),
            ("UPSTREAM_PORT_5432_TCP_ADDR", "10.0.0.1"),
            ("CACHE_PORT", "tcp://10.0.0.1:6379"),
            ("LOG_LEVEL", "info"),
            // systemd tells its services where their output goes.
            ("JOURNAL_STREAM", "8:1234"),
            ("RULE_ENGINE", "x"),
            ("LOG_FILE", "x"),
            ("AUTH_TOKEN", "x"),
            ("AUTH_SECRET", "x"),
            ("CLIENT_ID", "x"),
            ("CACHE_DIR", "x"),
            ("MAX_CONNECTIONS", "x"),
            ("UPSTREAM", "x"),
            ("POOL_SIZE", "x"),
        ];
        for (name, value) in cases {
            assert_eq!(nearest(name, value), None, "{name}");
        }
    }

    #[test]
    fn a_swap_is_one_step() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("LOG_FROMAT", "LOG_FORMAT"), 1);
    }
}
