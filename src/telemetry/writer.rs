//! Lines for a file, written by a thread of their own: nobody waits for a disk.
//!
//! What comes goes to a queue of so many items. When that is full, or the disk is, items are lost,
//! and counted as such; the file always ends with a whole line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tracing::{info, warn};

/// Makes lines of items.
pub trait Lines: Send + 'static {
    /// What lines are made of.
    type Item: Send + 'static;

    /// Puts the lines of `item` behind `out`, each with its end. Before it, so many were lost that
    /// no line has told yet.
    fn put(&mut self, item: &Self::Item, lost: u64, out: &mut Vec<u8>);

    /// How many an item counts for.
    fn count(item: &Self::Item) -> u64;

    /// The next line is the first of a file, or what was put last was not written.
    fn on_new_file(&mut self) {}
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Behind those of a file.
    File {
        /// Its path.
        path: PathBuf,
        /// The most that the file and the one before it may take together, in bytes: at half of
        /// that it is renamed to `….1`, in the place of an older one. `None` for any size.
        bytes_max: Option<u64>,
    },
    /// To standard output.
    Stdout,
    /// To standard error.
    Stderr,
}

/// Writes lines; when it is dropped, what is in the queue is still written.
#[derive(Debug)]
pub struct LineWriter<T> {
    queue: SyncSender<Told<T>>,
    shared: Arc<Shared>,
    // A lock because `Receiver` is not to be shared; taken once, at the end.
    ended: Mutex<Receiver<()>>,
}

#[derive(Debug)]
enum Told<T> {
    Item(T),
    /// To look at the switches.
    Look,
}

#[derive(Debug, Default)]
struct Shared {
    written: AtomicU64,
    lost: AtomicU64,
    is_to_reopen: AtomicBool,
    is_to_end: AtomicBool,
}

impl<T: Send + 'static> LineWriter<T> {
    /// Opens `place`, for at most `queue_max` items that wait.
    ///
    /// # Errors
    /// When it cannot be opened, or no thread can be made.
    pub fn start<L: Lines<Item = T>>(place: Place, lines: L, queue_max: usize) -> io::Result<Self> {
        let output = Output::open(&place)?;
        let (queue, items) = sync_channel(queue_max);
        let (end, ended) = sync_channel(1);
        let shared = Arc::new(Shared::default());
        let scribe = Scribe {
            place,
            output,
            lines,
            shared: Arc::clone(&shared),
            told: 0,
            out: Vec::new(),
            waiting: 0,
            is_failing: false,
        };
        thread::Builder::new().name("lines".to_owned()).spawn(move || {
            scribe.work(&items);
            // Nobody listens who has given up already.
            let _ = end.send(());
        })?;
        Ok(Self { queue, shared, ended: Mutex::new(ended) })
    }

    /// Has an item written, or loses it where the queue is full. It counts for so many.
    pub fn offer(&self, item: T, count: u64) {
        if self.queue.try_send(Told::Item(item)).is_err() {
            self.shared.lost.fetch_add(count, Ordering::Relaxed);
        }
    }

    /// The file may have been moved away: opens it again.
    pub fn reopen(&self) {
        self.shared.is_to_reopen.store(true, Ordering::Relaxed);
        self.nudge();
    }

    /// Waits until what is in the queue is written, but not for longer than `limit`. Nothing more
    /// is to be offered.
    pub fn finish(&self, limit: Duration) {
        self.shared.is_to_end.store(true, Ordering::Relaxed);
        self.nudge();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(limit).is_err() {
            warn!("lines were not written in time at the end");
        }
    }

    /// How much was written, and how much was lost.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (of(&self.shared.written), of(&self.shared.lost))
    }

    fn nudge(&self) {
        match self.queue.try_send(Told::Look) {
            // A full queue is looked at anyway.
            Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
        }
    }
}

/// Whether `path` can be a file of lines, as far as that can be told without making one.
///
/// # Errors
/// When it cannot: why.
pub fn check(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(_) => open(path, false).map(|_| ()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            match fs::metadata(folder)?.is_dir() {
                true => Ok(()),
                false => Err(io::ErrorKind::NotADirectory.into()),
            }
        }
        Err(error) => Err(error),
    }
}

/// The thread's side of it.
struct Scribe<L> {
    place: Place,
    output: Output,
    lines: L,
    shared: Arc<Shared>,
    /// How many losses a line has told.
    told: u64,
    /// Lines that are not written yet, of so many.
    out: Vec<u8>,
    waiting: u64,
    is_failing: bool,
}

impl<L: Lines> Scribe<L> {
    fn work(mut self, items: &Receiver<Told<L::Item>>) {
        while let Ok(first) = items.recv() {
            if self.shared.is_to_reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            let mut next = Some(first);
            while let Some(told) = next {
                if let Told::Item(item) = told {
                    self.put(&item);
                }
                next = if self.out.len() < BATCH_BYTES { items.try_recv().ok() } else { None };
            }
            self.flush();
            if self.shared.is_to_end.load(Ordering::Relaxed) {
                while let Ok(told) = items.try_recv() {
                    if let Told::Item(item) = told {
                        self.put(&item);
                    }
                }
                return self.flush();
            }
        }
    }

    fn put(&mut self, item: &L::Item) {
        let count = L::count(item);
        let lost = self.shared.lost.load(Ordering::Relaxed);
        let before = self.out.len();
        self.lines.put(item, lost - self.told, &mut self.out);
        if let Some(most) = self.output.half_max
            && self.output.bytes + length(&self.out) > most
        {
            self.out.truncate(before);
            self.flush();
            let is_turned = self.turn();
            self.lines.put(item, lost - self.told, &mut self.out);
            if !is_turned || length(&self.out) > most {
                self.out.clear();
                self.lines.on_new_file();
                self.shared.lost.fetch_add(count, Ordering::Relaxed);
                return;
            }
        }
        self.told = lost;
        self.waiting += count;
    }

    fn flush(&mut self) {
        if self.out.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.waiting);
        match self.output.write(&self.out) {
            Ok(()) => {
                self.shared.written.fetch_add(waiting, Ordering::Relaxed);
                if std::mem::take(&mut self.is_failing) {
                    info!(place = %self.place.shown(), "lines are written again");
                }
            }
            Err(error) => {
                self.lines.on_new_file();
                self.shared.lost.fetch_add(waiting, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(place = %self.place.shown(), %error, "lines cannot be written: they are lost");
                }
            }
        }
        self.out.clear();
        self.out.shrink_to(2 * BATCH_BYTES);
    }

    /// Begins a new file, in the place of one that is full. Says whether that was possible.
    fn turn(&mut self) -> bool {
        let Place::File { path, .. } = &self.place else { return true };
        let renamed = match fs::rename(path, before(path)) {
            // Somebody moved it away, or there was no new one to be had when it was renamed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            renamed => renamed,
        };
        let turned = renamed.and_then(|()| Output::open(&self.place));
        self.lines.on_new_file();
        match turned {
            Ok(output) => {
                self.output = output;
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    warn!(file = %path.display(), %error, "no new file can be begun: lines are lost");
                }
                false
            }
        }
    }

    fn reopen(&mut self) {
        self.flush();
        match Output::open(&self.place) {
            Ok(output) => {
                self.output = output;
                self.lines.on_new_file();
            }
            Err(error) => {
                warn!(place = %self.place.shown(), %error, "not opened again: the old file stays");
            }
        }
    }
}

/// The name under which a file goes on that was full.
#[must_use]
pub fn before(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl Place {
    fn shown(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stdout => "stdout".to_owned(),
            Self::Stderr => "stderr".to_owned(),
        }
    }
}

/// What is open.
struct Output {
    /// `None` for a standard stream.
    file: Option<File>,
    is_stderr: bool,
    /// How long the file is, in bytes.
    bytes: u64,
    half_max: Option<u64>,
}

impl Output {
    fn open(place: &Place) -> io::Result<Self> {
        let is_stderr = *place == Place::Stderr;
        let Place::File { path, bytes_max } = place else {
            return Ok(Self { file: None, is_stderr, bytes: 0, half_max: None });
        };
        let mut file = open(path, true)?;
        let mut output = Self { file: None, is_stderr, bytes: 0, half_max: None };
        if file.metadata()?.is_file() {
            output.bytes = file.seek(SeekFrom::End(0))?;
            output.half_max = bytes_max.map(|bytes_max| bytes_max / 2);
            let mut last = [b'\n'];
            if output.bytes > 0 {
                file.seek(SeekFrom::End(-1))?;
                file.read_exact(&mut last)?;
            }
            if last != [b'\n'] {
                // Whoever wrote it did not come to the end of the line.
                file.write_all(b"\n")?;
                output.bytes += 1;
            }
        }
        Ok(Self { file: Some(file), ..output })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let Some(file) = &mut self.file else {
            if self.is_stderr {
                return io::stderr().lock().write_all(lines);
            }
            let mut stdout = io::stdout().lock();
            return stdout.write_all(lines).and_then(|()| stdout.flush());
        };
        match file.write_all(lines) {
            Ok(()) => {
                self.bytes += length(lines);
                Ok(())
            }
            Err(error) => {
                // A part may be there. What is no file cannot be cut, and needs not be.
                let _ = file.set_len(self.bytes);
                Err(error)
            }
        }
    }
}

fn open(path: &Path, may_make: bool) -> io::Result<File> {
    let kind = fs::metadata(path).map(|found| found.file_type());
    // Opening a pipe waits for who reads it.
    if kind.is_ok_and(|kind| kind.is_dir() || std::os::unix::fs::FileTypeExt::is_fifo(&kind)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a folder or a pipe"));
    }
    OpenOptions::new().read(true).append(true).create(may_make).mode(0o600).open(path)
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// So much is written at once, in bytes, or one item more.
const BATCH_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
