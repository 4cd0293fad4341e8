//! Connections that may write: to whom they go, and what becomes of them when the primary changes.

use std::time::Duration;

use bytes::BytesMut;
use pgsluice::freshness::beginnings::OwnFloor;
use pgsluice::freshness::losses::Commit;
use pgsluice::lsn::Lsn;
use pgsluice::upstream::access::Access;
use pgsluice::upstream::config::UpstreamConfig;
use pgsluice::upstream::pool::{Lease, Upstream};
use pgsluice::upstream::upstreams::{Served, Upstreams};
use pgsluice::wire::frontend::put_query;

use crate::support::STEP_MAX;
use crate::support::messages;
use crate::support::postgres::Postgres;
use crate::support::replication::{Replication, config, eventually, standings, tracked, until, untracked};
use tokio::time::timeout;

/// Runs a statement as a session would; gives the first value, or the error's code.
async fn run(lease: &mut Lease, sql: &str) -> Result<String, String> {
    let mut out = BytesMut::new();
    put_query(&mut out, sql.as_bytes());
    lease.send(&out).await.expect("a connection");
    let mut reply = Vec::new();
    loop {
        while let Some(header) = lease.peek().expect("a message")
            && lease.input.len() >= 5 + header.body_len
        {
            let message = lease.input.split_to(5 + header.body_len).freeze();
            if let (b'Z', Some(status)) = (header.tag, message.last()) {
                lease.status = *status;
                return outcome(&reply);
            }
            reply.push((header.tag, message.slice(5..)));
        }
        let filled = timeout(STEP_MAX, lease.fill()).await.expect("an answer");
        assert!(filled.expect("a connection") > 0, "the connection ended");
    }
}
