//! A relay that reads nothing: what a proxy made of tokio costs at the least.
//!
//! `scripts/bench` measures it beside the gateway and PgBouncer. It passes bytes on between each
//! client and a connection to the server of that client's own, until a signal ends it; who signs in
//! does so at the server.
//!
//! ```sh
//! relay 127.0.0.1:6000 127.0.0.1:5432    # where to listen, where the server is
//! ```

use std::error::Error;
use std::net::SocketAddr;
use std::{env, io};

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

/// The most that is held of what a client sends.
const REQUEST_BYTES_MAX: usize = 4 * 1024;
/// The most that is held of what the server sends to one client.
const REPLY_BYTES_MAX: usize = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [listen, server] = arguments.as_slice() else {
        return Err("two arguments: the address to listen on, and that of the server".into());
    };
    let (listen, server) = (listen.parse()?, server.parse()?);
    // One thread that serves, as the gateway has on a machine of two cores.
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_io().build()?;
    Ok(runtime.block_on(accept(listen, server))?)
}

async fn accept(listen: SocketAddr, server: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen).await?;
    loop {
        let (client, _) = listener.accept().await?;
        tokio::spawn(async move {
            // What ends a connection is its client's to tell, or the server's.
            let _ = pass_on(client, server).await;
        });
    }
}

async fn pass_on(mut client: TcpStream, server: SocketAddr) -> io::Result<()> {
    let mut server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (requests, replies) = (REQUEST_BYTES_MAX, REPLY_BYTES_MAX);
    copy_bidirectional_with_sizes(&mut client, &mut server, requests, replies).await.map(|_| ())
}
