use super::*;

fn set(name: &str, value: &str) -> Effect {
    let replay = format!("SET {name} TO {value}");
    Effect::Settings(vec![Change::Set(name.to_owned(), replay.into())])
}

fn replay(settings: &Settings, name: &str) -> Option<String> {
    settings.replay(name).map(|replay| String::from_utf8(replay.to_vec()).unwrap())
}

#[test]
fn a_setting_counts_when_its_transaction_commits() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_ready(b'T', &mut carried, || None);
    state.on_effect(set("a", "1"), b"SET", &mut carried);
    assert!(state.has_settings_in_block());
    assert_eq!(replay(state.settings(), "a"), None);

    state.on_effect(Effect::End { is_chained: false }, b"COMMIT", &mut carried);
    state.on_ready(b'I', &mut carried, || None);

    assert_eq!(replay(state.settings(), "a").as_deref(), Some("SET a TO 1"));
    assert_eq!(replay(&carried, "a").as_deref(), Some("SET a TO 1"));
    assert!(!state.has_settings_in_block());
}

#[test]
fn a_savepoint_takes_back_what_the_commit_would_have_kept() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_ready(b'T', &mut carried, || None);
    state.on_effect(set("a", "1"), b"SET", &mut carried);
    state.on_effect(Effect::Savepoint("s".into()), b"SAVEPOINT", &mut carried);
    state.on_effect(set("a", "2"), b"SET", &mut carried);
    state.on_effect(Effect::RollbackTo("s".into()), b"ROLLBACK", &mut carried);
    state.on_effect(Effect::End { is_chained: false }, b"COMMIT", &mut carried);
    state.on_ready(b'I', &mut carried, || None);

    assert_eq!(state.pin(), None);
    assert_eq!(replay(state.settings(), "a").as_deref(), Some("SET a TO 1"));
    assert_eq!(replay(&carried, "a").as_deref(), Some("SET a TO 1"));
}

#[test]
fn a_rollback_forgets_it_also_when_it_says_commit() {
    for tag in [&b"ROLLBACK"[..], b"ROLLBACK"] {
        let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
        state.on_ready(b'T', &mut carried, || None);
        state.on_effect(set("a", "1"), b"SET", &mut carried);
        state.on_effect(Effect::End { is_chained: false }, tag, &mut carried);
        state.on_ready(b'I', &mut carried, || None);
        assert!(state.settings().is_empty() && carried.is_empty());
    }
}

#[test]
fn an_error_outside_a_block_takes_the_whole_exchange_back() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_effect(set("a", "1"), b"SET", &mut carried);
    state.on_upstream_error();
    state.on_ready(b'I', &mut carried, || None);
    assert!(state.settings().is_empty() && carried.is_empty());

    state.on_effect(set("a", "2"), b"SET", &mut carried);
    state.on_ready(b'I', &mut carried, || None);
    assert_eq!(replay(&carried, "a").as_deref(), Some("SET a TO 2"));
}

#[test]
fn reset_goes_back_to_what_start_up_said() {
    let mut startup = Settings::default();
    startup.on_set("a", Some(Bytes::from_static(b"SET a TO 0")));
    let (mut state, mut carried) = (State::new(startup.clone()), startup.clone());

    state.on_effect(set("a", "1"), b"SET", &mut carried);
    state.on_effect(set("b", "1"), b"SET", &mut carried);
    state.on_ready(b'I', &mut carried, || None);
    state.on_effect(Effect::Settings(vec![Change::ResetAll]), b"RESET", &mut carried);
    state.on_ready(b'I', &mut carried, || None);

    assert_eq!(*state.settings(), startup);
    assert!(carried.is_empty(), "RESET on the connection goes back to the connection's own start");
}

#[test]
fn what_cannot_be_told_pins() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_effect(set("a", "1"), b"SET", &mut carried);
    let forgotten = Effect::RollbackTo("s".into());
    state.on_effect(forgotten, b"ROLLBACK", &mut carried);
    assert_eq!(state.pin(), Some(PinReason::Settings));

    // `SET a TO 1; SET LOCAL a TO DEFAULT; RESET ALL; COMMIT` leaves it at one.
    state.on_discarded();
    state.on_effect(Effect::Local(vec!["a".into()]), b"SET", &mut carried);
    let all = Effect::Settings(vec![Change::ResetAll]);
    state.on_effect(all, b"RESET", &mut carried);
    assert_eq!(state.pin(), Some(PinReason::Settings));

    state.on_discarded();
    assert_eq!(state.pin(), None);
    let unsure = Effect::SettingsIfRow(vec![Change::ResetAll]);
    state.on_effect(unsure, b"SELECT 0", &mut carried);
    assert_eq!(state.pin(), Some(PinReason::Settings));

    state.on_discarded();
    state.on_effect(Effect::SqlPrepared("p".into(), true), b"PREPARE", &mut carried);
    assert_eq!(state.pin(), Some(PinReason::SqlPrepared));
    state.on_effect(Effect::SqlDeallocated(Some("p".into())), b"DEALLOCATE", &mut carried);
    assert_eq!(state.pin(), None);
}

#[test]
fn a_deferred_block_fails_and_ends_without_the_upstream() {
    let mut state = State::new(Settings::default());
    state.on_deferred(TransactionModes::default());
    assert_eq!(state.block().status(), b'T');
    state.on_gateway_error();
    assert_eq!(state.block().status(), b'E');
    state.on_deferred_end(true);
    assert_eq!(state.block(), Block::Deferred(TransactionModes::default()));
    state.on_deferred_end(false);
    assert_eq!(state.block().status(), b'I');
    state.on_gateway_error();
    assert_eq!(state.block(), Block::None, "outside a block an error fails nothing");
}

#[test]
fn a_date_style_is_kept_as_the_server_reports_it() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_effect(set("datestyle", "'DMY'"), b"SET", &mut carried);
    state.on_ready(b'I', &mut carried, || Some(b"German, DMY"));

    let expected = "SET datestyle TO 'German, DMY'";
    assert_eq!(replay(state.settings(), "datestyle").as_deref(), Some(expected));
    assert_eq!(replay(&carried, "datestyle").as_deref(), Some(expected));
}

#[test]
fn a_date_style_that_is_not_reported_is_kept_as_it_was_said() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_effect(set("datestyle", "'DMY'"), b"SET", &mut carried);
    state.on_ready(b'I', &mut carried, || None);

    let expected = "SET datestyle TO 'DMY'";
    assert_eq!(replay(state.settings(), "datestyle").as_deref(), Some(expected));
    assert_eq!(replay(&carried, "datestyle").as_deref(), Some(expected));
}

#[test]
fn a_portal_that_is_executed_again_sets_nothing_again() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_ready(b'T', &mut carried, || None);
    state.on_effect(set("a", "1"), b"", &mut carried);
    state.on_effect(set("a", "2"), b"SET", &mut carried);
    state.on_effect(set("a", "1"), b"SELECT 0", &mut carried);
    state.on_ready(b'I', &mut carried, || None);
    assert_eq!(replay(state.settings(), "a").as_deref(), Some("SET a TO 2"));
}

#[test]
fn a_chain_keeps_the_snapshot_unless_an_error_took_it() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    let repeatable = Effect::Isolation { is_snapshot: true };
    state.on_ready(b'T', &mut carried, || None);
    state.on_effect(repeatable, b"SET", &mut carried);
    state.on_effect(Effect::End { is_chained: true }, b"COMMIT", &mut carried);
    state.on_ready(b'T', &mut carried, || None);
    assert!(state.is_snapshot());
    state.on_effect(Effect::End { is_chained: false }, b"COMMIT", &mut carried);
    state.on_ready(b'T', &mut carried, || None);
    assert!(!state.is_snapshot());

    let modes = TransactionModes {
        isolation: Some(crate::sql::kind::Isolation::RepeatableRead),
        ..TransactionModes::default()
    };
    let mut state = State::new(Settings::default());
    state.on_deferred(modes);
    state.on_deferred_end(true);
    assert_eq!(state.block(), Block::Deferred(modes));
    assert!(state.is_chained());
    state.on_gateway_error();
    state.on_deferred_end(true);
    assert_eq!(state.block(), Block::Deferred(modes), "a chained one keeps them");

    state.on_deferred(modes);
    assert!(!state.is_chained());
    state.on_gateway_error();
    state.on_deferred_end(true);
    assert_eq!(state.block(), Block::Deferred(TransactionModes::default()));
}

#[test]
fn a_deferred_block_that_has_read_says_so() {
    let mut state = State::new(Settings::default());
    state.on_hit();
    assert!(!state.has_read_ahead(), "outside a block that is over");
    state.on_deferred(TransactionModes::default());
    assert!(!state.has_read_ahead());
    state.on_hit();
    assert!(state.has_read_ahead());
    state.on_deferred_end(true);
    assert!(!state.has_read_ahead());
}

#[test]
fn text_that_another_encoding_reads_otherwise_pins() {
    let say = |state: &mut State, effect: Effect| {
        let mut carried = Settings::default();
        state.on_effect(effect, b"SET", &mut carried);
        state.on_ready(b'I', &mut carried, || None);
        state.pin()
    };
    let all = || Effect::Settings(vec![Change::ResetAll]);
    let mut state = State::new(Settings::default());
    assert_eq!(say(&mut state, set("app.x", "'é'")), None, "it is UTF-8");
    assert_eq!(say(&mut state, all()), None);
    assert_eq!(say(&mut state, set("app.x", "'é'")), None);
    assert_eq!(say(&mut state, set("client_encoding", "'utf-8'")), None);
    assert_eq!(say(&mut state, set("client_encoding", "'LATIN1'")), Some(PinReason::Settings));
    assert_eq!(say(&mut state, set("app.x", "'e'")), None, "it can be told again");
    assert_eq!(say(&mut state, set("app.x", "'é'")), Some(PinReason::Settings));
    assert_eq!(say(&mut state, all()), None);
}

#[test]
fn what_a_savepoint_takes_back_is_as_unknown_as_before() {
    let (mut state, mut carried) = (State::new(Settings::default()), Settings::default());
    state.on_ready(b'T', &mut carried, || None);
    for effect in [
        Effect::UnknownSettings(vec!["a".into()]),
        Effect::Savepoint("s".into()),
        set("a", "1"),
        Effect::RollbackTo("s".into()),
    ] {
        state.on_effect(effect, b"SET", &mut carried);
    }
    state.on_effect(Effect::End { is_chained: false }, b"COMMIT", &mut carried);
    state.on_ready(b'I', &mut carried, || None);
    assert_eq!(state.pin(), Some(PinReason::Settings));
}
