//! The program under test, as its users run it: a process of its own, set by its environment.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use pgsluice::demo::command::{poll, signal, text};

use super::STEP_MAX;
use super::client::Login;
use super::postgres::Postgres;

/// A running gateway; dropping it ends it, and shows its log when the test failed.
pub(crate) struct Gateway {
    child: Child,
    log: Log,
    port: u16,
}

/// What it has printed, both streams, line by line.
type Log = Arc<Mutex<String>>;

impl Gateway {
    /// In front of `upstream`'s database `postgres`, with these settings besides.
    pub(crate) fn start(upstream: &Postgres, settings: &[(&str, &str)]) -> Self {
        let login = upstream.as_superuser();
        let port = login.port.to_string();
        let own = [
            ("UPSTREAM_HOST", "127.0.0.1"),
            ("UPSTREAM_PORT", port.as_str()),
            ("UPSTREAM_USER", login.user),
            ("UPSTREAM_PASSWORD", login.password),
            ("UPSTREAM_DATABASE", login.database),
            ("LISTEN_HOST", "127.0.0.1"),
            ("LISTEN_PORT", "0"),
            // The default is one port for all.
            ("ADMIN_LISTEN", "off"),
        ];
        Self::start_program(&mut program(), &[&own, settings].concat())
    }

    /// Any program that logs where it listens. Later settings replace earlier ones.
    pub(crate) fn start_program(command: &mut Command, settings: &[(&str, &str)]) -> Self {
        let (child, log) = spawn(command, settings);
        let mut gateway = Self { child, log, port: 0 };
        gateway.port = gateway.until_listening();
        gateway
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where its admin interface listens.
    pub(crate) fn admin_port(&self) -> u16 {
        let line = self.until_logged("admin interface");
        let (_, behind) = line.split_once("address=").expect("an address");
        let address = behind.split(' ').next().expect("an address");
        address.parse::<std::net::SocketAddr>().expect("an address").port()
    }

    /// The same login as `login`, through the gateway.
    pub(crate) fn login<'a>(&self, login: Login<'a>) -> Login<'a> {
        Login { port: self.port, ..login }
    }

    /// All it has printed.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("a log").clone()
    }

    /// Waits until it has printed a line that holds `words`.
    pub(crate) fn until_logged(&self, words: &str) -> String {
        let line = || self.log().lines().find(|line| line.contains(words)).map(str::to_owned);
        poll(STEP_MAX, line).unwrap_or_else(|| panic!("no {words:?} in:\n{}", self.log()))
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        signal(self.child.id(), name).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Waits until it has ended by itself.
    pub(crate) fn until_ended(&mut self) -> ExitStatus {
        let status = poll(STEP_MAX, || self.child.try_wait().expect("a child"));
        status.unwrap_or_else(|| panic!("still running:\n{}", self.log()))
    }

    /// Resident memory, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Memory asked for, whether touched or not, in bytes.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.memory("VmData:")
    }

    /// Processor time used so far, user and system.
    ///
    /// Fields 14 and 15 of `/proc/<pid>/stat`, in ticks of 10 ms (`USER_HZ` is 100 on every Linux).
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // Field 2 is the program's name, in parentheses, and may hold anything.
        let (_, behind_name) = stat.rsplit_once(')').expect("a name");
        let ticks = behind_name.split_whitespace().skip(11).take(2);
        Duration::from_millis(
            10 * ticks.map(|field| field.parse::<u64>().expect("ticks")).sum::<u64>(),
        )
    }

    fn memory(&self, name: &str) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    fn proc(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The port in the line that says where it listens.
    fn until_listening(&mut self) -> u16 {
        let listening = poll(STEP_MAX, || {
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("ended ({status}) before it listened:\n{}", self.log());
            }
            self.log().lines().find_map(listening_port)
        });
        listening.unwrap_or_else(|| panic!("does not listen:\n{}", self.log()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let is_told = signal(self.child.id(), "TERM").is_ok();
        if !is_told || poll(STEP_MAX, || self.child.try_wait().ok().flatten()).is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            eprintln!("the gateway's log:\n{}", self.log());
        }
    }
}

/// Runs the program to its end, for what does not serve: its exit status and all it printed.
pub(crate) fn run_to_end(arguments: &[&str], settings: &[(&str, &str)]) -> (ExitStatus, String) {
    let (child, log) = spawn(program().args(arguments), settings);
    let mut gateway = Gateway { child, log, port: 0 };
    let status = gateway.until_ended();
    // The streams' readers end with the process, a moment later.
    poll(STEP_MAX, || (Arc::strong_count(&gateway.log) == 1).then_some(()));
    (status, gateway.log())
}

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_pgsluice"))
}

fn spawn(command: &mut Command, settings: &[(&str, &str)]) -> (Child, Log) {
    let mut child = command
        .env_clear()
        .envs(settings.iter().copied())
        // A folder without a `.env`, here and above.
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let log = Log::default();
    collect(child.stdout.take().expect("a pipe"), Arc::clone(&log));
    collect(child.stderr.take().expect("a pipe"), Arc::clone(&log));
    (child, log)
}

fn collect(stream: impl Read + Send + 'static, log: Log) {
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut log = log.lock().expect("a log");
            log.push_str(&text(line));
            log.push('\n');
        }
    });
}

/// `… listening … address=127.0.0.1:PORT …` gives the port.
fn listening_port(line: &str) -> Option<u16> {
    let (_, behind) = line.split_once("listening")?;
    let (_, behind) = behind.split_once("address=127.0.0.1:")?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
