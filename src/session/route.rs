//! Where an exchange goes, and whether the position behind it is asked for: pure.
//!
//! | What the exchange holds | Goes to |
//! | --- | --- |
//! | a reader's statements | a replica at the floor, or the primary |
//! | of a user who may write, outside of a block: reads alone, up to their `Sync` | the same |
//! | of such a user, in a block that is READ ONLY | the same |
//! | anything else | the primary |
//!
//! A block stays where its first statement went, and so does what pins.

use memchr::memmem;

use super::actions::Action;
use super::block::Block;
use super::effect::Effect;
use super::freshness::RouteOverride;
use super::runnable::Runnable;
use super::state::State;
use crate::sql::kind::{Isolation, TransactionModes};
use crate::sql::writes::effects::Site;

/// What the statements of an exchange say of where they want to go: the first that says it, or
/// else what the session says.
#[must_use]
pub fn wanted(actions: &[Action], session: RouteOverride) -> RouteOverride {
    hinted(actions).unwrap_or(session)
}

/// What the first statement of an exchange that says it says of where it wants to go.
#[must_use]
pub fn hinted(actions: &[Action]) -> Option<RouteOverride> {
    actions.iter().filter_map(text_of).find_map(hint)
}

/// What a comment in front of a statement says of where it wants to go:
/// `/* pgsluice.route=primary */`.
///
/// No more is read than `HINT_BYTES_MAX` bytes.
#[must_use]
pub fn hint(text: &[u8]) -> Option<RouteOverride> {
    let comment = text.trim_ascii_start().strip_prefix(b"/*")?;
    let comment = comment.get(..comment.len().min(HINT_BYTES_MAX))?;
    let comment = comment.get(..memmem::find(comment, b"*/")?)?;
    let value = comment.get(memmem::find(comment, HINT)? + HINT.len()..)?;
    let is_part = |byte: &u8| byte.is_ascii_alphabetic();
    let word = value.get(..value.iter().take_while(|byte| is_part(byte)).count())?;
    let found = RouteOverride::ALL.iter().find(|(name, _)| name.as_bytes() == word)?;
    Some(found.1)
}

const HINT: &[u8] = b"pgsluice.route=";

/// How far into a comment a hint is looked for, in bytes.
const HINT_BYTES_MAX: usize = 256;

fn text_of(action: &Action) -> Option<&[u8]> {
    match action {
        Action::Bind { statement, .. } => statement.runnable.as_ref().map(|own| &own.text()[..]),
        Action::Simple { read, .. } | Action::Late { read, .. } | Action::Query(read) => {
            Some(read.text())
        }
        Action::Script(script) => Some(&script.text),
        _ => None,
    }
}

/// Where an exchange goes that has no connection yet.
#[must_use]
pub fn site(state: &State, actions: &[Action], wanted: RouteOverride) -> Site {
    because(state, actions, wanted).site()
}

/// Why an exchange that has no connection yet goes where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// Its user may only read.
    Reader,
    /// All of it reads.
    Reads,
    /// It is of a block that is READ ONLY.
    ReadOnlyBlock,
    /// The primary is asked for: by a rule, a hint or a setting.
    Asked,
    /// Its transaction is in a mode that only the primary knows.
    Modes,
    /// It is of a block that may write.
    Block,
    /// Something in it is not a read that a replica can answer.
    Writes,
}

impl Because {
    /// The reason's label, in `snake_case`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reader => "read_only_user",
            Self::Reads => "reads_alone",
            Self::ReadOnlyBlock => "read_only_transaction",
            Self::Asked => "asked_for",
            Self::Modes => "transaction_modes",
            Self::Block => "may_write_transaction",
            Self::Writes => "needs_primary",
        }
    }

    /// Where it goes, then.
    #[must_use]
    pub const fn site(self) -> Site {
        match self {
            Self::Reader | Self::Reads | Self::ReadOnlyBlock => Site::AnyUpstream,
            Self::Asked | Self::Modes | Self::Block | Self::Writes => Site::Primary,
        }
    }
}

/// The reason for [`site`].
#[must_use]
pub fn because(state: &State, actions: &[Action], wanted: RouteOverride) -> Because {
    match state.block() {
        _ if wanted == RouteOverride::Primary => Because::Asked,
        _ if knows_primary_alone(state) => Because::Modes,
        Block::None if !state.is_writer() => Because::Reader,
        Block::Deferred(modes) if is_serializable(modes) => Because::Modes,
        Block::Deferred(_) if !state.is_writer() => Because::Reader,
        Block::Deferred(modes) if modes.read_only && !actions.iter().any(is_unproven) => {
            Because::ReadOnlyBlock
        }
        // Without its `Sync` an exchange goes on with nobody knows what.
        Block::None if is_whole(actions) && actions.iter().all(is_anywhere) => Because::Reads,
        Block::None => Because::Writes,
        Block::Open | Block::Failed | Block::DeferredFailed(_) if !state.is_writer() => {
            Because::Reader
        }
        Block::Deferred(_) | Block::Open | Block::Failed | Block::DeferredFailed(_) => {
            Because::Block
        }
    }
}

/// Who is asked for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The primary, for what may write.
    Primary,
    /// The primary, for what may only read.
    ReadOfPrimary,
    /// A replica at the floor, or the primary.
    Read,
}

/// Who is asked for a connection for an exchange that goes to `site`.
#[must_use]
pub const fn source(site: Site, is_writer: bool, has_replicas: bool) -> Source {
    match site {
        Site::Primary if is_writer => Source::Primary,
        Site::Primary => Source::ReadOfPrimary,
        Site::AnyUpstream if is_writer && !has_replicas => Source::Primary,
        Site::AnyUpstream => Source::Read,
    }
}

/// Whether transactions begin in a mode that a replica does not know, or a replica's connections
/// must not be told.
fn knows_primary_alone(state: &State) -> bool {
    let settings = state.settings();
    let is_serializable = |replay: &bytes::Bytes| {
        replay.to_ascii_lowercase().windows(12).any(|word| word == b"serializable")
    };
    settings.replay("default_transaction_isolation").is_some_and(is_serializable)
        || (state.is_writer() && settings.replay("default_transaction_read_only").is_some())
}

fn is_serializable(modes: TransactionModes) -> bool {
    modes.isolation == Some(Isolation::Serializable)
}

fn is_whole(actions: &[Action]) -> bool {
    actions.last().is_some_and(Action::ends_exchange)
}

/// Whether any upstream will do for it, outside of a block.
fn is_anywhere(action: &Action) -> bool {
    match action {
        Action::Parse { statement }
        | Action::Bind { statement, .. }
        | Action::DescribeStatement { statement } => {
            statement.runnable.as_ref().is_none_or(|own| own.site() == Site::AnyUpstream)
        }
        Action::Simple { read, .. } | Action::Late { read, .. } | Action::Query(read) => {
            read.site() == Site::AnyUpstream
        }
        Action::Script(_) | Action::Call(_) | Action::BindSqlPrepared { .. } => false,
        _ => true,
    }
}

/// Whether it is something that is not proven to read: in a block that is READ ONLY too, a primary
/// may take what a replica does not.
fn is_unproven(action: &Action) -> bool {
    match action {
        Action::Parse { statement }
        | Action::Bind { statement, .. }
        | Action::DescribeStatement { statement } => {
            matches!(statement.runnable, Some(Runnable::Unproven(_)))
        }
        Action::Script(_) | Action::Call(_) | Action::BindSqlPrepared { .. } => true,
        _ => false,
    }
}

/// Whether an exchange ends a transaction in which something was asked to be written.
///
/// More than that is never known before it has run: what the upstream says afterwards decides.
#[must_use]
pub fn ends_writing(state: &State, actions: &[Action]) -> bool {
    state.has_written()
        && is_whole(actions)
        && !actions.iter().any(takes_rows)
        && block_behind(state, actions) == Some(Block::None)
}

/// The block behind the exchange if all succeeds: none, or open; `None` where that is not known.
fn block_behind(state: &State, actions: &[Action]) -> Option<Block> {
    let mut block = match state.block() {
        Block::None => Block::None,
        _ => Block::Open,
    };
    for action in actions {
        match action {
            Action::Script(script) => {
                for effect in script.effects.as_ref()?.iter().flatten() {
                    block = behind(block, effect);
                }
            }
            action => block = action.effect().map_or(block, |effect| behind(block, effect)),
        }
    }
    Some(block)
}

fn behind(block: Block, effect: &Effect) -> Block {
    match effect {
        Effect::Begin(_) | Effect::End { is_chained: true } => Block::Open,
        Effect::End { is_chained: false } => Block::None,
        Effect::All(effects) => effects.iter().fold(block, behind),
        _ => block,
    }
}

/// Whether the server will wait for rows of the client: nothing else may come before them.
fn takes_rows(action: &Action) -> bool {
    match action {
        Action::Script(script) => script.takes_rows,
        Action::Bind { statement, .. } => {
            matches!(&statement.runnable, Some(Runnable::Unproven(unproven)) if unproven.copies_in())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_is_a_comment_in_front_of_the_statement() {
        let cases: [(&[u8], Option<RouteOverride>); 8] = [
            (b"/* pgsluice.route=primary */ SELECT 1", Some(RouteOverride::Primary)),
            (b" \n/*x='1',pgsluice.route=replica,y='2'*/SELECT 1", Some(RouteOverride::Replica)),
            (b"/*pgsluice.route=auto*/ SELECT 1", Some(RouteOverride::Auto)),
            (b"/* pgsluice.route=elsewhere */ SELECT 1", None),
            (b"/* pgsluice.route=primary SELECT 1", None),
            (b"SELECT '/* pgsluice.route=primary */'", None),
            (b"-- pgsluice.route=primary", None),
            (b"", None),
        ];
        for (text, expected) in cases {
            assert_eq!(hint(text), expected, "{}", text.escape_ascii());
        }
        let far = [b"/*".as_slice(), &[b' '; HINT_BYTES_MAX], b"pgsluice.route=primary*/"].concat();
        assert_eq!(hint(&far), None);
    }
}
