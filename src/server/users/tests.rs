use super::*;

const VERIFIER: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

fn reasons(text: &str) -> Vec<(usize, BadUserReason)> {
    let bad = Users::parse(text).expect_err("a bad line");
    bad.into_iter().map(|bad| (bad.line, bad.reason)).collect()
}

/// What a client is shown of a user: the salt and the iterations.
fn shown(users: &Users, user: &str) -> (Vec<u8>, usize) {
    match users.credential(user).secret {
        ScramSecret::Verifier { salt, iterations, .. } => (salt, iterations),
        ScramSecret::SaltedPassword { .. } => panic!("not a verifier"),
    }
}

#[test]
fn both_forms_are_read_and_comments_are_not() {
    let text = format!(
        "# people\n\nann:{VERIFIER}\r\nbob:pass:word #1\n  # more\n\"c\"\"d:e\"  \"f\"\"g \"\n\
         \"eve\" \"x\" \"ignored\"\n"
    );

    let users = Users::parse(&text).unwrap();

    assert_eq!(users.len(), 4);
    for name in ["ann", "bob", "c\"d:e", "eve"] {
        assert!(users.credential(name).is_known, "{name}");
    }
    assert!(!users.credential("Ann").is_known);
}

#[test]
fn the_password_of_each_form_is_the_one_written() {
    let users = Users::parse("bob:pass:word #1\n\"c\" \"f\"\"g \"").unwrap();
    for (name, password) in [("bob", "pass:word #1"), ("c", "f\"g ")] {
        let ScramSecret::Verifier { salt, iterations, stored_key, .. } =
            users.credential(name).secret
        else {
            panic!("not a verifier")
        };
        let salted = gen_salted_password(password, &salt, iterations);
        let ScramSecret::Verifier { stored_key: expected, .. } =
            ScramSecret::verifier_from_salted_password(salt, salted, iterations)
        else {
            panic!("not a verifier")
        };
        assert_eq!(stored_key, expected, "{name}");
    }
}

#[test]
fn every_bad_line_is_reported_by_its_number() {
    use BadUserReason as R;
    let long = "x".repeat(64);
    let text = format!(
        "ann\n:secret\nbob:\nbob :x\nbob: x\nbob:x \n{long}:x\n\"bob\" x\n\"bob\" \"x\n\
         \"bob\" \"x\"y\nn\0:x\nbob:md5{}\ngood:x\ngood:y",
        "0aF9".repeat(8)
    );
    let expected = [
        R::Form,
        R::NoName,
        R::NoSecret,
        R::Space,
        R::Space,
        R::Space,
        R::LongName,
        R::Form,
        R::Form,
        R::Form,
        R::Nul,
        R::Md5,
    ];
    let expected: Vec<_> = (1..).zip(expected).chain([(14, R::Duplicate)]).collect();
    assert_eq!(reasons(&text), expected);
}

#[test]
fn a_verifier_is_read_strictly() {
    use BadUserReason::{Iterations, Verifier};
    let good = Users::from_pairs([("ann", VERIFIER)]);
    assert!(good.is_ok());
    let broken = [
        ("4096:", "+4096:", Verifier),
        ("4096:", ":", Verifier),
        ("4096:", "0:", Iterations),
        ("4096:", "1000001:", Iterations),
        ("4096:", "99999999999999999999999:", Iterations),
        ("gQ==", "gQ=", Verifier),
        ("gQ==", "gR==", Verifier),
        ("W22ZaJ0SNY7soEsUEjb6gQ==", "", Verifier),
        ("4qY=", "4qY", Verifier),
        ("4qY=:", "4qYA:", Verifier),
        ("2dU=", "2dU= ", Verifier),
        ("2dU=", "2dU=$", Verifier),
        ("2dU=", "", Verifier),
        ("$WG", ":WG", Verifier),
        (":wf", "$wf", Verifier),
    ];
    for (from, to, reason) in broken {
        let text = VERIFIER.replacen(from, to, 1);
        assert_ne!(text, VERIFIER);
        let bad = Users::from_pairs([("ann", text.as_str())]).expect_err(&text);
        assert_eq!(bad, [BadUser { line: 1, reason }], "{text}");
    }
}

#[test]
fn neither_debug_nor_an_error_shows_a_secret() {
    let users = Users::parse("ann:hunter2").unwrap();
    assert_eq!(format!("{users:?}"), "Users { len: 1, .. }");

    let bad = Users::parse("ann:hunter2\nann:hunter3\nbob: hunter4\nhunter5").unwrap_err();
    let shown: Vec<_> = bad.iter().map(|bad| format!("{bad} {bad:?}")).collect();
    let shown = shown.concat();
    assert!(!shown.contains("hunter"), "{shown}");
}

#[test]
fn a_bad_reload_leaves_the_users_as_they_were() {
    let users = Users::parse("ann:a").unwrap();

    assert!(users.reload("bob:b\nbob:c").is_err());
    assert!(users.credential("ann").is_known && !users.credential("bob").is_known);

    users.reload("bob:b").unwrap();
    assert!(!users.credential("ann").is_known && users.credential("bob").is_known);
}

#[test]
fn a_stranger_is_shown_the_same_each_time_and_the_shape_of_a_user() {
    let shape = VERIFIER.replace("4096", "12345").replace("W22ZaJ0SNY7soEsUEjb6gQ==", "QUJD");
    let users = Users::from_pairs([("ann", shape.as_str())]).unwrap();

    let stranger = shown(&users, "zoe");

    assert_eq!(stranger, shown(&users, "zoe"));
    assert_ne!(stranger.0, shown(&users, "yan").0);
    assert_eq!((stranger.0.len(), stranger.1), (3, 12345));
    assert_ne!(stranger.0, shown(&Users::from_pairs([("ann", &*shape)]).unwrap(), "zoe").0);
}

#[test]
fn adding_a_user_by_password_does_not_change_what_is_shown_of_the_name() {
    let users = Users::parse("ann:a").unwrap();
    let before = (shown(&users, "ann"), shown(&users, "bob"));

    users.reload("ann:a\nbob:b").unwrap();

    assert_eq!((shown(&users, "ann"), shown(&users, "bob")), before);
    assert_eq!(before.0.0.len(), 16);
}
