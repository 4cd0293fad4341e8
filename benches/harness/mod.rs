//! A timing loop, and a fixed number of rounds for callgrind.
//!
//! `cargo bench` prints nanoseconds per operation: the best of several short samples, since
//! whatever else runs on a machine only ever adds. `--list` prints the names of the operations,
//! and `--run NAME ROUNDS` runs one of them so many times and prints nothing: what
//! `scripts/bench --instructions` counts the instructions of.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// What the command line asks for.
pub(crate) struct Harness {
    mode: Mode,
}

enum Mode {
    Time,
    List,
    Run { name: String, rounds: u64 },
}

impl Harness {
    /// Reads the command line; what it does not know, as cargo's `--bench`, it leaves alone.
    pub(crate) fn from_args() -> Self {
        let args = std::env::args().skip(1).collect::<Vec<_>>();
        let mode = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["--run", name, rounds] => {
                Mode::Run { name: name.to_owned(), rounds: rounds.parse().unwrap_or(1) }
            }
            ["--list"] => Mode::List,
            _ => Mode::Time,
        };
        Self { mode }
    }

    /// One operation, whose result is thrown away.
    pub(crate) fn case<T>(&self, name: &str, mut operation: impl FnMut() -> T) {
        match &self.mode {
            Mode::List => println!("{name}"),
            Mode::Run { name: wanted, rounds } if wanted == name => {
                for _ in 0..*rounds {
                    black_box(operation());
                }
            }
            Mode::Run { .. } => {}
            Mode::Time => println!("{name:<36} {:>10.1} ns", best_ns(&mut operation)),
        }
    }
}

/// Nanoseconds per operation in the quickest sample.
#[expect(clippy::cast_precision_loss, reason = "a sample is far shorter than 2^52 ns")]
#[expect(clippy::disallowed_methods, reason = "measures this very machine's time")]
fn best_ns<T>(operation: &mut impl FnMut() -> T) -> f64 {
    let mut sample = |rounds: u64| {
        let begin = Instant::now();
        for _ in 0..rounds {
            black_box(operation());
        }
        begin.elapsed()
    };
    let mut rounds = 1;
    while sample(rounds) < SAMPLE {
        rounds *= 2;
    }
    let best = (0..SAMPLES).map(|_| sample(rounds)).min().unwrap_or(SAMPLE);
    best.as_nanos() as f64 / rounds as f64
}

/// The least that a sample takes.
const SAMPLE: Duration = Duration::from_millis(10);

/// How many samples are taken.
const SAMPLES: usize = 20;
