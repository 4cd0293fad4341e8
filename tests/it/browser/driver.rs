//! A headless Chromium, driven through chromedriver.
//!
//! <https://www.w3.org/TR/webdriver2/>, and Chromium's own commands for the size and the colours of
//! the window: <https://chromedevtools.github.io/devtools-protocol/>

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pgsluice::demo::command::poll;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use crate::support::files::Folder;

/// A browser with one window; dropping it ends it.
pub(super) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    /// Its profile, and its home.
    folder: Folder,
}

impl Browser {
    /// A browser that has seen nothing before.
    pub(super) async fn start() -> Self {
        let folder = Folder::new();
        let (driver, port) = start_driver(&folder.path("home"));
        let mut browser = Self { driver, port, session: String::new(), folder };
        let profile = format!("--user-data-dir={}", browser.folder.path("profile"));
        let arguments = [FLAGS, &[profile.as_str()]].concat();
        let wanted = json!({
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        });
        let body = json!({ "capabilities": { "alwaysMatch": wanted } });
        let answer = browser.ask("POST", "/session", &body).await;
        let id = answer["sessionId"].as_str();
        browser.session = id.unwrap_or_else(|| panic!("no session: {answer}")).to_owned();
        browser.show(1280, "light").await;
        browser
    }

    /// Goes to a page, up to its `load`.
    pub(super) async fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url })).await;
    }

    /// Makes the window so wide, in pixels, and prefer these colours: `light` or `dark`.
    pub(super) async fn show(&self, width: u32, colours: &str) {
        let size =
            json!({ "width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.devtools("Emulation.setDeviceMetricsOverride", &size).await;
        let scheme = json!({ "name": "prefers-color-scheme", "value": colours });
        self.devtools("Emulation.setEmulatedMedia", &json!({ "features": [scheme] })).await;
    }

    /// Runs a script in the page, and gives what it returns, a promise's outcome too.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.command("execute/sync", &json!({ "script": script, "args": [] })).await
    }

    /// Runs a script until what it returns is true or a text that is not empty.
    pub(super) async fn until(&self, script: &str) -> Value {
        let deadline = Instant::now() + STEP_MAX;
        loop {
            let told = self.run(script).await;
            if !matches!(&told, Value::Null | Value::Bool(false)) && told != "" {
                return told;
            }
            if Instant::now() > deadline {
                let text = self.run("return document.body.innerText").await;
                panic!("not within {STEP_MAX:?}: {script}\n{}", text.as_str().unwrap_or_default());
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks on the first element that a selector names, as a person would: where it is, as soon as
    /// nothing else is there.
    pub(super) async fn click(&self, selector: &str) {
        let deadline = Instant::now() + STEP_MAX;
        loop {
            let element = self.element(selector).await;
            let clicked = self.try_command(&format!("element/{element}/click"), &json!({})).await;
            // The page moves while it is filled.
            let moved = ["element click intercepted", "stale element reference"];
            if moved.iter().all(|error| clicked["error"] != *error) {
                assert!(clicked["error"].is_null(), "{selector}: {clicked}");
                return;
            }
            assert!(Instant::now() < deadline, "{selector}: {clicked}");
        }
    }

    /// Types into a field.
    pub(super) async fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.command(&format!("element/{element}/value"), &json!({ "text": text })).await;
    }

    /// What its console says since it was last asked: errors of scripts and of requests, and what
    /// the page's policy did not let happen.
    pub(super) async fn console(&self) -> Vec<String> {
        let told = self.command("se/log", &json!({ "type": "browser" })).await;
        let lines = told.as_array().expect("a log").iter();
        lines.map(|line| line["message"].as_str().expect("a message").to_owned()).collect()
    }

    async fn element(&self, selector: &str) -> String {
        let by = json!({ "using": "css selector", "value": selector });
        let found = self.command("element", &by).await;
        let id = found.as_object().and_then(|found| found.values().next()?.as_str());
        id.unwrap_or_else(|| panic!("no {selector}: {found}")).to_owned()
    }

    async fn devtools(&self, command: &str, parameters: &Value) {
        let body = json!({ "cmd": command, "params": parameters });
        self.command("goog/cdp/execute", &body).await;
    }

    async fn command(&self, path: &str, body: &Value) -> Value {
        let answer = self.try_command(path, body).await;
        assert!(answer["error"].is_null(), "{path} {body}: {}", answer["message"]);
        answer
    }

    async fn try_command(&self, path: &str, body: &Value) -> Value {
        self.ask("POST", &format!("/session/{}/{path}", self.session), body).await
    }

    /// Asks chromedriver, which keeps connections open whatever it is told.
    async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = request(method, path, &body.to_string());
        let asking = async {
            let mut stream =
                tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut reply = Vec::new();
            while body_of(&reply).is_none() && stream.read_buf(&mut reply).await? > 0 {}
            Ok::<_, std::io::Error>(reply)
        };
        let reply = timeout(STEP_MAX, asking).await;
        let reply =
            reply.unwrap_or_else(|_| panic!("no answer to {path} {body}")).expect("a reply");
        let body = body_of(&reply).expect("a whole reply");
        let mut answer: Value = serde_json::from_slice(body).expect("JSON");
        answer["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The driver ends its browser when it is told so, and not when it is killed.
        let told = say(self.port, &request("GET", "/shutdown", ""));
        let has_ended = || self.driver.try_wait().ok().flatten();
        if told.is_err() || poll(END_MAX, has_ended).is_none() {
            drop(self.driver.kill());
            drop(self.driver.wait());
        }
    }
}

/// Starts chromedriver on a free port, which it says.
fn start_driver(home: &str) -> (Child, u16) {
    let started = Command::new("chromedriver")
        .arg("--port=0")
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut driver = started.unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => panic!("{MISSING}"),
        _ => panic!("chromedriver does not start: {error}"),
    });
    let told = BufReader::new(driver.stdout.take().expect("a pipe"));
    let port = told.lines().map_while(Result::ok).find_map(|line| {
        let (_, behind) = line.split_once("started successfully on port ")?;
        behind.trim_end_matches('.').parse().ok()
    });
    (driver, port.expect("chromedriver says its port"))
}

const MISSING: &str = "there is no chromedriver: scripts/install-deps test installs it, or, on \
                       Debian and Ubuntu, apt-get install chromium chromium-driver";

fn request(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{body}")
}

/// The body of a reply, once it is whole.
fn body_of(reply: &[u8]) -> Option<&[u8]> {
    let end = reply.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&reply[..end]).expect("a head").to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.expect("a length").trim().parse().expect("a number");
    reply.get(end + 4..end + 4 + length)
}

/// Sends a request, and waits for the first byte of what comes.
fn say(port: u16, request: &str) -> std::io::Result<usize> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, END_MAX)?;
    stream.set_read_timeout(Some(END_MAX))?;
    stream.write_all(request.as_bytes())?;
    stream.read(&mut [0])
}

/// It sees our own page alone, so it needs no sandbox, which not every machine lets it have.
const FLAGS: &[&str] = &[
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// The longest that one step may take: a browser starts slowly where others start too.
const STEP_MAX: Duration = Duration::from_secs(30);

/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(5);
