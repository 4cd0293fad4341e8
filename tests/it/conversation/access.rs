//! Connections that may write, beside those that may read.

use std::sync::Arc;
use std::time::Duration;

use pgsluice::upstream::access::Access;
use pgsluice::upstream::pool::Upstream;

use crate::support::client::Client;
use crate::support::messages::{columns, query, rows};
use crate::support::world::{World, answer};

/// These columns of what is shown, a row a line.
async fn shown(client: &mut Client, subject: &str, names: &[&str]) -> Vec<String> {
    let reply = client.query(&format!("SHOW pgsluice.{subject}")).await;
    let all = columns(&reply[0].1);
    let at = |name: &&str| all.iter().position(|found| found == name).expect("a column");
    let places: Vec<_> = names.iter().map(at).collect();
    let line = |row: &Vec<Option<String>>| {
        let values: Vec<_> = places.iter().map(|at| row[*at].as_deref().unwrap_or("-")).collect();
        values.join(" ")
    };
    rows(&reply).iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn a_pool_that_may_write_opens_nothing_and_is_not_shown_before_somebody_writes() {
    let mut world = World::start();
    let shared = Arc::clone(&world.shared);
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    let mut reading = world.upstream().await;
    answer(&mut reading, &["one"], b'I').await;
    client.until_ready().await;
    assert!(world.is_silent_for(Duration::from_mins(1)).await);
    let numbers = ["access", "open", "acquires", "releases"];
    assert_eq!(shown(&mut client, "upstreams", &numbers).await, ["read_only 1 1 1"]);
    assert_eq!(shown(&mut client, "servers", &["access", "state"]).await, ["read_only idle"]);

    let acquiring = shared.upstreams.acquire_primary(Duration::ZERO);
    let (lease, _writing) = tokio::join!(acquiring, world.upstream_for(Access::ReadWrite));
    let lease = lease.expect("a connection");
    assert_eq!((lease.access(), lease.open_wall()), (Access::ReadWrite, None));
    let upstreams = shown(&mut client, "upstreams", &numbers).await;
    assert_eq!(upstreams, ["read_only 1 1 1", "read_write 1 1 0"]);
    let servers = shown(&mut client, "servers", &["access", "state"]).await;
    assert_eq!(servers, ["read_only idle", "read_write active"]);
    let pools = shown(&mut client, "pools", &["sv_active", "sv_idle"]).await;
    assert_eq!(pools, ["1 1", "0 0"]);
    let counted = ["total_server_assignment_count"];
    assert_eq!(shown(&mut client, "stats", &counted).await, ["2"]);

    lease.release();
    assert_eq!(world.until_released().await, 2);
    let counts = world.counts();
    assert_eq!((counts.acquires, counts.releases, counts.closes), (2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_cannot_be_reached_for_a_write_is_out_for_reads_too() {
    let mut world = World::start();
    let shared = Arc::clone(&world.shared);
    let refusing = async {
        // Closed before a word was said.
        drop(world.dialled().await);
    };
    let acquiring = shared.upstreams.acquire_primary(Duration::ZERO);
    let (refused, ()) = tokio::join!(acquiring, refusing);
    assert!(refused.is_err());
    assert!(shared.upstreams.iter().all(|pool| !pool.is_up()));
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(shared.upstreams.iter().all(Upstream::is_up));
}

#[tokio::test(start_paused = true)]
async fn reads_are_counted_by_who_served_them() {
    let mut world = World::start();
    let mut client = world.client().await;
    client.send(&query("SELECT 1")).await;
    answer(&mut world.upstream().await, &["one"], b'I').await;
    client.until_ready().await;
    world.shared.upstreams.on_captured();

    let freshness = shown(&mut client, "freshness", &["name", "count"]).await;
    let reads = ["replica 0", "replica_after_wait 0", "primary 1", "primary_instead 0"];
    assert_eq!(freshness, [&reads[..], &["captured 1", "lost_commits 0"]].concat());
    let columns = ["lsn", "at", "user", "application", "fingerprint", "timeline"];
    assert!(shown(&mut client, "lost_commits", &columns).await.is_empty());
}
