//! Throwaway PostgreSQL clusters: the demo and the tests start theirs here.
//!
//! ```text
//!   binaries ─► where a server's programs are
//!   command  ─► running them as an account that PostgreSQL accepts
//!   cluster  ─► one server in one temporary folder, gone when dropped
//!   data     ─► a small shop to ask questions of
//! ```
//!
//! Everything blocks: whoever is in a runtime calls it on a blocking thread.

pub mod binaries;
pub mod cluster;
pub mod command;
pub mod data;
pub mod error;
mod folder;
mod guard;
mod process;
pub mod settings;

use std::path::PathBuf;

use self::binaries::Binaries;
use self::cluster::Cluster;
use self::error::ClusterError;
use self::settings::ClusterConfig;

/// A primary with sample data and a replica that streams from it; both end when it is dropped.
#[derive(Debug)]
pub struct Demo {
    // Fields are dropped in this order: a replica that loses its primary would log complaints.
    replica: Cluster,
    primary: Cluster,
}

/// Where the demo finds PostgreSQL and puts its clusters.
#[derive(Clone, Debug)]
pub struct DemoConfig {
    /// The folder of the server's programs; `None` to look for one.
    pub bindir: Option<PathBuf>,
    /// The folder in which the clusters' own folders are made, such as the system's temporary one.
    pub parent: PathBuf,
}

/// Starts the demo's servers, telling each step to `progress` as a line.
///
/// # Errors
/// When there is no PostgreSQL here, or one of its programs fails.
pub fn start(config: &DemoConfig, progress: &mut dyn FnMut(&str)) -> Result<Demo, ClusterError> {
    let binaries = Binaries::find(config.bindir.as_deref())?;
    progress(&format!("using PostgreSQL of {}", binaries.folder().display()));

    let mut primary = Cluster::create(&ClusterConfig::new(&binaries, &config.parent))?;
    primary.start()?;
    progress(&format!("primary on {}", primary.address()));

    primary.run("postgres", &format!("CREATE DATABASE {}", Demo::DATABASE))?;
    primary.run(Demo::DATABASE, data::sql())?;
    progress(&format!("sample data in database {}", Demo::DATABASE));

    let replica = primary.start_replica()?;
    progress(&format!("replica on {}, streaming", replica.address()));
    Ok(Demo { replica, primary })
}

impl Demo {
    /// The database that holds the sample data.
    pub const DATABASE: &str = "shop";

    /// The server that takes writes.
    #[must_use]
    pub fn primary(&self) -> &Cluster {
        &self.primary
    }

    /// The server that streams from the primary.
    #[must_use]
    pub fn replica(&self) -> &Cluster {
        &self.replica
    }

    /// The database that holds the sample data.
    #[must_use]
    pub fn database(&self) -> &'static str {
        Self::DATABASE
    }

    /// The account of both servers.
    #[must_use]
    pub fn superuser(&self) -> &'static str {
        self.primary.superuser()
    }

    /// The superuser's password, on both servers.
    #[must_use]
    pub fn password(&self) -> &str {
        self.primary.password()
    }
}
