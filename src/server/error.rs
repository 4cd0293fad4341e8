//! Why the gateway did not start, or stopped.

use std::fmt;
use std::io;

use crate::admin::ListenError;
use crate::upstream::catalog::CatalogError;
use crate::upstream::pool::AcquireError;
use crate::upstream::tls::TlsSetupError;

/// Why the gateway did not start, or stopped.
#[derive(Debug)]
pub enum ServeError {
    /// TLS towards the upstream cannot be set up.
    UpstreamTls(TlsSetupError),
    /// The upstream cannot be used.
    Upstream {
        /// Where it is.
        address: String,
        /// Why.
        error: AcquireError,
    },
    /// The upstream's catalogs cannot be read.
    Catalog(CatalogError),
    /// The certificate or the users cannot be read.
    Identity(String),
    /// The listening address cannot be taken.
    Listen {
        /// The settings that it is from.
        settings: &'static str,
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
}

impl From<ListenError> for ServeError {
    fn from(error: ListenError) -> Self {
        let ListenError { address, error } = error;
        Self::Listen { settings: "ADMIN_LISTEN", address, error }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UpstreamTls(error) => error.fmt(f),
            Self::Upstream { address, error } => write!(f, "upstream {address}: {error}"),
            Self::Catalog(error) => write!(f, "upstream catalogs: {error}"),
            Self::Identity(error) => f.write_str(error),
            Self::Listen { settings, address, error } => {
                write!(f, "cannot listen on {address} ({settings}): {error}")
            }
        }
    }
}

impl std::error::Error for ServeError {}
