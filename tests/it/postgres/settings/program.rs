//! Random programs of settings and transactions, the same ones for the same seed.
//!
//! What is left out is answered otherwise on purpose (README, "Limits"): settings that there are
//! not, syntax errors inside a script, text in a script that changes the encoding, encodings where a
//! quote can hide, and a name of the client's own that nobody has set yet.

use std::fmt::Write as _;

use super::table::{MODES, READS, SETTINGS, SPECIAL, Setting};
use crate::support::messages::{bind, close, describe, execute, parse, query, sync};

/// What several clients do, in this order.
#[derive(Clone, Debug)]
pub(super) struct Program {
    /// The start-up parameters of each client.
    pub(super) clients: Vec<Vec<(String, String)>>,
    pub(super) moves: Vec<Move>,
}

/// One step, and the client who takes it unless another one is amid a block.
#[derive(Clone, Debug)]
pub(super) struct Move {
    pub(super) client: usize,
    pub(super) step: Step,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// One simple query of these statements.
    Simple(Vec<String>),
    /// Extended messages, several batches at once.
    Batches(Vec<Vec<Extended>>),
    /// It goes away, whatever it is amid, and another one comes in its place.
    Replaced(Vec<(String, String)>),
}

/// What is done by extended messages.
#[derive(Clone, Debug)]
pub(super) enum Extended {
    /// Unnamed, from its text to its end.
    Run(String, Vec<Option<String>>),
    /// Executed for at most one row, twice.
    RunTwice(String),
    /// A statement gets a name.
    Name(&'static str, String),
    /// What has this name is executed.
    RunNamed(&'static str),
    /// The name is free.
    Free(&'static str),
}

impl Step {
    pub(super) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Simple(statements) => query(&statements.join("; ")),
            Self::Batches(batches) => batches
                .iter()
                .flat_map(|batch| batch.iter().flat_map(Extended::bytes).chain(sync()))
                .collect(),
            Self::Replaced(_) => Vec::new(),
        }
    }

    /// How often the server will be ready for the next.
    pub(super) fn readies(&self) -> usize {
        match self {
            Self::Simple(_) => 1,
            Self::Batches(batches) => batches.len(),
            Self::Replaced(_) => 0,
        }
    }

    /// Whether it is one statement alone, and begins so.
    pub(super) fn is_alone(&self, beginnings: &[&str]) -> bool {
        let statement = match self {
            Self::Simple(statements) => match statements.as_slice() {
                [statement] => statement,
                _ => return false,
            },
            _ => return false,
        };
        beginnings.iter().any(|beginning| statement.starts_with(beginning))
    }

    pub(super) fn is_script(&self) -> bool {
        matches!(self, Self::Simple(statements) if statements.len() > 1)
    }
}

impl Extended {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Run(sql, values) => {
                let values: Vec<_> =
                    values.iter().map(|value| value.as_ref().map(String::as_bytes)).collect();
                let bound = [parse("", sql, &[]), bind("", "", &values, 0), describe(b'P', "")];
                [bound.concat(), execute("", 0)].concat()
            }
            Self::RunTwice(sql) => {
                let bound = [parse("", sql, &[]), bind("p", "", &[], 0), execute("p", 1)];
                [bound.concat(), execute("p", 1), close(b'P', "p")].concat()
            }
            Self::Name(name, sql) => parse(name, sql, &[]),
            Self::RunNamed(name) => [bind("", name, &[], 0), execute("", 0)].concat(),
            Self::Free(name) => close(b'S', name),
        }
    }
}

/// The same numbers for the same seed.
pub(super) struct Random {
    state: u64,
    /// Whether there is RESET ALL in the program, or SET LOCAL … TO DEFAULT: the one behind the
    /// other pins, for PostgreSQL's RESET ALL then leaves out what is hidden by the default.
    resets_all: bool,
    /// Whether start-ups have a `search_path`, or transactions modes: RESET brings the one back by a
    /// query, behind which the others come too late.
    starts_with_path: bool,
}

impl Random {
    pub(super) const fn new(seed: u64) -> Self {
        Self {
            state: seed,
            resets_all: seed.is_multiple_of(2),
            starts_with_path: seed.is_multiple_of(3),
        }
    }

    /// A number below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        // SplitMix64: neighbouring seeds have nothing in common.
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 33).expect("31 bits") % bound
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(super) fn program(&mut self) -> Program {
        let clients: Vec<_> = (0..3 + self.below(4)).map(|_| self.start_up()).collect();
        let moves = (0..20 + self.below(20))
            .map(|_| Move { client: self.below(clients.len()), step: self.step() })
            .collect();
        Program { clients, moves }
    }

    fn start_up(&mut self) -> Vec<(String, String)> {
        let mut parameters = Vec::new();
        let mut options = String::new();
        for _ in 0..self.below(4) {
            let Setting { name, plain, .. } = self.of(SETTINGS);
            let value = self.of(plain);
            // PostgreSQL takes none that is of one transaction.
            if name == "transaction_isolation" || name == "search_path" && !self.starts_with_path {
                continue;
            }
            // Set twice it would be the one that PostgreSQL reads last, which is another matter.
            if parameters.iter().any(|(set, _): &(String, _)| set.eq_ignore_ascii_case(name))
                || options.contains(&format!("-c {name}="))
            {
                continue;
            }
            match self.one_in(3) {
                true => {
                    let value = value.replace(' ', "\\ ");
                    write!(options, "-c {name}={value} ").expect("a string grows");
                }
                false => parameters.push(((*name).to_owned(), value.to_owned())),
            }
        }
        if !options.is_empty() {
            parameters.push(("options".to_owned(), options));
        }
        parameters
    }

    fn step(&mut self) -> Step {
        match self.below(100) {
            0..3 => Step::Replaced(self.start_up()),
            3..6 => Step::Simple(vec!["DISCARD ALL".to_owned()]),
            // Alone: a script is read whole in the encoding that it came in.
            6 => Step::Simple(vec!["SELECT 'é'".to_owned()]),
            7..20 => Step::Simple(vec![self.transaction()]),
            20..45 => Step::Simple(vec![self.statement()]),
            45..65 => Step::Simple((0..2 + self.below(4)).map(|_| self.statement()).collect()),
            _ => {
                let batches = if self.one_in(4) { 2 + self.below(2) } else { 1 };
                let batch =
                    |random: &mut Self| (0..=random.below(4)).map(|_| random.extended()).collect();
                Step::Batches((0..batches).map(|_| batch(self)).collect())
            }
        }
    }

    fn extended(&mut self) -> Extended {
        const NAMES: &[&str] = &["s", "t"];
        match self.below(12) {
            // Of two errors, the name's comes first here: what gets a name has no other.
            0 if self.one_in(3) => Extended::Name(self.of(NAMES), self.transaction()),
            0 => Extended::Name(self.of(NAMES), self.set()),
            1 | 2 => Extended::RunNamed(self.of(NAMES)),
            3 => Extended::Free(self.of(NAMES)),
            4 | 5 => {
                let (name, value) = self.assigned();
                // A value that is guarded must be a constant.
                let name = match name {
                    "client_encoding" | "standard_conforming_strings" => "app.tenant",
                    name => name,
                };
                let is_local = self.one_in(3);
                let is_null = self.one_in(5) && !(is_local && self.resets_all);
                let sql = format!("SELECT set_config('{name}', $1, {is_local})");
                let value = (!is_null).then(|| value.to_owned());
                Extended::Run(sql, vec![value])
            }
            6 => Extended::RunTwice(self.set_config()),
            _ => Extended::Run(self.statement(), Vec::new()),
        }
    }

    /// A setting, and a value that it mostly takes.
    fn assigned(&mut self) -> (&'static str, &'static str) {
        let setting = match self.of(SETTINGS) {
            Setting { name: "transaction_isolation", .. } if self.starts_with_path => SETTINGS[0],
            setting => setting,
        };
        match self.one_in(12) && !setting.wrong.is_empty() {
            true => (setting.name, self.of(setting.wrong)),
            false => (setting.name, self.of(setting.plain)),
        }
    }

    fn statement(&mut self) -> String {
        match self.below(100) {
            0..30 => self.set(),
            30..40 => self.set_config(),
            40..50 => {
                let Setting { name, .. } = self.of(SETTINGS);
                match self.below(3) {
                    0 => format!("RESET {name}"),
                    1 if !self.resets_all => format!("SET LOCAL {name} TO DEFAULT"),
                    _ => format!("SET {name} TO DEFAULT"),
                }
            }
            50..54 if self.resets_all => "RESET ALL".to_owned(),
            50..54 => "RESET TimeZone".to_owned(),
            54..60 => self.of(SPECIAL).to_owned(),
            60..85 => self.transaction(),
            85..88 => "SELECT 1 / 0".to_owned(),
            88..94 => self.of(READS).to_owned(),
            _ => {
                let Setting { name, .. } = self.of(&SETTINGS[..SETTINGS.len() - 2]);
                format!("SHOW {name}")
            }
        }
    }

    fn set(&mut self) -> String {
        let scope = self.of(&["", "", "SESSION ", "LOCAL "]);
        let (name, value) = self.assigned();
        let to = self.of(&["=", "TO"]);
        let setting = self.of(SETTINGS);
        match setting.written.is_empty() || !self.one_in(3) {
            true => format!("SET {scope}{name} {to} '{value}'"),
            false => format!("SET {scope}{} {to} {}", setting.name, self.of(setting.written)),
        }
    }

    fn set_config(&mut self) -> String {
        let mut call = || {
            let (name, value) = self.assigned();
            let schema = self.of(&["", "pg_catalog."]);
            format!("{schema}set_config('{name}', '{value}', {})", self.one_in(3))
        };
        let (one, other) = (call(), call());
        match self.below(6) {
            0 => format!("SELECT {one}, {other}"),
            1 => format!("SELECT {one} FROM generate_series(1, 2)"),
            _ => format!("SELECT {one}"),
        }
    }

    fn transaction(&mut self) -> String {
        let modes = if self.starts_with_path { &MODES[..1] } else { MODES };
        let savepoint = self.of(&["s", "S", "\"S\"", "t"]);
        match self.below(16) {
            0..4 => format!("BEGIN{}", self.of(modes)),
            4 => format!("START TRANSACTION{}", self.of(modes)),
            5 | 6 => "COMMIT".to_owned(),
            7 => "ROLLBACK".to_owned(),
            8 => "COMMIT AND CHAIN".to_owned(),
            9 => "ROLLBACK AND CHAIN".to_owned(),
            10..12 => format!("SAVEPOINT {savepoint}"),
            12..14 => format!("ROLLBACK TO {savepoint}"),
            14 => format!("RELEASE SAVEPOINT {savepoint}"),
            _ if self.starts_with_path => "SET TRANSACTION READ ONLY".to_owned(),
            _ => format!("SET TRANSACTION{}", self.of(&MODES[1..])),
        }
    }
}
