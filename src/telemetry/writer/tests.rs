//! Lines arrive, in order and whole, or are counted as lost.

use std::sync::mpsc::channel;

use super::*;

/// Lines of numbers; each waits until it may be made.
struct Numbers {
    may_go: Receiver<()>,
    is_gated: bool,
}

impl Numbers {
    fn free() -> Self {
        Self { may_go: channel().1, is_gated: false }
    }
}

impl Lines for Numbers {
    type Item = u64;

    fn put(&mut self, item: &u64, lost: u64, out: &mut Vec<u8>) {
        if self.is_gated {
            self.may_go.recv_timeout(WAIT_MAX).unwrap();
        }
        if lost > 0 {
            out.extend_from_slice(format!("lost {lost}\n").as_bytes());
        }
        out.extend_from_slice(format!("line {item:06}\n").as_bytes());
    }

    fn count(_: &u64) -> u64 {
        1
    }
}

/// A folder of its own, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("pgsluice-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("lines")
    }

    fn place(&self, bytes_max: Option<u64>) -> Place {
        Place::File { path: self.file(), bytes_max }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'), "{text:?}");
    text.lines().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

#[test]
fn lines_come_behind_those_that_are_there() {
    let folder = Folder::new("writer-append");
    fs::write(folder.file(), "line 000001\nhalf a li").unwrap();
    let writer = LineWriter::start(folder.place(None), Numbers::free(), 100).unwrap();
    (2..50).for_each(|number| writer.offer(number, 1));
    writer.finish(WAIT_MAX);
    assert_eq!(numbers(&folder.file()), (1..50).collect::<Vec<_>>());
    assert_eq!(writer.counts(), (48, 0));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(folder.file()).unwrap().permissions(),
    );
    assert_eq!(mode & 0o100, 0);
}

#[test]
fn a_full_file_makes_room_and_both_stay_below_the_bound() {
    let folder = Folder::new("writer-turn");
    let writer = LineWriter::start(folder.place(Some(1_000)), Numbers::free(), 1_000).unwrap();
    (0..500).for_each(|number| writer.offer(number, 1));
    writer.finish(WAIT_MAX);
    let (old, new) = (numbers(&before(&folder.file())), numbers(&folder.file()));
    let all: Vec<_> = old.iter().chain(&new).copied().collect();
    assert_eq!(all, (500 - all.len() as u64..500).collect::<Vec<_>>(), "the last ones, in order");
    assert!(all.len() > 41 && all.len() <= 83, "{}", all.len());
    assert_eq!(writer.counts(), (500, 0));
    assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 2);
}

#[test]
fn a_slow_disk_loses_what_does_not_fit_and_says_so() {
    let folder = Folder::new("writer-slow");
    let (go, may_go) = channel();
    let lines = Numbers { may_go, is_gated: true };
    let writer = LineWriter::start(folder.place(None), lines, 10).unwrap();
    (0..100).for_each(|number| writer.offer(number, 1));
    let (_, lost) = writer.counts();
    assert!((89..=90).contains(&lost), "ten wait, and one may be under way: {lost}");
    (0..200).for_each(|_| go.send(()).unwrap());
    writer.finish(WAIT_MAX);
    let told = fs::read_to_string(folder.file()).unwrap();
    let sum: u64 =
        told.lines().filter_map(|line| line.strip_prefix("lost ")?.parse::<u64>().ok()).sum();
    assert_eq!((writer.counts(), sum), ((100 - lost, lost), lost));
}

#[test]
fn a_full_disk_loses_everything_and_ends_nothing() {
    let place = Place::File { path: "/dev/full".into(), bytes_max: None };
    let writer = LineWriter::start(place, Numbers::free(), 100).unwrap();
    (0..60).for_each(|number| writer.offer(number, 1));
    writer.finish(WAIT_MAX);
    assert_eq!(writer.counts(), (0, 60));
}

#[test]
fn a_file_that_was_moved_away_is_begun_anew() {
    let folder = Folder::new("writer-reopen");
    let writer = LineWriter::start(folder.place(None), Numbers::free(), 100).unwrap();
    writer.offer(1, 1);
    while writer.counts().0 < 1 {
        thread::yield_now();
    }
    let moved = folder.0.join("moved");
    fs::rename(folder.file(), &moved).unwrap();
    writer.offer(2, 1);
    while writer.counts().0 < 2 {
        thread::yield_now();
    }
    writer.reopen();
    writer.offer(3, 1);
    writer.finish(WAIT_MAX);
    assert_eq!((numbers(&moved), numbers(&folder.file())), (vec![1, 2], vec![3]));
}

#[test]
fn a_file_that_is_gone_when_it_is_full_is_begun_anew() {
    let folder = Folder::new("writer-gone");
    let writer = LineWriter::start(folder.place(Some(1_000)), Numbers::free(), 1_000).unwrap();
    fs::remove_file(folder.file()).unwrap();
    (0..100).for_each(|number| writer.offer(number, 1));
    writer.finish(WAIT_MAX);
    assert_eq!(writer.counts(), (100, 0));
    assert_eq!(numbers(&folder.file()).last(), Some(&99));
}

#[test]
fn what_cannot_be_written_to_is_told_at_once() {
    let folder = Folder::new("writer-bad");
    for path in [folder.0.clone(), folder.0.join("none/lines")] {
        assert!(check(&path).is_err(), "{}", path.display());
        let place = Place::File { path, bytes_max: None };
        assert!(LineWriter::start(place, Numbers::free(), 1).is_err());
    }
    assert!(check(&folder.file()).is_ok() && !folder.file().exists(), "nothing is made by looking");
}

const WAIT_MAX: Duration = Duration::from_secs(20);
