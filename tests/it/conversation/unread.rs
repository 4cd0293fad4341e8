//! Texts of users who may write that the gateway cannot read: what they keep, by what their server
//! says of them.

use std::sync::Arc;

use pgsluice::upstream::access::Access;
use pgsluice::upstream::settings::Settings;

use crate::support::client::Client;
use crate::support::messages::{command_complete, message, query, ready_for_query, tags};
use crate::support::scripted::Scripted;
use crate::support::world::World;

/// A world whose one user may write.
fn world() -> World {
    let mut world = World::start();
    let shared = Arc::get_mut(&mut world.shared).expect("nobody else has it");
    shared.about.writers = vec!["ann".to_owned()];
    let known = shared.greetings.find(false, &Settings::default()).expect("a greeting");
    shared.greetings.on_reported(true, &Settings::default(), known.parameters);
    world
}

/// Sends `text`, and what the server says to it.
async fn told(client: &mut Client, upstream: &mut Scripted, says: &[Vec<u8>]) -> String {
    upstream.receive_batch().await;
    upstream.send(&says.concat()).await;
    // Whether the transaction is read-only is reported anew with the first reply.
    tags(&client.until_ready().await).replace('S', "")
}

fn failed(fields: &str) -> Vec<u8> {
    let body = format!("SERROR\0VERROR\0C42601\0Msyntax error\0{fields}\0");
    message(b'E', body.as_bytes())
}

#[tokio::test(start_paused = true)]
async fn a_text_that_nobody_can_read_keeps_a_connection_only_if_something_of_it_may_have_run() {
    let unread = || failed("P8\0");
    let ran = command_complete("SELECT 1");
    let cases = [
        (vec![unread(), ready_for_query(b'I')], "EZ", 0),
        (vec![ran, unread(), ready_for_query(b'I')], "CEZ", 1),
        // Of what it called.
        (vec![failed("P8\0Wfunction f()\0"), ready_for_query(b'I')], "EZ", 1),
        (vec![failed(""), ready_for_query(b'I')], "EZ", 1),
    ];
    for (says, expected, kept) in cases {
        let mut world = world();
        let mut client = world.client().await;
        client.send(&query("SELECT 'a")).await;
        let mut upstream = world.upstream_for(Access::ReadWrite).await;
        assert_eq!(told(&mut client, &mut upstream, &says).await, expected);
        let counts = world.counts();
        assert_eq!(counts.acquires - counts.releases, kept, "{expected}");
    }
}
