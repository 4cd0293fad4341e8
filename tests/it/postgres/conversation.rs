//! Conversations as data: the same bytes for a server and for the gateway, and what came back.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use futures::FutureExt;

use crate::support::client::Client;
use crate::support::messages::{Message, execute, field, message, parse, query, sync};

/// What a client says in one session, in steps that each wait for their reply.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) steps: Vec<Step>,
}

/// Bytes, and how far the reply to them is read.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) bytes: Vec<u8>,
    pub(super) until: Until,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// `ReadyForQuery`.
    Ready,
    /// So many messages, for what ends in a `Flush`.
    Messages(usize),
}

/// What came back, step by step.
pub(super) type Transcript = Vec<Vec<Message>>;

/// Simple queries, one after the other.
pub(super) fn simple(name: &str, queries: &[&str]) -> Case {
    batches(name, queries.iter().map(|sql| query(sql)))
}

/// Pieces that each end in a `Query` or a `Sync`.
pub(super) fn batches(name: &str, batches: impl IntoIterator<Item = Vec<u8>>) -> Case {
    let step = |bytes| Step { bytes, until: Until::Ready };
    Case { name: name.to_owned(), steps: batches.into_iter().map(step).collect() }
}

/// One statement through the extended protocol, unnamed, described, to its end.
pub(super) fn extended(sql: &str, parameters: &[Value<'_>], result_format: u16) -> Vec<u8> {
    let parts = [
        parse("", sql, &[]),
        bind("", "", parameters, &[result_format]),
        crate::support::messages::describe(b'P', ""),
        execute("", 0),
        sync(),
    ];
    parts.concat()
}

/// A parameter: its format and its bytes.
pub(super) type Value<'a> = (u16, Option<&'a [u8]>);

/// A `Bind` with a format of its own for every parameter and every result column.
pub(super) fn bind(
    portal: &str,
    statement: &str,
    values: &[Value<'_>],
    results: &[u16],
) -> Vec<u8> {
    let count = |count: usize| u16::try_from(count).expect("a short list").to_be_bytes();
    let mut body = [portal.as_bytes(), &[0], statement.as_bytes(), &[0]].concat();
    body.extend(count(values.len()));
    body.extend(values.iter().flat_map(|(format, _)| format.to_be_bytes()));
    body.extend(count(values.len()));
    for (_, value) in values {
        let length = value.map_or(-1, |value| i32::try_from(value.len()).expect("a short value"));
        body.extend(length.to_be_bytes());
        body.extend(value.unwrap_or_default());
    }
    body.extend(count(results.len()));
    body.extend(results.iter().flat_map(|format| format.to_be_bytes()));
    message(b'B', &body)
}

/// The lines of a file of `tests/corpus`, without comments, their escapes undone.
pub(super) fn lines(file: &str) -> Vec<String> {
    let path = Path::new("tests/corpus").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"));
    let is_case =
        |line: &&str| !line.is_empty() && (!line.starts_with('#') || line.starts_with("#= "));
    text.lines().filter(is_case).map(unescaped).collect()
}

fn unescaped(line: &str) -> String {
    let mut text = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        text.push(match (character, characters.clone().next()) {
            ('\\', Some(escaped)) => {
                characters.next();
                match escaped {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'v' => '\u{b}',
                    other => other,
                }
            }
            (plain, _) => plain,
        });
    }
    text
}

impl Step {
    pub(super) async fn play(&self, client: &mut Client) -> Vec<Message> {
        client.send(&self.bytes).await;
        let Until::Messages(count) = self.until else { return client.until_ready().await };
        let mut messages = Vec::new();
        while messages.len() < count {
            messages.push(client.receive().await);
        }
        messages
    }
}

impl Case {
    /// Says it all.
    pub(super) async fn play(&self, client: &mut Client) -> Transcript {
        let mut transcript = Vec::new();
        let playing = async {
            for step in &self.steps {
                transcript.push(step.play(client).await);
            }
        };
        // What stops here differs, and is told with what else does.
        let _ = AssertUnwindSafe(playing).catch_unwind().await;
        transcript
    }

    /// The same inside a transaction block.
    pub(super) fn in_block(&self) -> Self {
        let step = |sql| Step { bytes: query(sql), until: Until::Ready };
        let (begin, end) = (vec![step("BEGIN")], vec![step("ROLLBACK"), step("SELECT 1")]);
        let name = format!("{} in a block", self.name);
        Self { name, steps: [begin, self.steps.clone(), end].concat() }
    }
}

/// Whether the session is outside a block after this reply.
pub(super) fn is_idle(reply: &[Message]) -> bool {
    reply.last().is_some_and(|(tag, body)| *tag == b'Z' && body == b"I")
}

/// How two transcripts differ; `None` when they do not.
///
/// All that is overlooked is the place in PostgreSQL's source that an error names: the gateway's
/// own errors name none, and simple queries reach the server as extended messages (so that it
/// refuses a second statement), which take other turns there. And the order of settings that are
/// reported one behind the other, which no server promises.
pub(super) fn difference(expected: &Transcript, seen: &Transcript) -> Option<String> {
    for (step, (expected, seen)) in expected.iter().zip(seen).enumerate() {
        let (expected, seen) = (in_order(expected), in_order(seen));
        for at in 0..expected.len().max(seen.len()) {
            let (expected, seen) = (expected.get(at), seen.get(at));
            let is_same = match (expected, seen) {
                (Some((b'E', expected)), Some((b'E', seen)))
                | (Some((b'N', expected)), Some((b'N', seen))) => {
                    expected == seen
                        || is_source_ours(seen) && without_source(expected) == without_source(seen)
                }
                (expected, seen) => expected == seen,
            };
            if !is_same {
                let (expected, seen) = (shown(expected), shown(seen));
                return Some(format!(
                    "step {step}, message {at}:\n  direct  {expected}\n  gateway {seen}"
                ));
            }
        }
    }
    let (expected, seen) = (expected.len(), seen.len());
    (expected != seen).then(|| format!("{expected} steps directly, {seen} through the gateway"))
}

fn in_order(reply: &[Message]) -> Vec<Message> {
    let mut reply = reply.to_vec();
    let runs = reply.chunk_by_mut(|(one, _), (next, _)| (*one, *next) == (b'S', b'S'));
    runs.for_each(<[Message]>::sort);
    reply
}

fn is_source_ours(error: &[u8]) -> bool {
    let routine = field(error, b'R');
    routine.is_none_or(|routine| EXTENDED_ROUTINES.contains(&routine.as_str()))
}

/// Those in which simple queries and extended messages take different turns.
const EXTENDED_ROUTINES: [&str; 6] = [
    "exec_parse_message",
    "exec_bind_message",
    "exec_execute_message",
    "variable_paramref_hook",
    "CheckTransactionBlock",
    "EndTransactionBlock",
];

fn without_source(error: &[u8]) -> Vec<&[u8]> {
    let is_kept = |field: &&[u8]| !matches!(field.first(), Some(b'F' | b'L' | b'R'));
    error.split(|byte| *byte == 0).filter(is_kept).collect()
}

fn shown(message: Option<&Message>) -> String {
    let Some((tag, body)) = message else { return "nothing".to_owned() };
    let body = &body[..body.len().min(300)];
    format!("{} {}", char::from(*tag), body.escape_ascii())
}
