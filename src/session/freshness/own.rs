//! Settings of the gateway's own, under `pgsluice.`: what a value of each means.

use super::RouteOverride;
use crate::error::WriterError;
use crate::freshness::floors::Scope;
use crate::lsn::Lsn;

/// A setting of the gateway's own, and what it is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnSetting {
    /// Where statements go.
    Route(RouteOverride),
    /// Whose writes reads must reflect; `None` for what it was at start-up.
    Scope(Option<Scope>),
    /// What reads must reflect.
    MinLsn(Lsn),
    /// The group that the session is of; `None` for none.
    CausalGroup(Option<String>),
    /// Whether the session keeps its connection.
    Pin(bool),
}

impl OwnSetting {
    /// Setting `name` with this value, or its default.
    ///
    /// # Errors
    /// When there is no such setting, or it cannot have that value.
    pub fn parse(name: &str, value: Option<&str>) -> Result<Self, WriterError> {
        let word = value.map(str::to_ascii_lowercase);
        let bad = |expected: &str| {
            let value = value.unwrap_or_default().to_owned();
            WriterError::OwnSetting { name: name.to_owned(), value, expected: expected.to_owned() }
        };
        Ok(match name {
            "pin" => match word.as_deref() {
                Some("on" | "true" | "1") => Self::Pin(true),
                None | Some("off" | "false" | "0") => Self::Pin(false),
                Some(_) => return Err(bad("on or off")),
            },
            "route" => {
                let word = word.as_deref().unwrap_or("auto");
                let found = RouteOverride::ALL.iter().find(|(known, _)| *known == word);
                Self::Route(found.ok_or_else(|| bad("auto, primary or replica"))?.1)
            }
            "scope" => {
                let of =
                    |word: &String| Scope::ALL.into_iter().find(|scope| scope.as_str() == word);
                let expected = "session, user, application, group, global or none";
                let found = word.as_ref().map(|word| of(word).ok_or_else(|| bad(expected)));
                Self::Scope(found.transpose()?)
            }
            "min_lsn" => match value.unwrap_or_default() {
                "" => Self::MinLsn(Lsn::ZERO),
                text => {
                    let lsn = text.parse().map_err(|_| bad("a position such as 16/B374D848"))?;
                    Self::MinLsn(lsn)
                }
            },
            "causal_group" => match value.filter(|group| !group.is_empty()) {
                Some(group) if group.len() > GROUP_BYTES_MAX => {
                    return Err(bad("a name of at most 256 bytes"));
                }
                group => Self::CausalGroup(group.map(str::to_owned)),
            },
            _ => return Err(WriterError::UnknownOwnSetting(name.to_owned())),
        })
    }
}

/// The longest name of a causal group, in bytes.
const GROUP_BYTES_MAX: usize = 256;
