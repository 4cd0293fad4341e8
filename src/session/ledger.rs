//! Which replies are owed, in order: what makes pipelines, virtual prepared statements and the
//! gateway's own errands tellable.
//!
//! Every request that goes upstream puts in one entry, and so does every reply that the
//! gateway makes up in between. The upstream's messages settle entries from the front. After
//! an error the upstream skips to the next `Sync`, and so does the ledger.
//!
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-EXT-QUERY>

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::described::Describing;
use super::effect::Effect;

/// One reply that is owed.
#[derive(Debug)]
pub enum Owed {
    /// A simple `Query` of the gateway's own: all of its reply is swallowed.
    Errand(Errand),
    /// A `Parse`, and the number of the statement if it is one of the gateway's named ones.
    Parse(Pass, Option<u64>),
    /// A `Bind`, and the client's name for the statement, which is not the connection's.
    Bind(Pass, Bytes),
    /// A `Describe` of a statement, and what has come of the description of a named one.
    DescribeStatement(Pass, Option<Box<Describing>>),
    /// A `Describe` of a portal.
    DescribePortal(Pass),
    /// An `Execute`, and what its success means for the session.
    Execute(Option<Box<Effect>>),
    /// One statement of a simple `Query` that went as it came, and what its success means; the
    /// `Sync` behind the last is the query's `ReadyForQuery`.
    Query(Option<Box<Effect>>),
    /// A simple `Query` whose statements cannot be told apart: all up to its `ReadyForQuery`.
    Text,
    /// A call by function number.
    Call,
    /// A statement of the gateway's own amid the client's, and what its success means: its rows
    /// are swallowed.
    Restore(Option<Box<Effect>>),
    /// A `Close`, and the number of the statement if it is one of the gateway's named ones.
    Close(Pass, Option<u64>),
    /// A `Sync`.
    Sync,
    /// The client's, and the upstream never hears of it: these bytes, in their turn.
    Invent(Bytes),
    /// The same for a request that gives a name a meaning, or takes it away.
    Confirm(Named, Bytes),
    /// The gateway's refusal amid other requests: a text that PostgreSQL cannot parse went
    /// upstream, so that the transaction fails there too, and this is told in place of its error.
    Poison(Bytes),
    /// From here on error positions move by so many characters.
    Shift(usize),
}

/// What has a name in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A prepared statement.
    Statement,
    /// A portal.
    Portal,
}

impl Owed {
    /// Whether it is what a statement of the client's returns.
    const fn is_statement(&self) -> bool {
        matches!(self, Self::Execute(_) | Self::Query(_) | Self::Text | Self::Call)
    }

    /// Whether the gateway itself owes it, and no upstream.
    const fn is_own(&self) -> bool {
        matches!(self, Self::Invent(_) | Self::Confirm(..) | Self::Shift(_))
    }
}

/// What the gateway asks for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The session's settings, set again.
    Settings,
    /// The client's deferred `BEGIN`.
    Begin,
    /// The end of a transaction that will be begun again.
    Rollback,
    /// Where in the log the primary is behind a transaction that wrote.
    Position,
    /// What of its temporary relations and advisory locks the session still has.
    Residue,
}

/// What becomes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The client asked: pass it on.
    Relay,
    /// The gateway asked for itself: drop it.
    Swallow,
    /// A simple query's description: pass rows' description on, but not that there are none.
    Rows,
}

/// What to do with one message of the upstream.
#[derive(Debug)]
pub enum Step {
    /// Pass it on, or not; nothing ends with it.
    Amid(bool),
    /// Pass it on, or not; with it ends this entry.
    Ends(bool, Owed),
    /// An errand failed: its error is dropped here and told in the session's own words.
    ErrandFailed(Errand),
    /// The statement failed: pass the error on, its position moved by so many characters. The
    /// entries up to the `Sync` are void.
    Fails(usize, Vec<Owed>),
    /// The poison worked: tell this instead. The entries up to the `Sync` are void.
    Poisoned(Bytes, Vec<Owed>),
    /// Nothing of the kind was owed: the upstream is out of step and must be closed.
    OutOfStep,
}

/// What the reply to a statement begins with, ahead of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// `BindComplete`.
    pub is_bound: bool,
    /// `RowDescription`.
    pub is_described: bool,
}

/// The replies owed, oldest first.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: VecDeque<Owed>,
    shift: usize,
    /// The client was told an error that the upstream knows nothing of: what comes up to the end
    /// of the exchange is not told.
    is_muted: bool,
    /// How many statements have been asked for since nothing was owed, and how many of those are
    /// over.
    asked: usize,
    over: usize,
}

impl Ledger {
    /// Whether nothing is owed.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.owed.is_empty()
    }

    /// What the reply to one statement, whose success has no effect, begins with, if that is all
    /// that is owed.
    #[must_use]
    pub fn owes_one(&self) -> Option<Beginning> {
        let mut owed = self.owed.iter();
        let mut beginning = Beginning { is_bound: false, is_described: true };
        let mut next = owed.next()?;
        if let Owed::Bind(Pass::Relay, _) = next {
            next = owed.next()?;
            beginning.is_bound = true;
            beginning.is_described = matches!(next, Owed::DescribePortal(Pass::Relay));
            if beginning.is_described {
                next = owed.next()?;
            }
            matches!(next, Owed::Execute(None)).then_some(())?;
        } else {
            matches!(next, Owed::Query(None)).then_some(())?;
        }
        let is_last = matches!(owed.next(), Some(Owed::Sync)) && owed.next().is_none();
        (is_last && !self.is_muted).then_some(beginning)
    }

    /// All of that has come, and it was no error.
    pub fn on_one_answered(&mut self) {
        self.owed.clear();
        self.over += 1;
    }

    /// What is owed next.
    #[must_use]
    pub fn front(&self) -> Option<&Owed> {
        self.owed.front()
    }

    /// The same, to be added to.
    #[must_use]
    pub fn front_mut(&mut self) -> Option<&mut Owed> {
        self.owed.front_mut()
    }

    /// Whether the gateway's question is answered next, or waits behind what is owed.
    #[must_use]
    pub fn asks(&self, errand: Errand) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Errand(asked) if *asked == errand))
    }

    /// Whether a statement is to be prepared under one of the gateway's names.
    #[must_use]
    pub fn prepares(&self) -> bool {
        self.owed.iter().any(|owed| matches!(owed, Owed::Parse(_, Some(_))))
    }

    /// The number that the next statement asked for will have, counted from zero since nothing
    /// was owed.
    #[must_use]
    pub fn next_number(&self) -> usize {
        if self.owed.is_empty() { 0 } else { self.asked }
    }

    /// The number of the statement that runs, or is about to.
    #[must_use]
    pub fn running(&self) -> Option<usize> {
        (self.over < self.asked).then_some(self.over)
    }

    /// Owes one more reply.
    pub fn owe(&mut self, owed: Owed) {
        if self.owed.is_empty() {
            (self.asked, self.over) = (0, 0);
        }
        self.asked += usize::from(owed.is_statement());
        self.owed.push_back(owed);
    }

    /// Forgets everything, for a connection that is given up.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Tells what the gateway itself owes, as far as it is its turn, and which changes of names
    /// are confirmed with it.
    pub fn pay(&mut self, out: &mut BytesMut, mut confirm: impl FnMut(Named)) {
        while let Some(owed) = self.owed.pop_front_if(|owed| owed.is_own()) {
            match owed {
                Owed::Invent(bytes) => out.extend_from_slice(&bytes),
                Owed::Confirm(named, bytes) => {
                    out.extend_from_slice(&bytes);
                    confirm(named);
                }
                Owed::Shift(characters) => self.shift = characters,
                _ => {}
            }
        }
    }

    /// An error came that is told to nobody: voids the entries up to the `Sync` and returns them.
    #[must_use]
    pub fn on_hidden_error(&mut self) -> Vec<Owed> {
        self.skip_to_sync()
    }

    /// An error was told that the upstream knows nothing of: voids the entries up to the `Sync`,
    /// returns them, and drops what the upstream answers up to there.
    #[must_use]
    pub fn on_contradicted(&mut self) -> Vec<Owed> {
        self.is_muted = true;
        self.skip_to_sync()
    }

    /// Takes in one message of the upstream, by its kind.
    pub fn on_reply(&mut self, tag: u8) -> Step {
        if self.is_muted && tag != b'Z' {
            return Step::Amid(false);
        }
        let Some(front) = self.owed.front() else { return Step::OutOfStep };
        match (front, tag) {
            (Owed::Errand(errand), b'E') => Step::ErrandFailed(*errand),
            (Owed::Errand(_), b'Z') => self.ends(false),
            (Owed::Errand(_), _) => Step::Amid(false),
            (Owed::Sync, b'E') => Step::Fails(self.shift, Vec::new()),
            (Owed::Poison(_), b'E') => self.poisoned(),
            (_, b'E') => Step::Fails(self.shift, self.skip_to_sync()),
            (Owed::Parse(pass, _), b'1')
            | (Owed::Bind(pass, _), b'2')
            | (Owed::Close(pass, _), b'3') => {
                let is_relayed = *pass == Pass::Relay;
                self.ends(is_relayed)
            }
            (Owed::DescribeStatement(pass, _), b't') => Step::Amid(*pass == Pass::Relay),
            (Owed::DescribeStatement(pass, _) | Owed::DescribePortal(pass), b'T') => {
                let is_relayed = *pass != Pass::Swallow;
                self.ends(is_relayed)
            }
            (Owed::DescribeStatement(pass, _) | Owed::DescribePortal(pass), b'n') => {
                let is_relayed = *pass == Pass::Relay;
                self.ends(is_relayed)
            }
            (Owed::Query(_), b'T') | (Owed::Text, b'T' | b'C' | b'I') => Step::Amid(true),
            (Owed::Text, b'Z') => {
                self.take_front();
                self.ends(true)
            }
            (Owed::Call, b'V') => self.ends(true),
            (Owed::Restore(_), b'D') => Step::Amid(false),
            (Owed::Restore(_), b'C') => self.ends(false),
            (Owed::Execute(_) | Owed::Query(_) | Owed::Text, b'D' | b'd' | b'H' | b'c' | b'G') => {
                Step::Amid(true)
            }
            (Owed::Execute(_) | Owed::Query(_), b'C' | b'I') | (Owed::Execute(_), b's') => {
                self.ends(true)
            }
            (Owed::Sync, b'Z') => {
                (self.shift, self.is_muted) = (0, false);
                self.ends(true)
            }
            _ => Step::OutOfStep,
        }
    }

    fn ends(&mut self, is_relayed: bool) -> Step {
        self.take_front().map_or(Step::OutOfStep, |owed| Step::Ends(is_relayed, owed))
    }

    fn take_front(&mut self) -> Option<Owed> {
        let owed = self.owed.pop_front()?;
        self.over += usize::from(owed.is_statement());
        Some(owed)
    }

    fn poisoned(&mut self) -> Step {
        let Some(Owed::Poison(told)) = self.owed.pop_front() else { return Step::OutOfStep };
        Step::Poisoned(told, self.skip_to_sync())
    }

    /// Voids all entries before the next `Sync`.
    fn skip_to_sync(&mut self) -> Vec<Owed> {
        let end = self.owed.iter().position(|owed| matches!(owed, Owed::Sync));
        let void: Vec<_> = self.owed.drain(..end.unwrap_or(self.owed.len())).collect();
        self.over += void.iter().filter(|owed| owed.is_statement()).count();
        void
    }
}

#[cfg(test)]
mod tests;
