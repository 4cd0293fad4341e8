//! Everything that can be wrong with a rules file, and on which line.

use std::fmt::Write as _;

use crate::rules::RuleSet;

/// The problems of a file, as they are shown.
fn problems(text: &str) -> Vec<String> {
    let Err(problems) = RuleSet::compile(text) else { panic!("accepted: {text}") };
    problems.iter().map(ToString::to_string).collect()
}

/// The problems of a rule, from its name on; the name is on line 3.
fn of_rule(rest: &str) -> Vec<String> {
    problems(&format!("traffic_control:\n  rules:\n  - name: r\n{rest}"))
}

#[test]
fn every_problem_of_a_file_is_told_with_its_line_and_rule() {
    let text = r#"traffic_control:
  default_action: maybe
  colour: red
  rules:
    - name: a
      priority: high
      observe_only: "true"
      match:
        user: [ann, null]
        client_ip: 10.0.0.0/33
        query_regex: 'a(b'
        usr: bob
        class: [read, reads]
      action: deny
      sqlstate: "1234"
      rate_per_sec: 5
    - name: a
      match: {}
      action: refuse
    - match: {user: x}
      action: rate_limit
    - name: c
      action: kill_after_ms
      timeout_ms: 0
    - just text
    - name: d
      name: e
      match: {hours: "8-9", days: someday, not: {}, tags: {team: []}}
      action: cache
      ttl_seconds: 0
"#;
    let expected = [
        (2, None, "\"maybe\" is none of allow, deny"),
        (3, None, "\"colour\" is no key of traffic_control"),
        (6, Some("a"), "\"high\" is no whole number"),
        (7, Some("a"), "\"true\" in quotes is neither true nor false"),
        (9, Some("a"), "user has no value"),
        (10, Some("a"), "\"10.0.0.0/33\" is no address prefix"),
        (11, Some("a"), "not a regex: unclosed group at character 2"),
        (12, Some("a"), "\"usr\" is no key of match"),
        (13, Some("a"), "\"reads\" is none of read, write"),
        (15, Some("a"), "\"1234\" is no SQLSTATE"),
        (16, Some("a"), "rate_per_sec means nothing to deny"),
        (17, Some("a"), "the name is taken by the rule on line 5"),
        (19, Some("a"), "\"refuse\" is none of allow"),
        (20, None, "name is missing"),
        (21, None, "rate_limit needs rate_per_sec"),
        (22, Some("c"), "match is missing"),
        (24, Some("c"), "\"0\" is no whole number from 1"),
        (25, None, "a rule is text; expected name"),
        (27, Some("d"), "name is there twice, first on line 26"),
        (28, Some("d"), "tag team is an empty list"),
        (28, Some("d"), "\"8-9\" is no hours"),
        (28, Some("d"), "\"someday\" is no day"),
        (28, Some("d"), "not is empty"),
        (30, Some("d"), "0 seconds"),
    ];

    let Err(problems) = RuleSet::compile(text) else { panic!("accepted") };

    for (line, rule, message) in expected {
        let is_told = problems.iter().any(|problem| {
            problem.line == line
                && problem.rule.as_deref() == rule
                && problem.message.contains(message)
        });
        assert!(is_told, "{line} {message}: {problems:#?}");
    }
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    assert!(problems.is_sorted_by_key(|problem| problem.line));
}

#[test]
fn a_problem_is_one_line() {
    let said = of_rule("    match: {query_regex: \"(\\n\\n[\"}\n    action: allow\n");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said.iter().all(|line| line.starts_with("line 4: rule \"r\": ")), "{said:?}");
    assert!(said.iter().all(|line| !line.contains('\n')), "{said:?}");
}

#[test]
fn what_is_no_plain_yaml_is_refused_where_it_is() {
    let cases = [
        ("", "the file is empty; expected traffic_control:"),
        ("# nothing\n", "the file is empty; expected traffic_control:"),
        ("rules: []", "line 1: \"rules\" is no key of the file"),
        ("[1]", "line 1: the file is a list; expected traffic_control"),
        ("traffic_control:\n", "line 1: traffic_control is empty"),
        ("traffic_control:\n  rules: x\n", "line 2: rules is not a list"),
        ("traffic_control:\n  rules: [\n", "line 2: not YAML"),
        ("traffic_control:\n\trules: []\n", "line 2: not YAML"),
        ("a: &a [1]\nb: *a\n", "line 1: anchors and aliases"),
        ("traffic_control: {rules: [*x]}\n", "line 1: not YAML"),
        ("traffic_control: !!map {}\n", "line 1: tags such as !this"),
        ("traffic_control: {}\n---\ntraffic_control: {}\n", "line 2: a second document"),
        ("%YAML 1.2\n---\ntraffic_control: {}\n", "line 1: not YAML"),
    ];
    for (text, expected) in cases {
        let said = problems(text);
        assert!(said.iter().any(|problem| problem.starts_with(expected)), "{text:?}: {said:?}");
    }
    assert!(RuleSet::compile("traffic_control: {}").is_ok());
    assert!(RuleSet::compile("traffic_control:\n  rules:\n").is_ok(), "all commented out");
}

#[test]
fn what_clients_are_told_has_no_control_characters() {
    for message in [r#""a\0b""#, r#""a\rb""#, r#""\e[31m""#] {
        let said = of_rule(&format!("    match: {{}}\n    action: deny\n    message: {message}\n"));
        assert_eq!(said, ["line 6: rule \"r\": message has control characters"]);
    }
    let fine =
        of_rule("    match: {}\n    action: warn\n    message: \"two\\nlines\"\n    max: 1\n");
    assert_eq!(fine, ["line 7: rule \"r\": max means nothing to warn"], "and nothing else");
}

#[test]
fn a_file_is_bounded() {
    let long = format!("traffic_control: {{}}\n#{}", "x".repeat(1 << 20));
    assert_eq!(problems(&long), ["longer than 1024 KiB"]);

    let deep = format!("traffic_control: {}", "[".repeat(40));
    assert!(problems(&deep).iter().all(|said| said.starts_with("line 1: not YAML")));
    let block = (0..40).fold(String::new(), |text, depth| text + &" ".repeat(depth) + "- \n");
    assert!(problems(&block).iter().all(|said| said.contains("not YAML")));

    let crowded = format!("traffic_control: [{}]", ",a".repeat(300_001).trim_start_matches(','));
    assert_eq!(problems(&crowded), ["more than 300000 values"]);

    let file = |rules: usize| {
        let mut text = String::from("traffic_control:\n rules:\n");
        for n in 0..rules {
            let _ = writeln!(text, " - {{name: {n}, match: {{}}, action: observe}}");
        }
        text
    };
    assert_eq!(RuleSet::compile(&file(10_000)).unwrap().rules().len(), 10_000);
    assert_eq!(problems(&file(10_001)), ["line 3: 10001 rules; the most is 10000"]);
}

#[test]
fn regexes_are_bounded_one_by_one_and_together() {
    let of = |regex: &str| {
        of_rule(&format!("    match: {{query_regex: '{regex}'}}\n    action: allow\n"))
    };
    let cases = [
        (format!("a{}", "b".repeat(4_096)), "longer than 4096 bytes"),
        ("(?:a{1000}){1000}".to_owned(), "takes more than"),
        ("(".repeat(65) + &")".repeat(65), "not a regex"),
        (r"(a)\1".to_owned(), "backreferences are not supported"),
        ("(?=a)".to_owned(), "look-around"),
    ];
    for (regex, expected) in cases {
        let said = of(&regex);
        assert!(said.len() == 1 && said.iter().all(|said| said.contains(expected)), "{said:?}");
    }

    let many = |of: fn(usize) -> usize| {
        let mut text = String::from("traffic_control:\n  rules:\n");
        for n in 0..400 {
            let regex = format!("\\w{{15}}{}", of(n));
            let _ = writeln!(
                text,
                "  - {{name: {n}, match: {{query_regex: '{regex}'}}, action: allow}}"
            );
        }
        text
    };
    let said = problems(&many(|n| n));
    assert!(said.first().is_some_and(|said| said.contains("take more than 64 MiB")), "{said:?}");
    assert!(RuleSet::compile(&many(|_| 1)).is_ok(), "the same regex is compiled once");
}

#[test]
fn many_problems_are_told_up_to_a_hundred() {
    let wrong = "  - {name: '', match: 1, action: 2}\n".repeat(200);
    let said = problems(&format!("traffic_control:\n  rules:\n{wrong}"));
    assert_eq!(said.len(), 101);
    assert_eq!(said.last().unwrap(), "and 500 more problems");
}
