//! One PostgreSQL server in one temporary folder: started, stopped, copied; gone when dropped.
//!
//! ```text
//!   <parent>/pgsluice-<pid>-<n>/        0700, the server's account's
//!       data/                           what initdb, a copy or pg_basebackup made
//!       server.log
//!       .s.PGSQL.<port>                 the server's socket
//! ```
//!
//! It listens on 127.0.0.1 and on the socket. It is as fast as it can be made and not durable.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::command::{self, Account};
use super::error::ClusterError;
use super::folder::Folder;
use super::guard::Guard;
use super::process::Process;
use super::settings::ClusterConfig;

/// One server and all that belongs to it. Dropping it stops the server and removes its folder.
#[derive(Debug)]
pub struct Cluster {
    config: ClusterConfig,
    account: Account,
    password: String,
    port: u16,
    server: Option<Process>,
    // Dropped in this order: the guard is told that all is well when nothing is left to guard.
    folder: Folder,
    _guard: Guard,
}

impl Cluster {
    /// Makes a cluster; it does not run yet.
    ///
    /// # Errors
    /// When its files cannot be made.
    pub fn create(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let cluster = Self::empty(config)?;
        match &config.copy_of {
            Some(data) => copy(data, &cluster.data())?,
            None => cluster.initdb()?,
        }
        cluster.configure()?;
        Ok(cluster)
    }

    /// Starts the server, and returns when it answers.
    ///
    /// # Errors
    /// When it does not; the error carries the end of its log.
    pub fn start(&mut self) -> Result<(), ClusterError> {
        const TRIES: u32 = 5;
        for _ in 1..TRIES {
            match self.start_once() {
                // Between our choosing the port and the server's taking it, another took it.
                Err(ClusterError::NotReady { log, .. }) if log.contains(PORT_TAKEN) => {
                    self.port = free_port()?;
                }
                outcome => return outcome,
            }
        }
        self.start_once()
    }

    /// Stops the server: its sessions end at once, its data is consistent afterwards.
    ///
    /// A server that does not follow is killed, with every process of its own.
    pub fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    /// Kills the server without a word to its clients, as a crash does.
    pub fn kill(&mut self) {
        if let Some(server) = self.server.take() {
            server.kill();
        }
    }

    /// Stops the server and starts it again, on the same port.
    ///
    /// # Errors
    /// When it does not answer again.
    pub fn restart(&mut self) -> Result<(), ClusterError> {
        self.stop();
        self.start_once()
    }

    /// Starts a standby that streams from this server, which must be running.
    ///
    /// # Errors
    /// When the base backup fails or the standby does not begin to stream.
    pub fn start_replica(&self) -> Result<Self, ClusterError> {
        let config = ClusterConfig { copy_of: None, ..self.config.clone() };
        let mut replica = Self::empty(&config)?;
        replica.password.clone_from(&self.password);
        replica.back_up(self)?;
        replica.start()?;
        replica.until_streaming()?;
        Ok(replica)
    }

    /// Stops the server and makes a standby of `primary` of it, on the same port. What it held is
    /// gone.
    ///
    /// # Errors
    /// When the base backup fails or the standby does not begin to stream.
    pub fn rejoin(&mut self, primary: &Self) -> Result<(), ClusterError> {
        self.stop();
        let data = self.data();
        fs::remove_dir_all(&data).map_err(ClusterError::io("remove", &data))?;
        self.password.clone_from(&primary.password);
        self.back_up(primary)?;
        self.start_once()?;
        self.until_streaming()
    }

    /// Stops the server, winds it back to where it parted from `primary`, and makes a standby of
    /// that of it, on the same port. Both need `wal_log_hints` (or checksums) and
    /// `full_page_writes`.
    ///
    /// <https://www.postgresql.org/docs/current/app-pgrewind.html>
    ///
    /// # Errors
    /// When it cannot be wound back or does not begin to stream.
    pub fn rewind(&mut self, primary: &Self) -> Result<(), ClusterError> {
        self.stop();
        self.password.clone_from(&primary.password);
        // Before 16 a new timeline is not told from the old one until a checkpoint has named it.
        primary.run("postgres", "CHECKPOINT")?;
        command::run(
            self.program("pg_rewind")
                .args(["--no-sync", "--write-recovery-conf"])
                .args(["--source-server", &format!("{} dbname=postgres", primary.conninfo())])
                .arg("--target-pgdata")
                .arg(self.data())
                .env("PGPASSWORD", &primary.password),
            "",
        )?;
        self.configure()?;
        self.start_once()?;
        self.until_streaming()
    }

    /// Has a standby stream from another server from now on.
    ///
    /// # Errors
    /// When it does not take the setting.
    pub fn follow(&self, primary: &Self) -> Result<(), ClusterError> {
        let password = primary.password.replace('\\', r"\\").replace('\'', r"\'");
        let conninfo = format!("{} password='{password}'", primary.conninfo());
        let conninfo = conninfo.replace('\'', "''");
        let setting = format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'");
        self.run("postgres", &format!("{setting};\nSELECT pg_reload_conf();")).map(drop)
    }

    /// Waits until a standby streams from its primary, since its last start.
    ///
    /// # Errors
    /// When it does not within the limit.
    pub fn until_streaming(&self) -> Result<(), ClusterError> {
        let is_streaming = || self.log().contains("started streaming WAL").then_some(());
        command::poll(START_MAX, is_streaming).ok_or_else(|| self.not_ready("streaming"))
    }

    /// Runs SQL with `psql`, stopping at the first error; gives the rows, unaligned, without
    /// headings.
    ///
    /// # Errors
    /// When a statement fails; the error carries the server's message.
    pub fn run(&self, database: &str, sql: &str) -> Result<String, ClusterError> {
        command::run(
            self.program("psql")
                .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"])
                .args(["--set=ON_ERROR_STOP=1", "--file=-", "--username", SUPERUSER])
                .args(["--host=127.0.0.1", "--port", &self.port.to_string()])
                .args(["--dbname", database])
                .env("PGPASSWORD", &self.password),
            sql,
        )
    }

    /// The TCP port, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The TCP address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// The folder that holds the server's socket: a `host` for libpq.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder that holds the server's files.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The superuser's name.
    #[must_use]
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The account that the server runs under.
    #[must_use]
    pub fn account(&self) -> Account {
        self.account
    }

    /// The server's process, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Process::pid)
    }

    /// What the server has logged since its last start.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.log_path()).map(command::text).unwrap_or_default()
    }

    /// A folder and its guard, without data.
    fn empty(config: &ClusterConfig) -> Result<Self, ClusterError> {
        let folder = Folder::create(&config.parent)?;
        let account = Account::for_owner_of(folder.path())?;
        account.own(folder.path())?;
        let guard = Guard::start(folder.path())?;
        let password = match &config.password {
            Some(password) => password.clone(),
            None => random_password()?,
        };
        let port = free_port()?;
        let config = config.clone();
        Ok(Self { config, account, password, port, server: None, folder, _guard: guard })
    }

    /// Fills the data folder from a running server, as that of a standby of it.
    fn back_up(&self, primary: &Self) -> Result<(), ClusterError> {
        command::run(
            self.program("pg_basebackup")
                .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
                .args(["--wal-method=stream", "--dbname", &primary.conninfo(), "--pgdata"])
                .arg(self.data())
                // Not an argument, which every process here could read. It is written down too.
                .env("PGPASSWORD", &primary.password),
            "",
        )?;
        self.configure()
    }

    /// How a standby finds this server, without the password.
    fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user={SUPERUSER} application_name=replica", self.port)
    }

    fn initdb(&self) -> Result<(), ClusterError> {
        let password_file = self.folder.path().join("password");
        self.write(&password_file, &self.password)?;
        command::run(
            self.program("initdb")
                .args(["--username", SUPERUSER, "--auth=scram-sha-256", "--encoding=UTF8"])
                .args(["--locale=C", "--no-sync", "--wal-segsize=1", "--pgdata"])
                .arg(self.data())
                .arg("--pwfile")
                .arg(&password_file),
            "",
        )?;
        fs::remove_file(&password_file).map_err(ClusterError::io("remove", &password_file))
    }

    /// Writes the server's configuration over the one that came with the data.
    fn configure(&self) -> Result<(), ClusterError> {
        let data = self.data();
        if let Some(tls) = &self.config.tls {
            self.write(&data.join("server.crt"), &tls.certificate_pem)?;
            self.write(&data.join("server.key"), &tls.key_pem)?;
        }
        self.write(&data.join("postgresql.conf"), &self.config.postgresql_conf())?;
        self.write(&data.join("pg_hba.conf"), self.config.pg_hba_conf())
    }

    fn start_once(&mut self) -> Result<(), ClusterError> {
        let path = self.log_path();
        let log = OpenOptions::new().create(true).write(true).truncate(true).open(&path);
        let log = log.map_err(ClusterError::io("open", &path))?;
        let other = log.try_clone().map_err(ClusterError::io("open", &path))?;
        let mut command = self.program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string(), "-h", "127.0.0.1", "-k"])
            .arg(self.folder.path())
            .stdout(log)
            .stderr(other);
        let server = self.server.insert(Process::start(&mut command, &self.data())?);
        if server.until_ready(START_MAX) {
            return Ok(());
        }
        self.kill();
        Err(self.not_ready("start"))
    }

    fn not_ready(&self, what: &'static str) -> ClusterError {
        let log = self.log();
        let skipped = log.lines().count().saturating_sub(20);
        let log = log.lines().skip(skipped).collect::<Vec<_>>().join("\n");
        ClusterError::NotReady { what, limit: START_MAX, log }
    }

    fn program(&self, name: &str) -> Command {
        self.account.command(&self.config.binaries.program(name), self.folder.path())
    }

    /// Writes a file that only the server's account may read.
    fn write(&self, path: &Path, content: &str) -> Result<(), ClusterError> {
        let io = |doing| ClusterError::io(doing, path);
        fs::write(path, content).map_err(io("write"))?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(io("protect"))?;
        self.account.own(path)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Copies a folder with owners and modes, which PostgreSQL checks.
///
/// # Errors
/// When it cannot be copied whole.
pub fn copy(from: &Path, to: &Path) -> Result<(), ClusterError> {
    command::run(Command::new("cp").arg("-a").arg(from).arg(to), "").map(drop)
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16, ClusterError> {
    let port = || Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port());
    port().map_err(|error: io::Error| {
        ClusterError::io("take a port of", Path::new("127.0.0.1"))(error)
    })
}

/// 128 random bits, in hexadecimal.
fn random_password() -> Result<String, ClusterError> {
    use std::io::Read;
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 16];
    fs::File::open(path)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(ClusterError::io("read", path))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

const SUPERUSER: &str = "postgres";

/// The longest that a server may take to answer.
const START_MAX: Duration = Duration::from_mins(1);

const PORT_TAKEN: &str = "Address already in use";
