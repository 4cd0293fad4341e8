//! SET, RESET and `set_config` as users who may write can use them.

use super::effects::{Access, BlockModes, SessionEffect};
use crate::sql::cursor::Cursor;
use crate::sql::kind::{Assignment, SetConfig, SettingChange};
use crate::sql::refusal::Refusal;
use crate::sql::replay::set_sql;
use crate::sql::settings::verdict_of_writer;
use crate::sql::tokens::Tokens;
use crate::sql::{set, set_config};

/// What a change of settings is.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What can be tracked.
    pub(super) change: Option<SettingChange>,
    /// What cannot.
    pub(super) effects: Vec<SessionEffect>,
}

/// Reads the SET, RESET or query with `set_config` of `tokens`, which is called `verb`.
///
/// # Errors
/// When it would change how text is read, or names a setting of the gateway's own.
pub(super) fn outcome(tokens: &Tokens<'_>, verb: &str) -> Result<Outcome, Refusal> {
    // Over with the transaction, and no settings.
    if matches!(verb, "SET TRANSACTION" | "SET CONSTRAINTS") {
        return Ok(Outcome::default());
    }
    if let Some(modes) = super::transaction::characteristics(tokens) {
        let change = SettingChange::Characteristics(characteristics(modes));
        return Ok(Outcome { change: Some(change), effects: Vec::new() });
    }
    let mut cursor = Cursor::new(*tokens, 1);
    let change = if tokens.is(0, "set") {
        set::set(&mut cursor, verdict_of_writer).map(Some)
    } else if tokens.is(0, "reset") {
        set::reset(&mut cursor, verdict_of_writer).map(Some)
    } else {
        set_config::changes(tokens, verdict_of_writer)
    };
    match change {
        Ok(Some(change)) => Ok(tracked(change)),
        Ok(None) => Ok(Outcome::default()),
        Err(refusal @ Refusal::Setting { .. }) => Err(refusal),
        Err(_) => Ok(Outcome { change: None, effects: vec![SessionEffect::SetsUnknown] }),
    }
}

/// The settings that keep a session's transaction modes.
pub(super) fn characteristics(modes: BlockModes) -> Vec<Assignment> {
    let assign = |name: &str, value: &str| Assignment {
        name: name.to_owned(),
        replay: set_sql(name, value.as_bytes()),
    };
    let on = |is_on: bool| if is_on { "on" } else { "off" };
    let isolation = modes.isolation.map(|isolation| {
        assign("default_transaction_isolation", &isolation.as_sql().to_ascii_lowercase())
    });
    let access = modes
        .access
        .map(|access| assign("default_transaction_read_only", on(access == Access::ReadOnly)));
    let deferrable =
        modes.deferrable.map(|deferrable| assign("default_transaction_deferrable", on(deferrable)));
    isolation.into_iter().chain(access).chain(deferrable).collect()
}

/// Takes out of `change` what is not a setting to be set again elsewhere.
fn tracked(change: SettingChange) -> Outcome {
    let (change, effects) = match change {
        SettingChange::Set(assignment) => match untracked(&assignment.name) {
            Some(effect) => (None, vec![effect]),
            None => (Some(SettingChange::Set(assignment)), Vec::new()),
        },
        // Over with the transaction, whether it is LOCAL or not.
        SettingChange::Reset { name } if set::ends_with_transaction(&name) => {
            (Some(SettingChange::SetLocal { name, is_default: true }), Vec::new())
        }
        SettingChange::SetConfig { calls, sure } => {
            let untracked = |call: &&SetConfig| match call.local {
                true => None,
                false => untracked(&call.name),
            };
            let effects = calls.iter().filter_map(|call| untracked(&call)).collect();
            let calls: Vec<_> =
                calls.into_iter().filter(|call| untracked(&call).is_none()).collect();
            let change = (!calls.is_empty()).then_some(SettingChange::SetConfig { calls, sure });
            (change, effects)
        }
        change => (Some(change), Vec::new()),
    };
    Outcome { change, effects }
}

/// What is left when `name` is set for the session, and must not be set on another connection.
fn untracked(name: &str) -> Option<SessionEffect> {
    match name {
        "role" => Some(SessionEffect::SetsRole),
        "session_authorization" => Some(SessionEffect::SetsAuthorization),
        "seed" => Some(SessionEffect::Seeds),
        _ => None,
    }
}
