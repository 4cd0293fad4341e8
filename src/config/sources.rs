//! Where settings come from: a flag first, then the environment, then `.env`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::bad::BadSetting;
use super::{env_file, settings, unknown};

/// What the operator gave, and where.
///
/// There is no `Debug`: a source holds secrets, and much that is not ours.
#[derive(Default)]
pub struct Sources {
    flags: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    file: BTreeMap<String, String>,
    unread: Vec<BadSetting>,
}

impl Sources {
    /// Sources of values that are at hand.
    #[must_use]
    pub fn new(
        flags: BTreeMap<String, String>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let mut sources = Self { flags, ..Self::default() };
        for (name, value) in environment {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => {
                    sources.environment.insert(name, value);
                }
                Err(_) if settings::all().any(|setting| setting.name == name) => {
                    sources.unread.push(BadSetting::conflict(name, "the value is not UTF-8"));
                }
                Err(_) => {}
            }
        }
        sources
    }

    /// Adds the text of an `.env` file, which `path` names in errors.
    #[must_use]
    pub fn with_env_text(mut self, path: &Path, text: &str) -> Self {
        let (values, bad) = env_file::parse(path, text);
        self.file.extend(values);
        self.unread.extend(bad);
        self
    }

    /// Adds the file `path`; with `None` the file `.env` in the current folder, if there is one.
    #[must_use]
    pub fn with_env_file(mut self, path: Option<&Path>) -> Self {
        let is_wanted = path.is_some();
        let path = path.unwrap_or(Path::new(".env"));
        match std::fs::read_to_string(path) {
            Ok(text) => self.with_env_text(path, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_wanted => self,
            Err(error) => {
                let reason = format!("the file cannot be read: {error}");
                self.unread.push(BadSetting::conflict(path.display().to_string(), reason));
                self
            }
        }
    }

    /// The value that counts for `name`: the first that is not empty.
    #[must_use]
    pub fn lookup(&self, name: &str) -> Option<String> {
        let layers = [&self.flags, &self.environment, &self.file];
        let mut values = layers.into_iter().filter_map(|layer| layer.get(name));
        values.find(|value| !value.trim().is_empty()).cloned()
    }

    /// What could not be read, and the variables that look like settings and are none.
    #[must_use]
    pub fn problems(&self) -> Vec<BadSetting> {
        let mut bad = self.unread.clone();
        let given = self.environment.iter().chain(&self.file);
        let misspelt = given.filter_map(|(name, value)| {
            unknown::nearest(name, value).map(|nearest| BadSetting::unknown(name, nearest))
        });
        bad.extend(misspelt);
        bad.sort_by(|a, b| a.name.cmp(&b.name));
        bad.dedup();
        bad
    }
}
