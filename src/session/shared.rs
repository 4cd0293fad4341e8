//! What all sessions share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::time::Instant;

use super::about::About;
use super::config::SessionConfig;
use super::control::Registry;
use super::interner::Interner;
use super::ruling::Rules;
use super::stats::{Stats, Totals};
use crate::cache::{Cache, Epochs, ReadAt};
use crate::freshness::floors::Floors;
use crate::sql::Call;
use crate::sql::analyze::{Analysis, Analyzer, ReadStatement, Script};
use crate::sql::catalog::{CatalogSnapshot, CatalogVerdict};
use crate::sql::refusal::Refusal;
use crate::sql::writes::effects::Written;
use crate::sql::writes::{Classified, Statement};
use crate::upstream::catalog::Catalog;
use crate::upstream::parameters::Parameters;
use crate::upstream::pool::Lease;
use crate::upstream::settings::Settings;
use crate::upstream::upstreams::{Shown, Upstreams};

/// What all sessions share.
pub struct Shared {
    /// The sessions' limits.
    pub config: SessionConfig,
    /// The database that is served.
    pub database: String,
    /// The role that the gateway signs in as upstream.
    pub role: String,
    /// Proves statements.
    pub analyzer: Analyzer,
    /// Replies.
    pub cache: Cache,
    /// The pools of connections.
    pub upstreams: Upstreams,
    /// The database's own functions; `None` where no upstream is real.
    pub catalog: Option<Arc<Catalog>>,
    /// Named statements.
    pub interner: Interner,
    /// The sessions.
    pub registry: Arc<Registry>,
    /// What upstreams report for the start-up settings met before.
    pub greetings: Greetings,
    /// The writes acknowledged, counted for whoever must see them.
    pub ticks: Floors,
    /// How often tables were written.
    pub epochs: Epochs,
    /// The operator's rules.
    pub rules: Rules,
    /// What is counted of all sessions.
    pub stats: Stats,
    /// What the operator configured, for those who ask.
    pub about: About,
}

impl Shared {
    /// Analyses a text. A long one is analysed beside the event loop, where it holds up nobody.
    pub async fn analyze_script(self: &Arc<Self>, text: &Bytes) -> Script {
        if text.len() <= INLINE_BYTES_MAX {
            return self.analyzer.analyze_script(text);
        }
        let (shared, own) = (Arc::clone(self), text.clone());
        let analysis = tokio::task::spawn_blocking(move || shared.analyzer.analyze_script(&own));
        // The task ends without a result only when it panics: then nothing is proven.
        analysis.await.unwrap_or(Script::One(Analysis::Refused(Refusal::TooTangled)))
    }

    /// The same for the text of a `Query`, which is gone when it has run.
    pub async fn analyze_query(self: &Arc<Self>, text: &Bytes) -> Script {
        match text.len() <= INLINE_BYTES_MAX {
            true => self.analyzer.analyze_passing(text),
            false => self.analyze_script(text).await,
        }
    }

    /// The same for users who may write.
    pub async fn classify(self: &Arc<Self>, text: &Bytes) -> Classified {
        if text.len() <= INLINE_BYTES_MAX {
            return self.analyzer.classify(text);
        }
        let (shared, own) = (Arc::clone(self), text.clone());
        let classified = tokio::task::spawn_blocking(move || shared.analyzer.classify(&own)).await;
        classified.unwrap_or(Classified::One(Statement::Refused(Refusal::TooTangled)))
    }

    /// The stamp of the tables that a read names. It is another one on each new timeline: what was
    /// read before may show what is lost, and positions mean other records.
    #[must_use]
    pub fn stamp(&self, read: &ReadStatement) -> u64 {
        let tables = self.epochs.stamp(read.tables().iter().map(|table| table.name.as_str()));
        tables + (self.upstreams.generation() << GENERATION_SHIFT)
    }

    /// What a read shows that begins now on this connection; `None` where that is not known.
    #[must_use]
    pub fn read_at(&self, lease: &Lease) -> Option<ReadAt> {
        Some(match self.upstreams.shown_by(lease.upstream())? {
            Shown::All => ReadAt::Primary { tick: self.ticks.global() },
            Shown::UpTo(lsn) => ReadAt::Replica { lsn },
        })
    }

    /// Others can see from now on that this was written.
    pub fn on_written(&self, written: &Written) {
        match written {
            Written::Named(tables) => {
                self.epochs.on_written(tables.iter().map(|table| table.name.as_str()));
            }
            Written::Unknown => self.epochs.on_all_written(),
        }
    }

    /// Something was defined or altered: what the catalogs said before this may not be so.
    pub fn on_defined(&self) {
        if let Some(catalog) = &self.catalog {
            catalog.on_changed();
        }
    }

    /// What [`Self::check_catalog`] says, as far as the catalog was read by now, and the names that
    /// it would be read again for.
    pub fn look_at_catalog(&self, read: &ReadStatement) -> (Result<(), Refusal>, Vec<String>) {
        let Some(catalog) = &self.catalog else { return (Ok(()), Vec::new()) };
        let snapshot = catalog.snapshot();
        let is_unknown = |call: &&Call| !call.is_builtin && !snapshot.knows(&call.name);
        let unknown = read.calls().iter().filter(is_unknown).map(|call| call.name.clone());
        (check(&snapshot, read), unknown.collect())
    }

    /// Closes the minutes of the journal that are over, beside the event loop.
    pub fn look_after_journal(self: &Arc<Self>) {
        let shared = Arc::clone(self);
        // Of several at once each waits for the one before it.
        drop(tokio::task::spawn_blocking(move || {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
            shared.stats.journal.on_tick(since.unwrap_or_default().as_secs() / 60);
        }));
    }

    /// A period of the averages ended.
    pub fn on_period(&self) {
        self.stats.on_period(self.totals(), Instant::now());
    }

    /// What all sessions together have counted.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let acquires = self.upstreams.iter().map(|upstream| upstream.counts().acquires).sum();
        self.stats.totals(self.registry.totals(), acquires)
    }

    /// Asks the catalog about the functions and operators that the database itself defines.
    ///
    /// # Errors
    /// When one of them may have an effect.
    pub async fn check_catalog(&self, read: &ReadStatement) -> Result<(), Refusal> {
        let Some(catalog) = &self.catalog else { return Ok(()) };
        if read.calls().is_empty() && catalog.is_plain() {
            return Ok(());
        }
        let snapshot = catalog.snapshot();
        let is_unknown = |call: &Call| !call.is_builtin && !snapshot.knows(&call.name);
        if !read.calls().iter().any(is_unknown) {
            return check(&snapshot, read);
        }
        // The function may be newer than the snapshot. Where that cannot be found out, refuse.
        if Box::pin(catalog.refresh_if_older_than(UNKNOWN_CALL_AGE)).await.is_err() {
            let unknown = read.calls().iter().find(|call| is_unknown(call));
            return Err(Refusal::Function {
                name: unknown.map_or_else(String::new, |call| call.name.clone()),
            });
        }
        check(&catalog.snapshot(), read)
    }
}

/// Beyond what tables are ever written: a million times a second for a week.
const GENERATION_SHIFT: u32 = 40;

/// The longest text that is analysed on the event loop, in bytes: some tens of microseconds.
const INLINE_BYTES_MAX: usize = 4 << 10;

/// How old the catalog may be for a statement that calls a name which it does not know.
const UNKNOWN_CALL_AGE: Duration = Duration::from_secs(1);

fn check(snapshot: &CatalogSnapshot, read: &ReadStatement) -> Result<(), Refusal> {
    let is_harmful = |call: &&Call| match call.is_builtin {
        true => snapshot.shadows_builtin(&call.name),
        false => snapshot.verdict(&call.name) != CatalogVerdict::Harmless,
    };
    if let Some(call) = read.calls().iter().find(is_harmful) {
        return Err(Refusal::Function { name: call.name.clone() });
    }
    if snapshot.is_plain() {
        return Ok(());
    }
    if let Some(name) = read.operators().iter().find(|op| snapshot.operator_is_harmful(op)) {
        return Err(Refusal::Operator { name: name.clone() });
    }
    match read.attributes().iter().find(|name| snapshot.attribute_is_harmful(name)) {
        Some(name) => Err(Refusal::Function { name: name.clone() }),
        None => Ok(()),
    }
}

/// What upstreams report to a session that starts with certain settings.
///
/// So a client with settings met before is greeted without a connection. What has changed
/// upstream since then reaches it with its first reply.
#[derive(Debug, Default)]
pub struct Greetings {
    // A lock because all sessions share it; held for one look-up a session.
    known: Mutex<HashMap<(bool, Vec<u8>), Greeting>>,
}

impl Greetings {
    /// What to tell a session with these settings, if that is known.
    #[must_use]
    pub fn find(&self, is_writer: bool, settings: &Settings) -> Option<Greeting> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(&(is_writer, settings.to_key())).cloned()
    }

    /// Remembers what was reported.
    pub fn on_reported(&self, is_writer: bool, settings: &Settings, parameters: Parameters) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= GREETINGS_MAX {
            known.clear();
        }
        let greeting = Greeting { settings: settings.clone(), parameters };
        known.insert((is_writer, greeting.settings.to_key()), greeting);
    }
}

/// What all sessions that start with the same settings have in common.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The settings: to hold these saves memory, and to compare them with a connection's time.
    pub settings: Settings,
    /// What the upstream reports.
    pub parameters: Parameters,
}

/// How many different sets of start-up settings are remembered.
const GREETINGS_MAX: usize = 1_000;
