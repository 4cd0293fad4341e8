//! `pgsluice demo`: a throwaway primary and replica with sample data, and the gateway before them.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::healthcheck;
use super::serve::stop;
use crate::config::{self, Config, Sources};
use crate::demo::{self, Demo, DemoConfig};
use crate::server;
use crate::telemetry::log;

/// Starts the servers, serves them on loopback until it is told to stop, and removes everything.
///
/// `port` is the one to listen on, when it is free. What else the operator set counts too, save
/// for what the demo is made of: upstream, users, certificates.
///
/// # Errors
/// When the servers or the gateway cannot start.
pub fn demo(port: u16, sources: &Sources) -> Result<(), String> {
    let threads = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = threads.map_err(|error| format!("no threads: {error}"))?;
    // Listened to before anything is started, so that Ctrl-C finds someone to clean up.
    let stop =
        runtime.block_on(async { stop() }).map_err(|error| format!("no signals: {error}"))?;
    let mut stop = Box::pin(stop);

    let started = runtime.block_on(async {
        let bindir = sources.lookup(PG_BINDIR).map(PathBuf::from);
        let mut starting = tokio::task::spawn_blocking(move || start(bindir));
        tokio::select! {
            started = &mut starting => Some(started),
            // The servers' own programs end by the same Ctrl-C; what was started is dropped.
            () = &mut stop => starting.await.ok().and(None),
        }
    });
    let outcome = match started {
        None => Ok(()),
        Some(Err(error)) => Err(error.to_string()),
        Some(Ok(Err(error))) => Err(error),
        Some(Ok(Ok(servers))) => {
            let config = config_of(&servers, free_port(port)?, sources)?;
            log::start(&config.log)?;
            let outcome = runtime.block_on(serve(config, stop));
            say("stopping the servers and removing their files");
            outcome
        }
    };
    runtime.shutdown_background();
    outcome
}

/// Starts the servers of the programs in `bindir`; blocks for some seconds.
fn start(bindir: Option<PathBuf>) -> Result<Demo, String> {
    let config = DemoConfig { bindir, parent: std::env::temp_dir() };
    demo::start(&config, &mut |line| say(line)).map_err(|error| error.to_string())
}

/// Serves, and says what to try once the gateway answers.
async fn serve(
    config: Config,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), String> {
    let port = config.server.listen_port;
    config::announce(&config);
    let hints = async {
        let is_up = timeout(UP_MAX, until_up(port)).await.is_ok();
        if is_up {
            say(&hints(port));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = server::run(config.gateway(), stop) => outcome.map_err(|error| error.to_string()),
        () = hints => Ok(()),
    }
}

async fn until_up(port: u16) {
    let probe = move || healthcheck::probe("127.0.0.1", port).is_ok();
    while !tokio::task::spawn_blocking(probe).await.unwrap_or_default() {
        sleep(PROBE_EVERY).await;
    }
}

/// The lines to try.
fn hints(port: u16) -> String {
    let psql = format!("psql postgresql://{USER}:{PASSWORD}@127.0.0.1:{port}/{}", Demo::DATABASE);
    let writer = format!("psql postgresql://{WRITER}:{WRITER}@127.0.0.1:{port}/{}", Demo::DATABASE);
    format!(
        "
pgsluice answers on 127.0.0.1:{port}. In another terminal:

  # A read.
  {psql} -c '{READ}'

  # The same read, now from the cache, and the cache's own figures.
  {psql} -c '{READ}' -c 'SHOW pgsluice.cache'

  # A write, which is refused.
  {psql} -c 'DELETE FROM orders'

  # A write of a user who may, then a read of it on the replica.
  {writer} -c '{WRITE}' -c '{READ_BACK}' -c 'SHOW pgsluice.freshness'

Ctrl-C stops and removes everything.
"
    )
}

/// The gateway's configuration for the demo's servers.
fn config_of(servers: &Demo, port: u16, sources: &Sources) -> Result<Config, String> {
    let own = own_settings(
        servers.primary().address(),
        servers.replica().address(),
        (servers.superuser(), servers.password()),
        port,
    );
    config_from(&own, sources)
}

fn config_from(own: &BTreeMap<&str, String>, sources: &Sources) -> Result<Config, String> {
    let lookup = |name: &str| match OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        true => own.get(name).cloned(),
        false => sources.lookup(name),
    };
    Config::from_lookup(lookup).map_err(|bad| {
        let lines: Vec<_> = bad.iter().map(ToString::to_string).collect();
        lines.join("\n")
    })
}

/// The settings that make it the demo.
fn own_settings(
    primary: SocketAddr,
    replica: SocketAddr,
    (user, password): (&str, &str),
    port: u16,
) -> BTreeMap<&'static str, String> {
    BTreeMap::from([
        ("UPSTREAM_HOST", primary.ip().to_string()),
        ("UPSTREAM_PORT", primary.port().to_string()),
        ("UPSTREAM_USER", user.to_owned()),
        ("UPSTREAM_PASSWORD", password.to_owned()),
        ("UPSTREAM_DATABASE", Demo::DATABASE.to_owned()),
        ("REPLICAS", replica.to_string()),
        ("AUTH_USERS", format!("{USER}:{PASSWORD},{WRITER}:{WRITER}")),
        ("READ_WRITE_USERS", WRITER.to_owned()),
        ("LISTEN_HOST", Ipv4Addr::LOCALHOST.to_string()),
        ("LISTEN_PORT", port.to_string()),
    ])
}

/// `wanted`, or a free port when another program has it.
fn free_port(wanted: u16) -> Result<u16, String> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted))
        .or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Says a line to whoever started the demo; one who is gone does not need it.
fn say(text: &str) {
    let _ = writeln!(io::stdout(), "{text}");
}

/// What the demo decides for itself.
const OWN_PREFIXES: [&str; 6] =
    ["UPSTREAM_", "REPLICAS", "AUTH_", "LISTEN_", "TLS_", "READ_WRITE_"];

/// The variable that names the folder of the server's programs, for the demo and the tests.
const PG_BINDIR: &str = "PG_BINDIR";

const USER: &str = "demo";
const PASSWORD: &str = "demo";
/// The user who may write, and that user's password.
const WRITER: &str = "writer";
const WRITE: &str = "UPDATE products SET price = price + 1 WHERE id = 1";
const READ_BACK: &str = "SELECT price FROM products WHERE id = 1";
const READ: &str = "SELECT * FROM daily_revenue ORDER BY day DESC LIMIT 5";

/// How long the gateway may take to answer before the hints are left out.
const UP_MAX: Duration = Duration::from_mins(1);

const PROBE_EVERY: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn own(port: u16) -> BTreeMap<&'static str, String> {
        let (primary, replica) = ("127.0.0.1:7001".parse(), "127.0.0.1:7002".parse());
        own_settings(primary.unwrap(), replica.unwrap(), ("postgres", "a b'$"), port)
    }

    #[test]
    fn the_operators_upstream_and_users_are_not_the_demos() {
        let environment = [
            ("UPSTREAM_HOST", "production"),
            ("UPSTREAM_PASSWORD_FILE", "/no/such"),
            ("AUTH_METHOD", "trust"),
            ("LISTEN_HOST", "0.0.0.0"),
            ("TLS_CERT_FILE", "/no/such"),
            ("POOL_SIZE", "3"),
        ];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let config = config_from(&own(6000), &Sources::new(BTreeMap::new(), environment)).unwrap();

        assert_eq!(config.upstream.primary.to_string(), "127.0.0.1:7001");
        assert_eq!(config.upstream.replicas.first().unwrap().to_string(), "127.0.0.1:7002");
        assert_eq!(config.upstream.password.expose(), "a b'$");
        assert_eq!(config.auth.users.expose(), "demo:demo\nwriter:writer\n");
        assert_eq!(config.server.listen_host, "127.0.0.1");
        assert_eq!((config.server.listen_port, config.pool.size), (6000, 3));
    }

    #[test]
    fn a_port_that_is_taken_gives_way_to_a_free_one() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let wanted = taken.local_addr().unwrap().port();
        assert_ne!(free_port(wanted).unwrap(), wanted);
        drop(taken);
        assert_eq!(free_port(wanted).unwrap(), wanted);
    }

    #[test]
    fn the_hints_name_the_port_and_the_statements() {
        let hints = hints(6000);
        assert_eq!(hints.matches("psql postgresql://demo:demo@127.0.0.1:6000/shop").count(), 3);
        assert_eq!(hints.matches("psql postgresql://writer:writer@127.0.0.1:6000/shop").count(), 1);
        assert!(hints.contains(READ) && hints.contains("SHOW pgsluice.cache"));
    }
}
