//! Sessions that nobody has, to ask what would become of a text in one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;

use super::Explanation;
use crate::error::GatewayError;
use crate::session::seen::Who;
use crate::session::{Session, Shared};

/// Who would send a text.
#[derive(Clone, Debug, Default)]
pub struct Imagined {
    /// The user.
    pub user: String,
    /// The `application_name`; empty for none.
    pub application: String,
    /// Where from, if that matters.
    pub address: Option<IpAddr>,
}

/// Explains `text` as the first thing that a new session sends.
///
/// # Errors
/// When such a session could not begin.
pub async fn explain(
    shared: &Arc<Shared>,
    imagined: &Imagined,
    text: &Bytes,
) -> Result<Explanation, GatewayError> {
    let peer = imagined.address.map(|address| SocketAddr::new(address, 0));
    let who = Who { peer, ..Who::of(imagined.user.as_str()) };
    let application = Some(imagined.application.clone()).filter(|name| !name.is_empty());
    let parameters = application.map(|name| ("application_name".to_owned(), name));
    let parameters: Vec<_> = parameters.into_iter().collect();
    let mut session = Session::imagined(shared, who, &parameters)?;
    Ok(session.explain(text).await)
}
