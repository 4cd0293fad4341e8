//! A running server: its first process and those that it starts.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use super::command::{poll, signal};
use super::error::ClusterError;

/// A server that was started and not yet ended.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// The data folder, which each of a server's processes goes into.
    data: PathBuf,
}

impl Process {
    /// Starts `command`, which runs a server on the data folder.
    pub(super) fn start(command: &mut Command, data: &Path) -> Result<Self, ClusterError> {
        let program = Path::new(command.get_program()).to_owned();
        // The terminal's Ctrl-C is for us, who then stop it in our own time.
        let child =
            command.process_group(0).spawn().map_err(ClusterError::io("start", &program))?;
        Ok(Self { child, data: data.to_owned() })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it answers; `false` when it ended or the time did.
    pub(super) fn until_ready(&mut self, limit: Duration) -> bool {
        let (pid, lock) = (self.pid(), self.data.join("postmaster.pid"));
        let is_up = poll(limit, || match self.child.try_wait() {
            Ok(None) => is_ready(&lock, pid).then_some(true),
            Ok(Some(_)) | Err(_) => Some(false),
        });
        is_up == Some(true)
    }

    /// Shuts it down: fast, then immediately, then by force.
    ///
    /// <https://www.postgresql.org/docs/current/server-shutdown.html>
    pub(super) fn stop(mut self) {
        for (name, limit) in [("INT", FAST_MAX), ("QUIT", IMMEDIATE_MAX)] {
            let is_sent = signal(self.pid(), name).is_ok();
            if is_sent && poll(limit, || self.child.try_wait().ok().flatten()).is_some() {
                return;
            }
        }
        self.kill();
    }

    /// Kills it and its processes, which are told by the folder that they run in.
    ///
    /// It is stopped first: so it starts no further process, and none sees it die and says so to
    /// its client.
    pub(super) fn kill(mut self) {
        // Each fails only on a process that is gone already.
        drop(signal(self.pid(), "STOP"));
        for pid in running_in(&self.data).into_iter().filter(|pid| *pid != self.pid()) {
            drop(signal(pid, "KILL"));
        }
        drop(self.child.kill());
        drop(self.child.wait());
        poll(IMMEDIATE_MAX, || running_in(&self.data).is_empty().then_some(()));
    }
}

/// Whether the lock file says that this very process answers.
///
/// Lines: process, data folder, start time, port, socket folder, address, memory key, state.
fn is_ready(lock: &Path, pid: u32) -> bool {
    let text = fs::read_to_string(lock).unwrap_or_default();
    let mut lines = text.lines();
    let is_ours = lines.next().and_then(|line| line.parse().ok()) == Some(pid);
    is_ours && lines.nth(6).map(str::trim_end) == Some("ready")
}

/// The processes whose working folder is `folder`.
fn running_in(folder: &Path) -> Vec<u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The longest that a fast shutdown may take, and then an immediate one.
const FAST_MAX: Duration = Duration::from_secs(20);
const IMMEDIATE_MAX: Duration = Duration::from_secs(5);
