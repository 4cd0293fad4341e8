//! HTTP as bytes, for the admin interface: what is sent is what a test wrote.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::STEP_MAX;

/// What was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Asks on a connection of its own, as a program on this machine does. `headers` are lines.
pub(crate) async fn ask(port: u16, method: &str, target: &str, headers: &[&str]) -> Answer {
    let host = format!("Host: 127.0.0.1:{port}");
    ask_as(port, method, target, &[&[host.as_str()], headers].concat()).await
}

/// The same with a document of JSON.
pub(crate) async fn ask_about(port: u16, method: &str, target: &str, document: &Value) -> Answer {
    let body = document.to_string();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nConnection: close\r\nHost: 127.0.0.1:{port}\r\n\
         X-Pgsluice-Admin: 1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    );
    parse(&exchange(port, format!("{head}{body}").as_bytes()).await)
}

/// The same with these headers alone.
pub(crate) async fn ask_as(port: u16, method: &str, target: &str, headers: &[&str]) -> Answer {
    let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
    for line in headers {
        head.push_str(line);
        head.push_str("\r\n");
    }
    parse(&exchange(port, format!("{head}\r\n").as_bytes()).await)
}

/// Posts `body` as a program on this machine does.
pub(crate) async fn post(port: u16, target: &str, headers: &[&str], body: &str) -> Answer {
    let length = format!("Content-Length: {}", body.len());
    let own = [format!("POST {target} HTTP/1.1"), format!("Host: 127.0.0.1:{port}"), length];
    let lines = own.iter().map(String::as_str).chain(["Connection: close"]);
    let head: Vec<_> = lines.chain(headers.iter().copied()).collect();
    parse(&exchange(port, format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes()).await)
}

/// Gets what anyone on this machine may.
pub(crate) async fn get(port: u16, target: &str) -> Answer {
    ask(port, "GET", target, &[]).await
}

/// Sends these bytes and reads up to the close, in whatever way it comes.
pub(crate) async fn exchange(port: u16, request: &[u8]) -> Vec<u8> {
    let exchange = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
        let mut reply = Vec::new();
        if stream.write_all(request).await.is_ok() {
            drop(stream.read_to_end(&mut reply).await);
        }
        reply
    };
    timeout(STEP_MAX, exchange).await.expect("an answer in time")
}

/// Takes an answer apart, whose body goes to the end.
pub(crate) fn parse(reply: &[u8]) -> Answer {
    let text = String::from_utf8(reply.to_vec()).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {text:?}"));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").expect("a header");
        (name.to_ascii_lowercase(), value.to_owned())
    };
    let headers: BTreeMap<_, _> = lines.map(header).collect();
    let body = match headers.get("transfer-encoding").map(String::as_str) {
        Some("chunked") => panic!("in chunks: {head}"),
        _ => body.to_owned(),
    };
    Answer { status: status.expect("a status"), headers, body }
}
