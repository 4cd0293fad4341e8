//! Cleaning up after a death that no destructor sees: SIGKILL, `exit`, an abort.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::error::ClusterError;

/// A shell that waits at the other end of a pipe.
///
/// A line on the pipe is our word that all is cleaned up. The pipe's end without one means that
/// this process died: the shell ends the folder's server and removes the folder.
#[derive(Debug)]
pub(super) struct Guard(Child);

impl Guard {
    /// Watches over `folder`, with a server's data in `folder/data`.
    pub(super) fn start(folder: &Path) -> Result<Self, ClusterError> {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "sh"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            // A signal to our whole group, such as the terminal's Ctrl-C, must not end it.
            .process_group(0)
            .spawn()
            .map_err(ClusterError::io("start", Path::new("sh")))?;
        Ok(Self(child))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            // It fails only when the shell is already gone.
            drop(stdin.write_all(b"done\n"));
        }
        drop(self.0.wait());
    }
}

/// The server is told apart from any other process by the folder that it runs in. An ended one
/// that nobody has waited for runs in none.
const SCRIPT: &str = r#"
if read -r word; then exit 0; fi
pid=$(head -n 1 "$1/data/postmaster.pid")
is_running() { [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd")" = "$1/data" ]; }
if is_running "$1"; then
    kill -s QUIT "$pid"
    rounds=50
    while is_running "$1" && [ "$rounds" -gt 0 ]; do
        sleep 0.1
        rounds=$((rounds - 1))
    done
fi
rm -rf -- "$1"
"#;
