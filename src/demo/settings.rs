//! What a cluster is made of, and the files that tell its server so.

use std::path::{Path, PathBuf};

use super::binaries::Binaries;

/// What a cluster is made of.
#[derive(Clone, Debug)]
pub struct ClusterConfig {
    /// The server's programs.
    pub binaries: Binaries,
    /// The folder in which the cluster's own folder is made. The server's account must reach it.
    pub parent: PathBuf,
    /// The superuser's password; `None` for a random one.
    pub password: Option<String>,
    /// The data folder of a stopped cluster to copy in place of `initdb`; its superuser's
    /// password is then the one to give.
    pub copy_of: Option<PathBuf>,
    /// The server's certificate, to offer TLS.
    pub tls: Option<Tls>,
    /// The lines of `pg_hba.conf`; `None` for SCRAM-SHA-256 everywhere.
    pub hba: Option<String>,
    /// Settings, each a name and a value, after the usual ones.
    pub settings: Vec<(String, String)>,
}

/// A server's certificate.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate, or its chain, in PEM.
    pub certificate_pem: String,
    /// Its private key, in PEM.
    pub key_pem: String,
}

impl ClusterConfig {
    /// A plain cluster.
    #[must_use]
    pub fn new(binaries: &Binaries, parent: &Path) -> Self {
        Self {
            binaries: binaries.clone(),
            parent: parent.to_owned(),
            password: None,
            copy_of: None,
            tls: None,
            hba: None,
            settings: Vec::new(),
        }
    }

    /// The server's settings, as its file has them.
    pub(super) fn postgresql_conf(&self) -> String {
        let mut lines = USUAL_SETTINGS.to_owned();
        if self.tls.is_some() {
            lines.push_str("ssl = on\n");
        }
        lines.extend(self.settings.iter().map(|(name, value)| line(name, value)));
        lines
    }

    /// Who may come in, and how they prove it.
    pub(super) fn pg_hba_conf(&self) -> &str {
        self.hba.as_deref().unwrap_or(USUAL_HBA)
    }
}

/// One setting's line; a quote in the value is doubled.
fn line(name: &str, value: &str) -> String {
    format!("{name} = '{}'\n", value.replace('\'', "''"))
}

const USUAL_SETTINGS: &str = "\
# Not durable: this cluster ends with the process that made it.
fsync = off
full_page_writes = off
max_wal_size = 1GB
wal_keep_size = 128MB
wal_retrieve_retry_interval = 200ms
shared_buffers = 64MB
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
password_encryption = 'scram-sha-256'
";

const USUAL_HBA: &str = "\
local all all scram-sha-256
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
";
