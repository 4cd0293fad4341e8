//! What statements are for users who may write.

use std::fmt::Write as _;

use bytes::Bytes;

use super::corpus;
use crate::sql::analyze::{Analyzer, Config};
use crate::sql::kind::{Assignment, SettingChange};
use crate::sql::writes::Statement;
use crate::sql::writes::effects::{BlockControl, Site, Written};

#[test]
fn every_statement_is_what_it_is() {
    let analyzer = Analyzer::new(Config::default());
    let wrong = corpus::cases("classified.sql").into_iter().filter_map(|(expected, sql)| {
        let found = match analyzer.classify_one(&Bytes::from(sql.clone())) {
            Some(statement) => shown(&statement),
            None => "nothing".to_owned(),
        };
        (found != expected).then(|| format!("#= {found}\n{}", sql.escape_ascii()))
    });
    let wrong: Vec<_> = wrong.collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All that is told of a statement, as one line.
fn shown(statement: &Statement) -> String {
    let what = match statement {
        Statement::Refused(refusal) => return format!("refused: {}", refusal.label()),
        Statement::Read(_) => "proven".to_owned(),
        Statement::Unproven(unproven) => tables(unproven.written()),
    };
    let mut shown = format!("{} {} {what}", statement.class().as_str(), statement.verb());
    if statement.site() == Site::AnyUpstream {
        shown.push_str(" anywhere");
    }
    let mut add = |what: &dyn std::fmt::Debug| {
        // Writing to a String does not fail.
        let _ = write!(shown, ", {what:?}");
    };
    statement.session_effects().iter().for_each(|effect| add(effect));
    match statement.block() {
        Some(BlockControl::Begin(modes)) => add(&format_args!("{}", modes.begin_sql())),
        Some(BlockControl::Modes(modes)) => add(&format_args!("Modes {}", modes.begin_sql())),
        Some(control) => add(&control),
        None => {}
    }
    if let Some(setting) = statement.setting() {
        add(&format_args!("{}", change(&setting)));
    }
    if let Some(runs) = statement.runs() {
        add(&runs);
    }
    if let Statement::Unproven(unproven) = statement {
        let is_so = [(unproven.copies_in(), "copies in"), (unproven.runs_alone(), "alone")];
        is_so.iter().filter(|(is_so, _)| *is_so).for_each(|(_, word)| add(&format_args!("{word}")));
    }
    shown
}

fn tables(written: &Written) -> String {
    let Written::Named(tables) = written else { return "*".to_owned() };
    let named = tables.iter().map(|table| match &table.schema {
        Some(schema) => format!("{schema}.{}", table.name),
        None => table.name.clone(),
    });
    format!("[{}]", named.collect::<Vec<_>>().join(" "))
}

fn change(setting: &SettingChange) -> String {
    let replay = |set: &Assignment| String::from_utf8(set.replay.clone()).unwrap();
    match setting {
        SettingChange::Set(set) => replay(set),
        SettingChange::Characteristics(all) => {
            all.iter().map(replay).collect::<Vec<_>>().join("; ")
        }
        SettingChange::SetConfig { calls, .. } => {
            let names = calls.iter().map(|call| match call.local {
                true => format!("local {}", call.name),
                false => call.name.clone(),
            });
            format!("set_config {}", names.collect::<Vec<_>>().join(" "))
        }
        other => format!("{other:?}"),
    }
}
