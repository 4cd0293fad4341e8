//! Secrets: text that no log, error or `Debug` may show.

use std::fmt;

/// A password, or what stands for one.
///
/// There is no `Display` and no equality: the text leaves by [`Secret::expose`] alone, so that
/// a reviewer finds every place that uses it.
#[derive(Clone, Default)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text` as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one who must compute with it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_the_text_nor_its_length() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
        assert_eq!(format!("{:#?}", Some(Secret::new(""))), "Some(\n    ***,\n)");
    }
}
