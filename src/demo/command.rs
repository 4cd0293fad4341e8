//! Running a server's programs, under an account that PostgreSQL accepts.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use super::error::ClusterError;

/// The account that owns a cluster's files and runs its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    uid: u32,
    gid: u32,
    /// Whether we are root and must become this account, which is then another.
    is_other: bool,
}

impl Account {
    /// Ours, from a file that we made; when that is root's, `postgres` or else `nobody`.
    ///
    /// PostgreSQL refuses to run as root.
    ///
    /// # Errors
    /// When we are root and neither account exists.
    pub fn for_owner_of(made_by_us: &Path) -> Result<Self, ClusterError> {
        let metadata = fs::metadata(made_by_us).map_err(ClusterError::io("look at", made_by_us))?;
        if metadata.uid() != 0 {
            return Ok(Self { uid: metadata.uid(), gid: metadata.gid(), is_other: false });
        }
        let path = Path::new("/etc/passwd");
        let passwd = fs::read_to_string(path).map_err(ClusterError::io("read", path))?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| in_passwd(&passwd, name))
            .ok_or(ClusterError::NoAccount)
    }

    /// The account's number.
    #[must_use]
    pub fn uid(self) -> u32 {
        self.uid
    }

    /// Gives it a file or folder.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn own(self, path: &Path) -> Result<(), ClusterError> {
        match self.is_other {
            true => chown(path, Some(self.uid), Some(self.gid))
                .map_err(ClusterError::io("change the owner of", path)),
            false => Ok(()),
        }
    }

    /// A program run as this account, in `folder`, with a bare environment: no `PG*` variable of
    /// ours may reach a throwaway server.
    #[must_use]
    pub fn command(self, program: &Path, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LC_ALL", "C")
            .current_dir(folder)
            .stdin(Stdio::null());
        if self.is_other {
            // This also drops root's supplementary groups.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }
}

/// One account's numbers from `/etc/passwd`: `name:password:uid:gid:…`.
fn in_passwd(passwd: &str, name: &str) -> Option<Account> {
    let numbers = |line: &str| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        let uid = fields.nth(1)?.parse().ok().filter(|uid| *uid != 0 && is_it)?;
        Some(Account { uid, gid: fields.next()?.parse().ok()?, is_other: true })
    };
    passwd.lines().find_map(numbers)
}

/// Runs a program to its end with `input` on its standard input, and gives what it printed.
///
/// # Errors
/// When it cannot be started or ends with an error; the error carries what it printed.
pub fn run(command: &mut Command, input: &str) -> Result<String, ClusterError> {
    let program = Path::new(command.get_program()).to_owned();
    let io = |doing| ClusterError::io(doing, &program);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io("start"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // From its own thread: both pipes may fill at once. That it ended early shows below.
        let input = input.to_owned();
        thread::spawn(move || stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output().map_err(io("wait for"))?;
    match output.status.success() {
        true => Ok(text(output.stdout)),
        false => Err(ClusterError::Failed { program, output: text(output.stderr) }),
    }
}

/// Sends a signal, such as `INT`, to one process.
///
/// By the shell's own `kill`, as the standard library can only kill and `unsafe` is forbidden.
///
/// # Errors
/// When there is no such process, or it is not ours.
pub fn signal(pid: u32, name: &str) -> Result<(), ClusterError> {
    let pid = pid.to_string();
    run(Command::new("sh").args(["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid]), "").map(drop)
}

/// Asks `probe` every few milliseconds until it has an answer, at most for `limit`.
///
/// The limit is counted in rounds, not read from a clock: under a paused clock it ends too.
pub fn poll<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    const STEP: Duration = Duration::from_millis(5);
    let rounds = limit.as_millis() / STEP.as_millis();
    (0..=rounds).find_map(|_| {
        let answer = probe();
        if answer.is_none() {
            thread::sleep(STEP);
        }
        answer
    })
}

/// A program's output as text; escaped where it is not UTF-8.
#[must_use]
pub fn text(output: Vec<u8>) -> String {
    String::from_utf8(output).unwrap_or_else(|error| error.as_bytes().escape_ascii().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_never_root() {
        let passwd =
            "root:x:0:0::/root:/bin/sh\nmypostgres:x:7:8::/:\npostgres:x:101:104:,:/v:/b\n";

        let expected = Account { uid: 101, gid: 104, is_other: true };
        assert_eq!(in_passwd(passwd, "postgres"), Some(expected));
        assert_eq!(in_passwd(passwd, "root"), None);
        assert_eq!(in_passwd(passwd, "nobody"), None);
    }

    #[test]
    fn a_failed_program_gives_what_it_printed() {
        let error =
            run(Command::new("sh").args(["-c", "cat >&2; exit 3"]), "its words").unwrap_err();

        assert!(error.to_string().contains("sh failed: its words"), "{error}");
    }

    #[test]
    fn polling_ends_at_its_limit() {
        let mut asked = 0;

        let answer: Option<()> = poll(Duration::from_millis(20), || {
            asked += 1;
            None
        });

        assert_eq!((answer, asked), (None, 5));
    }
}
