//! The program in front of a real server, with a user of its own.

use tokio::time::{sleep, timeout};

use super::STEP_MAX;
use super::client::{Client, Login};
use super::gateway::Gateway;
use super::messages;
use super::postgres::Postgres;

/// A server, and the gateway in front of it.
pub(crate) struct Served {
    // Dropped in this order: the gateway leaves before its upstream does.
    pub(crate) gateway: Gateway,
    pub(crate) postgres: Postgres,
}

/// `SHOW pgsluice.upstreams`, of all pools together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    pub(crate) open: u64,
    pub(crate) idle: u64,
    pub(crate) acquires: u64,
    pub(crate) releases: u64,
    pub(crate) closes: u64,
}

/// Who may sign in at the gateway, and nowhere else.
pub(crate) const USER: &str = "ann";
pub(crate) const PASSWORD: &str = "a secret of tests";

impl Served {
    /// A gateway with these settings besides its own.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start();
        let users = format!("{USER}:{PASSWORD}");
        let own = [("AUTH_USERS", users.as_str())];
        let gateway = Gateway::start(&postgres, &[&own, settings].concat());
        Self { gateway, postgres }
    }

    /// A gateway that lets in whoever comes.
    pub(crate) fn start_trusting(settings: &[(&str, &str)]) -> Self {
        let postgres = Postgres::start();
        let gateway = Gateway::start(&postgres, &[&[("AUTH_METHOD", "trust")], settings].concat());
        Self { gateway, postgres }
    }

    pub(crate) fn login(&self) -> Login<'static> {
        Login { port: self.gateway.port(), user: USER, password: PASSWORD, database: "postgres" }
    }

    /// A client through the gateway, ready for a query.
    pub(crate) async fn client(&self) -> Client {
        Client::login(self.login()).await
    }

    /// The gateway serves: a new client comes in and gets what it asks for.
    pub(crate) async fn serves(&self) {
        let reply = self.client().await.query("SELECT 40 + 2").await;
        assert_eq!(messages::rows(&reply), [[Some("42".to_owned())]]);
    }

    /// Waits until no client but one asking for this holds a connection: as many releases as
    /// acquires, all that is open is idle.
    pub(crate) async fn until_released(&self) -> Pool {
        until_released(&mut self.client().await).await
    }

    /// Fails if any task of the gateway panicked, or an upstream was out of step.
    pub(crate) fn assert_sound(&self) {
        let log = self.gateway.log();
        for words in ["panicked", "out of step"] {
            let line = log.lines().find(|line| line.contains(words));
            assert_eq!(line, None, "in the gateway's log");
        }
    }
}

/// The same, asked by a client that is there.
pub(crate) async fn until_released(client: &mut Client) -> Pool {
    let releasing = async {
        loop {
            let pool = pool(client).await;
            assert!(pool.releases <= pool.acquires, "{pool:?}");
            if pool.acquires == pool.releases && pool.open == pool.idle {
                return pool;
            }
            sleep(STEP_MAX / 1_000).await;
        }
    };
    if let Ok(pool) = timeout(STEP_MAX, releasing).await {
        return pool;
    }
    panic!("a connection is held: {:?}", pool(client).await)
}

/// What the gateway says of its pool.
pub(crate) async fn pool(client: &mut Client) -> Pool {
    let reply = client.query("SHOW pgsluice.upstreams").await;
    let names = messages::columns(&reply[0].1);
    let pools = messages::rows(&reply);
    let value = |name: &str| {
        let at = names.iter().position(|found| found == name).expect("a column");
        let number = |row: &Vec<Option<String>>| -> u64 {
            row[at].as_ref().expect("no NULL").parse().expect("a number")
        };
        pools.iter().map(number).sum()
    };
    Pool {
        open: value("open"),
        idle: value("idle"),
        acquires: value("acquires"),
        releases: value("releases"),
        closes: value("closes"),
    }
}
