//! Limits on sessions hold to the number, whatever the clients do.

use futures::future::join_all;
use tokio::time::{sleep, timeout};

use super::gateway;
use crate::support::STEP_MAX;
use crate::support::client::{Client, Login};
use crate::support::messages::{PROTOCOL_3_0, field, query, rows, sqlstate, startup};
use crate::support::postgres::Postgres;

const LIMIT: usize = 5;

#[tokio::test]
async fn a_users_limit_holds_under_connects_at_once_and_deaths_at_any_moment() {
    let postgres = Postgres::start();
    let limit = LIMIT.to_string();
    let settings = [("CLIENT_SESSIONS_PER_USER_MAX", limit.as_str()), ("POOL_SIZE", "2")];
    let gateway = gateway(&postgres, &settings);
    let ann = Login { user: "ann", ..gateway.login(postgres.as_superuser()) };
    let bob = Login { user: "bob", ..ann };
    let mut observer = Client::login(bob).await;

    for round in 0..6 {
        let mut admitted = Vec::new();
        for (client, outcome) in join_all((0..40).map(|_| attempt(ann))).await {
            match outcome {
                Ok(()) => admitted.push(client),
                Err(refusal) => {
                    assert_eq!(sqlstate(&refusal), "53300");
                    let message = field(&refusal, b'M').unwrap();
                    assert!(message.ends_with("for this user: the limit is 5"), "{message}");
                    let hint = field(&refusal, b'H').unwrap();
                    assert_eq!(hint, "Raise CLIENT_SESSIONS_PER_USER_MAX.");
                }
            }
        }
        assert_eq!(admitted.len(), LIMIT, "in round {round}");
        assert_eq!(sessions_of(&mut observer, "ann").await, LIMIT);
        // Others are none of it.
        Client::login(bob).await.query("SELECT 1").await;

        // They die in all that a session can be in.
        admitted[0].query("BEGIN; SELECT random()").await;
        admitted[1].send(&query("SELECT pg_sleep(10)")).await;
        admitted[2].send(&query("SELECT random()")).await;
        admitted[3].send(b"Q\0\0").await;
        drop(admitted);
        // And amid their sign-in.
        let greeting = startup(PROTOCOL_3_0, &[("user", "ann"), ("database", ann.database)]);
        for length in [1, 8, greeting.len()] {
            let mut client = Client::connect(ann.port).await;
            client.send(&greeting[..length]).await;
        }
        let leaving = async {
            while sessions_of(&mut observer, "ann").await > 0 {
                sleep(STEP_MAX / 1_000).await;
            }
        };
        timeout(STEP_MAX, leaving).await.expect("all leave");
    }
}

async fn attempt(login: Login<'_>) -> (Client, Result<(), Vec<u8>>) {
    let mut client = Client::connect(login.port).await;
    let outcome = client.start(login, &[]).await;
    (client, outcome)
}

async fn sessions_of(observer: &mut Client, user: &str) -> usize {
    let clients = rows(&observer.query("SHOW pgsluice.clients").await);
    clients.iter().filter(|row| row[1].as_deref() == Some(user)).count()
}
