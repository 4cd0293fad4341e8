//! The admin console: a database of the gateway's own, in which admins look at it as at PgBouncer.
//!
//! It answers `SHOW` alone and never touches an upstream. Both protocols are spoken, because
//! drivers choose; a statement is one word here, so nothing is prepared or cached.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, sleep_until};

use super::Shared;
use super::client::Client;
use super::control::{Control, Leave};
use super::show::Subject;
use super::startup::Arrival;
use crate::error::{FAREWELL_TIMEOUT, GatewayError};
use crate::sql::analyze::{Analysis, ReadStatement, Script};
use crate::sql::kind::{GatewayCommand, Kind};
use crate::wire::backend::{
    BIND_COMPLETE, CLOSE_COMPLETE, EMPTY_QUERY, NO_DATA, PARSE_COMPLETE, PORTAL_SUSPENDED,
    TextTable, put_backend_key, put_command_complete, put_parameter_status, put_ready,
};
use crate::wire::error_response::Severity;
use crate::wire::frame::Frame;
use crate::wire::frontend::{self, Bind, BodyError, Execute, Parse, Target};

/// One admin's conversation.
pub struct Console {
    client: Client,
    shared: Arc<Shared>,
    control: Arc<Control>,
    prepared: HashMap<Bytes, Asked>,
    portals: HashMap<Bytes, Portal>,
    is_skipping: bool,
}

/// What a statement asks for; `None` for an empty one.
type Asked = Option<Subject>;

/// A bound statement.
struct Portal {
    asked: Asked,
    /// The result formats, as in `Bind`: none is text, one is all columns', else one a column.
    formats: Vec<u16>,
    /// The answer, once it was asked for, and how many of its rows have been told.
    told: Option<(TextTable, usize)>,
}

impl Console {
    /// Serves an admin until the client leaves or the session must end.
    pub async fn serve(arrival: Arrival, shared: Arc<Shared>, control: Arc<Control>) {
        let Arrival { socket, leftover, database, parameters: _ } = arrival;
        let client = Client::new(socket, leftover, &shared.config).counted(&control);
        let mut console = Self {
            client,
            shared,
            control,
            prepared: HashMap::new(),
            portals: HashMap::new(),
            is_skipping: false,
        };
        if let Err(error) = console.converse().await {
            tracing::debug!(parent: &console.control.span(&database), label = error.label(), %error, "console session error");
            if !matches!(error, GatewayError::ClientLost(_)) {
                let mut reply = error.reply();
                reply.severity = Severity::Fatal;
                reply.put(&mut console.client.out);
                let _ = tokio::time::timeout(FAREWELL_TIMEOUT, console.client.flush()).await;
            }
        }
        console.client.close().await;
    }

    async fn converse(&mut self) -> Result<(), GatewayError> {
        self.greet();
        loop {
            let Some(frame) = self.client.take()? else {
                self.wait().await?;
                continue;
            };
            if self.is_skipping && !matches!(frame.tag, b'S' | b'X') {
                continue;
            }
            match frame.tag {
                b'Q' => self.on_query(&frame).await?,
                b'P' | b'B' | b'D' | b'E' | b'C' => self.on_extended(&frame).await?,
                b'S' => {
                    self.is_skipping = false;
                    // There is no transaction for a portal to live on in.
                    self.portals.clear();
                    put_ready(&mut self.client.out, b'I');
                }
                b'H' => self.client.flush().await?,
                b'X' => return Ok(()),
                // COPY data behind a COPY that failed: PostgreSQL ignores it, and so do we.
                b'd' | b'c' | b'f' => {}
                b'F' => {
                    GatewayError::ConsoleOnlyShows.reply().put(&mut self.client.out);
                    put_ready(&mut self.client.out, b'I');
                }
                tag => return Err(GatewayError::UnexpectedMessage(tag)),
            }
        }
    }

    /// What drivers need to be told, and no more than is true here.
    fn greet(&mut self) {
        let out = &mut self.client.out;
        for (name, value) in PARAMETERS {
            put_parameter_status(out, name.as_bytes(), value.as_bytes());
        }
        put_backend_key(out, self.control.pid, self.control.secret());
        put_ready(out, b'I');
    }

    /// Waits for the client, within its time limit.
    ///
    /// Not cancel-safe.
    async fn wait(&mut self) -> Result<(), GatewayError> {
        self.client.flush().await?;
        self.client.let_go();
        let deadline = self.shared.config.idle_timeout.map(|limit| Instant::now() + limit);
        let idled = async {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            filled = self.client.fill() => filled,
            () = self.control.asked_to(Leave::Soon) => Err(GatewayError::Draining),
            () = idled => Err(GatewayError::IdleTimeout),
        }
    }

    /// Answers a simple query: each statement in turn, up to the first that cannot be.
    async fn on_query(&mut self, frame: &Frame) -> Result<(), GatewayError> {
        let text = frontend::query(&frame.body).map_err(bad(frame))?;
        self.prepared.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        let analyses = match self.shared.analyze_script(&text).await {
            Script::One(analysis) => vec![analysis],
            Script::Many(analyses) => analyses.to_vec(),
        };
        for analysis in &analyses {
            let out = &mut self.client.out;
            match asked(analysis) {
                Ok(None) => out.extend_from_slice(&EMPTY_QUERY),
                Ok(Some(subject)) => {
                    let table = subject.answer(&self.shared);
                    table.put_typed_description(out, |_| false);
                    table.put_rows(out);
                }
                Err(error) => {
                    error.reply().put(out);
                    break;
                }
            }
        }
        put_ready(&mut self.client.out, b'I');
        Ok(())
    }

    /// Answers an extended message; after an error those behind it are void up to the `Sync`.
    async fn on_extended(&mut self, frame: &Frame) -> Result<(), GatewayError> {
        let outcome = match frame.tag {
            b'P' => self.on_parse(frontend::parse(&frame.body).map_err(bad(frame))?).await,
            b'B' => self.on_bind(frontend::bind(&frame.body).map_err(bad(frame))?),
            b'D' => self.on_describe(&frontend::target(&frame.body).map_err(bad(frame))?),
            b'E' => self.on_execute(&frontend::execute(&frame.body).map_err(bad(frame))?),
            _ => {
                match frontend::target(&frame.body).map_err(bad(frame))? {
                    Target::Statement(name) => drop(self.prepared.remove(&name)),
                    Target::Portal(name) => drop(self.portals.remove(&name)),
                }
                self.client.out.extend_from_slice(&CLOSE_COMPLETE);
                Ok(())
            }
        };
        match outcome {
            Err(error) if error.profile().severity == Severity::Fatal => return Err(error),
            Err(error) => {
                error.reply().put(&mut self.client.out);
                self.is_skipping = true;
            }
            Ok(()) => {}
        }
        self.control.seen.on_prepared(self.prepared.keys().filter(|name| !name.is_empty()).count());
        Ok(())
    }

    async fn on_parse(&mut self, parse: Parse) -> Result<(), GatewayError> {
        let Parse { name, text, types: _ } = parse;
        if !name.is_empty() && self.prepared.contains_key(&name) {
            return Err(GatewayError::DuplicateStatement(name.escape_ascii().to_string()));
        }
        let asked = match self.shared.analyze_script(&text).await {
            Script::One(analysis) => asked(&analysis)?,
            Script::Many(_) => return Err(GatewayError::ConsoleOnlyShows),
        };
        if self.prepared.len() >= NAMES_MAX {
            return Err(GatewayError::ConsoleFull { names_max: NAMES_MAX });
        }
        // The frame that the name came in may be large: keep it alone.
        self.prepared.insert(Bytes::copy_from_slice(&name), asked);
        self.client.out.extend_from_slice(&PARSE_COMPLETE);
        Ok(())
    }

    fn on_bind(&mut self, bind: Bind) -> Result<(), GatewayError> {
        let Bind { portal, statement, tail } = bind;
        let asked =
            self.prepared.get(&statement).copied().ok_or_else(|| {
                GatewayError::UnknownStatement(statement.escape_ascii().to_string())
            })?;
        let formats = formats(&tail, asked)
            .ok_or(GatewayError::BadBody { tag: b'B', error: BodyError::BadCount })?;
        if self.portals.len() >= NAMES_MAX {
            return Err(GatewayError::ConsoleFull { names_max: NAMES_MAX });
        }
        let bound = Portal { asked, formats, told: None };
        self.portals.insert(Bytes::copy_from_slice(&portal), bound);
        self.client.out.extend_from_slice(&BIND_COMPLETE);
        Ok(())
    }

    fn on_describe(&mut self, target: &Target) -> Result<(), GatewayError> {
        let out = &mut self.client.out;
        match target {
            Target::Statement(name) => {
                let asked = self.prepared.get(name).ok_or_else(|| {
                    GatewayError::UnknownStatement(name.escape_ascii().to_string())
                })?;
                // No parameters.
                out.extend_from_slice(b"t\0\0\0\x06\0\0");
                put_description(*asked, &[], out);
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| unknown_portal(name))?;
                put_description(portal.asked, &portal.formats, out);
            }
        }
        Ok(())
    }

    fn on_execute(&mut self, execute: &Execute) -> Result<(), GatewayError> {
        let out = &mut self.client.out;
        let portal = self.portals.get_mut(&execute.portal);
        let portal = portal.ok_or_else(|| unknown_portal(&execute.portal))?;
        let Some(subject) = portal.asked else {
            out.extend_from_slice(&EMPTY_QUERY);
            return Ok(());
        };
        let (table, from) = portal.told.get_or_insert_with(|| (subject.answer(&self.shared), 0));
        let rows_max = usize::try_from(execute.rows_max).ok().filter(|max| *max > 0);
        let left = table.rows.get(*from..).unwrap_or_default();
        let rows = left.get(..rows_max.unwrap_or(left.len())).unwrap_or(left);
        for row in rows {
            table.put_row(out, row, |at| is_binary(&portal.formats, at));
        }
        // As in PostgreSQL, where as many rows as were asked for suspend, also when they were all.
        match rows_max {
            Some(max) if rows.len() == max => out.extend_from_slice(&PORTAL_SUSPENDED),
            _ => put_command_complete(out, &table.tag),
        }
        *from += rows.len();
        Ok(())
    }
}

/// What a statement asks for.
fn asked(analysis: &Analysis) -> Result<Asked, GatewayError> {
    let name = match analysis {
        Analysis::Empty => return Ok(None),
        Analysis::Read(read) => show_name(read).ok_or(GatewayError::ConsoleOnlyShows)?,
        Analysis::Refused(refusal) if refusal.position().is_some() => {
            return Err(GatewayError::Refused(refusal.clone()));
        }
        Analysis::Refused(_) => return Err(GatewayError::ConsoleOnlyShows),
    };
    match Subject::of_console(name) {
        Some(subject) => Ok(Some(subject)),
        None => Err(GatewayError::UnknownConsoleShow(name.to_owned())),
    }
}

/// The name behind SHOW, in lower case; the prefix that other sessions need may be there.
fn show_name(read: &ReadStatement) -> Option<&str> {
    match read.kind() {
        Kind::Show { name } | Kind::Gateway(GatewayCommand::Show(name)) => Some(name),
        _ => None,
    }
}

/// The result formats at the end of a `Bind`, whose other parts must be empty; `None` when they
/// are not, or do not fit.
fn formats(tail: &[u8], asked: Asked) -> Option<Vec<u16>> {
    let count = |bytes: &[u8; 2]| usize::from(u16::from_be_bytes(*bytes));
    let (parameter_formats, rest) = tail.split_first_chunk::<2>()?;
    let rest = rest.get(count(parameter_formats) * 2..)?;
    let ([0, 0], rest) = rest.split_first_chunk::<2>()? else { return None };
    let (number, rest) = rest.split_first_chunk::<2>()?;
    let formats = rest.as_chunks::<2>().0.iter().map(|format| u16::from_be_bytes(*format));
    let formats: Vec<_> = formats.take(count(number)).collect();
    let columns = asked.map_or(0, |subject| subject.describe().columns.len());
    let fits = matches!(formats.len(), 0 | 1) || formats.len() == columns;
    (fits && formats.iter().all(|format| *format <= 1)).then_some(formats)
}

fn is_binary(formats: &[u16], at: usize) -> bool {
    match formats {
        [all] => *all == 1,
        each => each.get(at) == Some(&1),
    }
}

fn put_description(asked: Asked, formats: &[u16], out: &mut BytesMut) {
    match asked {
        Some(subject) => subject.describe().put_typed_description(out, |at| is_binary(formats, at)),
        None => out.extend_from_slice(&NO_DATA),
    }
}

fn bad(frame: &Frame) -> impl Fn(BodyError) -> GatewayError {
    let tag = frame.tag;
    move |error| GatewayError::BadBody { tag, error }
}

fn unknown_portal(name: &[u8]) -> GatewayError {
    GatewayError::UnknownPortal(name.escape_ascii().to_string())
}

/// How many statements, and how many portals, one session of the console may name.
const NAMES_MAX: usize = 64;

/// What the console reports of itself. Drivers ask for the first five before they do anything.
const PARAMETERS: [(&str, &str); 8] = [
    ("server_version", concat!(env!("CARGO_PKG_VERSION"), "/pgsluice")),
    ("client_encoding", "UTF8"),
    ("server_encoding", "UTF8"),
    ("DateStyle", "ISO"),
    ("standard_conforming_strings", "on"),
    ("integer_datetimes", "on"),
    ("TimeZone", "UTC"),
    ("is_superuser", "off"),
];
