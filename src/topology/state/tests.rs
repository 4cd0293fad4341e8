use super::*;

/// `p2@90`: a primary on timeline 2 at 90. `s1@80`: a standby. `x` instead of `p` or `s`: a
/// standby of another cluster. `-`: away. `?`: not looked at.
fn sight(text: &str) -> Sight {
    let kind = match text {
        "-" => return Sight::Away,
        "?" => return Sight::Unseen,
        _ => &text[..1],
    };
    let (timeline, lsn) = text[1..].split_once('@').unwrap();
    Sight::Seen(Sighting {
        is_in_recovery: kind != "p",
        lsn: Lsn::from_u64(lsn.parse().unwrap()),
        started_at_us: 0,
        timeline: Some(timeline.parse().unwrap()),
        system: Some(if kind == "x" { 666 } else { 1 }),
        promoted_at: None,
        replayed_age_ms: None,
        version: 150_004,
    })
}

const LIMITS: Limits =
    Limits { lag_bytes_max: Some(100), lag_ms_max: Some(10_000), good_probes_min: 3 };

/// Shows each upstream's standing, and what is alarming.
fn shown(decision: &Decision) -> String {
    let labels: Vec<_> = decision.standings.iter().map(|standing| standing.label()).collect();
    let alarms: Vec<_> = decision.alarms.iter().map(|alarm| format!(" ! {alarm:?}")).collect();
    labels.join(" ") + &alarms.concat()
}

/// A world of three, seen in this order, each row a second after the last.
fn play(rows: &[&str]) -> (State, Decision) {
    let mut state = State::new(3, LIMITS);
    let mut decision = Decision::default();
    for (row, second) in rows.iter().zip(0..) {
        for (n, text) in row.split(' ').enumerate().filter(|(_, text)| *text != "?") {
            decision = state.on_sight(n, sight(text), second * 1000);
        }
    }
    (state, decision)
}

#[test]
fn every_rule() {
    let split = " ! TwoPrimaries { chosen: 1, other: 0 }";
    let cases: &[(&[&str], &str)] = &[
        // Roles as configured until somebody has looked.
        (&["? s1@90 ?"], "primary serving serving"),
        (&["p1@90 s1@90 s1@90"], "primary serving serving"),
        // Roles are what is seen, not what is configured.
        (&["s1@90 p1@90 s1@90"], "serving primary serving"),
        (&["? p1@90 -"], "primary serving away"),
        (&["? p1@90 s1@90", "s1@90 ? ?"], "serving primary serving"),
        // Down.
        (&["p1@90 - s1@90"], "primary away serving"),
        (&["- s1@90 s1@90"], "away serving serving ! NoPrimary"),
        (&["- - -"], "away away away ! NoPrimary"),
        (&["s1@90 s1@90 s1@90"], "serving serving serving ! NoPrimary"),
        // Of another cluster: whatever it says of itself.
        (&["p1@90 x1@90 s1@90"], "primary other_system serving ! OtherSystem(1)"),
        (&["- s1@90 x1@90"], "away serving other_system ! NoPrimary ! OtherSystem(2)"),
        // … also when it is looked at first, and has more timelines behind it.
        (&["? x9@90 s1@90", "p1@90 ? ?"], "primary other_system serving ! OtherSystem(1)"),
        (
            &["p1@90 s1@90 s1@90", "x9@90 ? ?"],
            "other_system serving serving ! NoPrimary ! OtherSystem(0)",
        ),
        (
            &["p1@90 s1@90 s1@90", "- ? ?", "x9@90 p2@90 ?"],
            "other_system primary old_timeline ! OtherSystem(0)",
        ),
        // Lag in bytes, and in time when the primary goes on.
        (&["p1@190 s1@90 s1@89"], "primary serving lag_bytes"),
        (&["p1@90 s1@90 s1@90", "p1@91 ? ?", "- ? ?"], "away serving serving ! NoPrimary"),
        // A promotion: the old primary is gone, the other replica has yet to follow.
        (&["p1@90 s1@90 s1@90", "- p2@91 s1@90"], "away primary old_timeline"),
        (&["p1@90 s1@90 s1@90", "- p2@91 s1@90", "? ? s2@91"], "away primary proving"),
        // The new primary is seen before the old one is missed.
        (
            &["p1@90 s1@90 s1@90", "? p2@91 ?"],
            &format!("second_primary primary old_timeline{split}"),
        ),
        // The old primary comes back as it was, ahead in bytes.
        (
            &["p1@90 s1@90 s2@90", "- p2@91 ?", "p1@999 ? ?"],
            &format!("second_primary primary serving{split}"),
        ),
        // … and while the new one is away: still no primary.
        (
            &["p1@90 s1@90 s1@90", "- p2@91 s2@91", "p1@999 - ?"],
            "second_primary away proving ! OldPrimary(0) ! NoPrimary",
        ),
        // … and while all who were on the new timeline are away.
        (
            &["p1@90 s1@90 s1@90", "- p2@91 s2@91", "p1@999 - -"],
            "second_primary away away ! OldPrimary(0) ! NoPrimary",
        ),
        // Who follows the new primary is behind that one alone, wherever the old one was.
        (&["p1@90 s1@90 s1@90", "p1@300 ? ?", "- p2@91 s2@91"], "away primary proving"),
        // … and as its standby.
        (&["p1@90 s1@90 s1@90", "- p2@91 s2@91", "s2@91 ? ?"], "proving primary proving"),
        // Two on one timeline, a standby started without its signal file: who was it stays it.
        (
            &["p1@90 s1@90 s1@90", "? p1@99 ?"],
            "primary second_primary serving ! TwoPrimaries { chosen: 0, other: 1 }",
        ),
        (&["s1@90 p1@90 s1@90", "p1@99 ? ?"], &format!("second_primary primary serving{split}")),
    ];
    for (rows, expected) in cases {
        assert_eq!(shown(&play(rows).1), *expected, "{rows:?}");
    }
}

#[test]
fn a_replica_that_was_left_out_comes_back_after_three_good_probes_in_a_row() {
    for trouble in ["-", "x1@90", "s1@0"] {
        let (mut state, _) = play(&["p1@190 s1@190 s1@190", &format!("? {trouble} ?")]);
        let mut look = |text| state.on_sight(1, sight(text), 9_000).standings[1].label();

        assert_eq!([look("s1@190"), look("s1@190")], ["proving"; 2], "{trouble}");
        assert_ne!(look(trouble), "proving");
        assert_eq!([look("s1@190"), look("s1@190")], ["proving"; 2], "{trouble}");
        assert_eq!(look("s1@190"), "serving", "{trouble}");
    }
}

#[test]
fn looks_at_others_prove_nothing() {
    let (mut state, _) = play(&["p1@90 s1@90 s1@90", "? - ?", "? s1@90 ?"]);
    for _ in 0..9 {
        let decision = state.on_sight(0, sight("p1@90"), 9_000);
        assert_eq!(decision.standings[1].label(), "proving");
    }
}

#[test]
fn a_replica_that_stands_still_while_the_primary_goes_on_is_left_out_in_time() {
    let (mut state, _) = play(&["p1@90 s1@90 s1@90"]);
    state.on_sight(0, sight("p1@91"), 1_000);
    let mut look = |at_ms| state.on_sight(1, sight("s1@90"), at_ms).standings[1].label();
    assert_eq!(look(11_000), "serving");
    assert_eq!(look(11_001), "lag_ms");
}

#[test]
fn a_replica_that_lost_its_primary_lags_behind_what_is_known_of_it() {
    let (mut state, _) = play(&["p1@90 s1@90 s1@80", "- ? ?"]);
    assert_eq!(state.on_sight(1, sight("s1@90"), 60_000).standings[1].label(), "serving");
    assert_eq!(state.on_sight(2, sight("s1@80"), 60_000).standings[2].label(), "lag_ms");
    assert_eq!(state.lag(2), Lag { bytes: 10, ms: 60_000 });
}

#[test]
fn no_limit_is_any_lag() {
    let limits = Limits { lag_bytes_max: None, lag_ms_max: None, ..LIMITS };
    let mut state = State::new(2, limits);
    state.on_sight(0, sight("p1@1000000"), 0);
    assert_eq!(shown(&state.on_sight(1, sight("s1@1"), 9_999_999)), "primary serving");
}

#[test]
fn a_primary_that_refuses_a_write_is_none_until_it_was_looked_at_again() {
    let (mut state, _) = play(&["p1@90 s1@90 s1@90"]);

    let doubted = state.on_not_writable(0);
    assert_eq!((doubted.primary, shown(&doubted).as_str()), (None, "doubted serving serving"));
    // A look at another changes nothing.
    assert_eq!(state.on_sight(1, sight("s1@90"), 1_000).primary, None);

    assert_eq!(state.on_sight(0, sight("p1@90"), 1_000).primary, Some(0));
    state.on_not_writable(0);
    assert_eq!(
        shown(&state.on_sight(0, sight("s1@90"), 1_000)),
        "proving serving serving ! NoPrimary"
    );
}

#[test]
fn a_new_timeline_is_told_once_with_where_it_begins() {
    let promoted = |promoted_at: Option<u64>| match sight("p2@95") {
        Sight::Seen(seen) => {
            Sight::Seen(Sighting { promoted_at: promoted_at.map(Lsn::from_u64), ..seen })
        }
        other => other,
    };
    // What the server says; else where it was last seen as a standby; else where it is.
    for (rows, promoted_at, began_at) in [
        (["p1@90 s1@80 s1@90", "- s1@84 ?"], Some(88), 88),
        (["p1@90 s1@80 s1@90", "- s1@84 ?"], None, 84),
        (["p1@90 ? s1@90", "- ? ?"], None, 95),
    ] {
        let (mut state, before) = play(&rows);
        assert_eq!(before.new_timeline, None, "{rows:?}");

        let told = state.on_sight(1, promoted(promoted_at), 3_000).new_timeline;
        assert_eq!(told, Some(NewTimeline { timeline: 2, began_at: Lsn::from_u64(began_at) }));
        assert_eq!(state.on_sight(1, promoted(promoted_at), 4_000).new_timeline, None);
    }
}

#[test]
fn a_timeline_that_was_followed_counts_until_the_server_is_started_again() {
    let (mut state, _) = play(&["p1@90 s1@90 s1@90", "- p2@91 s2@91", "? ? s2@91", "? ? s2@91"]);
    let Sight::Seen(told) = sight("s1@91") else { unreachable!() };
    let mut look = |started_at_us| {
        let seen = Sighting { started_at_us, ..told };
        state.on_sight(2, Sight::Seen(seen), 9_000).standings[2].label()
    };
    assert_eq!([look(0), look(0)], ["serving"; 2]);
    assert_eq!(look(1), "old_timeline");
}

#[test]
fn who_will_not_say_is_believed() {
    let Sight::Seen(mut quiet) = sight("s1@90") else { unreachable!() };
    (quiet.system, quiet.timeline) = (None, None);
    let (mut state, _) = play(&["p1@90 s1@90 s1@90", "? p2@90 ?"]);
    assert_eq!(state.on_sight(2, Sight::Seen(quiet), 2_000).standings[2].label(), "proving");
}

#[test]
fn every_standing_has_a_label_of_its_own() {
    let labels: std::collections::BTreeSet<_> = Standing::ALL.map(Standing::label).into();
    assert_eq!(labels.len(), Standing::ALL.len());
}
