//! The rules file: read at the start, and again when the operator says so.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::ServeError;
use super::config::ServerConfig;
use crate::rules::{FILE_BYTES_MAX, Problem, RuleSet};
use crate::session::Shared;
use crate::session::ruling::{Rules, Source};

/// Reads the rules file at `path`, to follow `old`; without a path there are no rules.
///
/// # Errors
/// When the file cannot be read, and when anything in it cannot be used: all that is wrong.
pub fn load(path: Option<&Path>, old: &RuleSet) -> Result<RuleSet, Vec<Problem>> {
    let Some(path) = path else { return Ok(RuleSet::empty()) };
    let text = text_of(path).map_err(|problem| vec![problem])?;
    RuleSet::compile_over(&text, old)
}

/// The rules to begin with.
///
/// # Errors
/// When the file cannot be used.
pub fn begin(config: &ServerConfig) -> Result<Rules, ServeError> {
    let Some(path) = config.rules_file.as_deref() else { return Ok(Rules::default()) };
    let set = load(Some(path), &RuleSet::empty());
    set.map(|set| Rules::new(set, Source::File, SystemTime::now())).map_err(|problems| {
        let lines = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        ServeError::Identity(format!("RULES_FILE: {}", lines.join("; ")))
    })
}

/// Reads the rules again, beside the event loop. Statements decided on before that go on under
/// the old ones, which stay when the file cannot be used; rules that keep their name go on
/// counting. What came over the admin interface is replaced.
pub fn reload(shared: &Arc<Shared>, config: &ServerConfig) {
    let Some(path) = config.rules_file.clone() else { return };
    let shared = Arc::clone(shared);
    // Of several at once each reads the file when it is its turn, so the last one has the newest.
    drop(spawn_blocking(move || {
        match shared.rules.change(Source::File, |old| load(Some(&path), old)) {
            Ok(_) => info!(rules = shared.rules.set().rules().len(), "rules read again"),
            Err(problems) => {
                for problem in problems {
                    error!(%problem, file = %path.display(), "rules not read again: the old ones stay");
                }
            }
        }
    }));
}

/// The text of a file, one byte more than is accepted if it is too long.
fn text_of(path: &Path) -> Result<String, Problem> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    let read = File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Problem::of_file(format!("the file cannot be read: {error}")))?;
    let is_whole = bytes.len() <= FILE_BYTES_MAX;
    String::from_utf8(bytes).map_err(|error| match is_whole {
        true => {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let line = memchr::memchr_iter(b'\n', before.unwrap_or_default()).count() + 1;
            Problem { line, rule: None, message: "not UTF-8".to_owned() }
        }
        // The cut may be inside a character.
        false => Problem::of_file("longer than 1024 KiB"),
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file of its own, gone with the value.
    struct TemporaryFile(PathBuf);

    impl TemporaryFile {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let name = format!("pgsluice-rules-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::write(&path, bytes).unwrap();
            Self(path)
        }
    }

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            // One that is left behind is in the temporary folder.
            let _ = std::fs::remove_file(&self.0);
        }
    }

    fn said(path: &Path) -> Vec<String> {
        let Err(problems) = load(Some(path), &RuleSet::empty()) else { panic!("accepted") };
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn without_a_file_there_are_no_rules() {
        assert!(load(None, &RuleSet::empty()).unwrap().is_empty());
    }

    #[test]
    fn a_file_is_read_over_the_rules_that_it_follows() {
        let text = "traffic_control: {rules: [{name: a, match: {}, action: deny}]}";
        let file = TemporaryFile::new("good", text.as_bytes());
        let old = load(Some(&file.0), &RuleSet::empty()).unwrap();
        let new = load(Some(&file.0), &old).unwrap();
        let counters = |set: &RuleSet| std::ptr::from_ref(set.rules()[0].state().counters());
        assert_eq!(counters(&old), counters(&new));
    }

    #[test]
    fn a_file_that_cannot_be_used_says_where() {
        let gone = said(Path::new("/nonexistent/rules.yaml"));
        assert!(gone[0].starts_with("the file cannot be read: "), "{gone:?}");
        let binary = TemporaryFile::new("binary", b"traffic_control:\n  \xff: 1\n");
        assert_eq!(said(&binary.0), ["line 2: not UTF-8"]);
        let mut long = vec![b'#'; FILE_BYTES_MAX + 9];
        let file = TemporaryFile::new("long", &long);
        assert_eq!(said(&file.0), ["longer than 1024 KiB"]);
        long[FILE_BYTES_MAX] = 0xc3;
        let file = TemporaryFile::new("cut", &long);
        assert_eq!(said(&file.0), ["longer than 1024 KiB"]);
        let wrong = TemporaryFile::new("wrong", b"traffic_control:\n  rulez: []\n");
        let told = said(&wrong.0);
        assert!(told[0].starts_with("line 2: \"rulez\" is no key"), "{told:?}");
    }
}
