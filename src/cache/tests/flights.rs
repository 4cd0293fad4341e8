//! Flights: who waits for whom, and what a reset leaves of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;

const JOINERS: u64 = 50;

/// Starts joiners that run `then` on how their wait ended.
fn joiners<T: Send + 'static>(
    cache: &Cache,
    text: &str,
    then: impl FnOnce(Landed) -> T + Clone + Send + 'static,
) -> JoinSet<T> {
    let mut tasks = JoinSet::new();
    for _ in 0..JOINERS {
        let (waiter, then) = (join(cache, text), then.clone());
        tasks.spawn(async move { then(landed(waiter).await) });
    }
    tasks
}

/// Lets every task run until it waits.
async fn until_all_wait() {
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn joiners_get_the_one_reply_that_the_leader_fetched() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1");
    let mut tasks = joiners(&cache, "select 1", |landed| match landed {
        Landed::Hit(entry) => Some(entry),
        Landed::Lead(_) | Landed::Alone => None,
    });
    until_all_wait().await;

    let reply = flight.finish(entry("one"), AT);

    while let Some(entry) = tasks.join_next().await {
        assert!(Arc::ptr_eq(&entry.unwrap().unwrap(), &reply));
    }
    let stats = cache.stats();
    assert_eq!((stats.misses, stats.joined, stats.stored), (1 + JOINERS, JOINERS, 1));
    assert_eq!(cache.core.flights.len(), 0);
    assert_eq!(found(&cache, "select 1").unwrap(), b"one");
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_vanishes_one_joiner_leads_and_the_others_wait_for_it() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1");
    let leads = Arc::new(AtomicU64::new(0));
    let (counter, promoted) = (Arc::clone(&leads), tokio::sync::mpsc::channel(1));
    let (sender, mut promoted) = promoted;
    let tasks = joiners(&cache, "select 1", move |landed| match landed {
        Landed::Lead(flight) => {
            counter.fetch_add(1, Ordering::Relaxed);
            sender.try_send(flight).unwrap();
            None
        }
        Landed::Hit(entry) => Some(entry.rows.to_vec()),
        Landed::Alone => panic!("nobody declined"),
    });
    until_all_wait().await;

    drop(flight);
    until_all_wait().await;

    assert_eq!(leads.load(Ordering::Relaxed), 1, "a herd of leaders");
    assert_eq!(cache.core.flights.len(), 1);
    promoted.recv().await.unwrap().finish(entry("one"), AT);
    let replies = tasks.join_all().await;
    let answered = replies.iter().flatten().filter(|rows| rows[..] == *b"one").count() as u64;
    assert_eq!(answered, JOINERS - 1);
    assert_eq!(leads.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_stuck_when_every_leader_vanishes() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1");
    let tasks = joiners(&cache, "select 1", |landed| matches!(landed, Landed::Lead(_)));
    until_all_wait().await;

    drop(flight);

    assert!(tasks.join_all().await.into_iter().all(|has_led| has_led));
    assert_eq!(cache.core.flights.len(), 0);
    drop(lead(&cache, "select 1"));
}

#[tokio::test(start_paused = true)]
async fn when_the_leader_declines_all_joiners_run_at_once_and_nothing_is_stored() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1/0");
    let tasks = joiners(&cache, "select 1/0", |landed| matches!(landed, Landed::Alone));
    until_all_wait().await;

    flight.decline();

    assert!(tasks.join_all().await.into_iter().all(|is_alone| is_alone));
    assert_eq!(cache.core.flights.len(), 0);
    assert_eq!(cache.stats().entries, 0);
    drop(lead(&cache, "select 1/0"));
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_changes_nothing_for_the_others() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1");
    let (impatient, patient) = (join(&cache, "select 1"), join(&cache, "select 1"));

    assert!(timeout(Duration::from_secs(1), impatient.wait()).await.is_err());
    drop(join(&cache, "select 1"));
    flight.finish(entry("one"), AT);

    assert!(matches!(landed(patient).await, Landed::Hit(_)));
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_landed_before_the_wait_began_is_not_waited_for() {
    let cache = Cache::new(config());
    let flight = lead(&cache, "select 1");
    let waiter = join(&cache, "select 1");

    flight.finish(entry("one"), AT);

    assert!(matches!(landed(waiter).await, Landed::Hit(_)));
}

#[tokio::test(start_paused = true)]
async fn a_reset_in_flight_answers_those_before_it_and_nobody_after_it() {
    let cache = Cache::new(config());
    let old = lead(&cache, "select 1");
    let before = join(&cache, "select 1");

    assert_eq!(cache.reset(), 0);
    let new = lead(&cache, "select 1");
    let after = join(&cache, "select 1");
    old.finish(entry("old"), AT);

    assert!(matches!(landed(before).await, Landed::Hit(entry) if entry.rows[..] == *b"old"));
    assert_eq!(found(&cache, "select 1"), None);
    assert_eq!(cache.core.store.bytes_unsettled(), 0, "an entry that nothing finds was stored");
    // The old flight's landing left the new one in its place.
    let later = join(&cache, "select 1");
    new.finish(entry("new"), AT);
    for waiter in [after, later] {
        assert!(matches!(landed(waiter).await, Landed::Hit(entry) if entry.rows[..] == *b"new"));
    }
    assert_eq!(found(&cache, "select 1").unwrap(), b"new");
    assert_eq!(cache.reset(), 1);
}

#[tokio::test(start_paused = true)]
async fn joiners_of_a_leader_that_vanished_after_a_reset_join_the_new_flight() {
    let cache = Cache::new(config());
    let old = lead(&cache, "select 1");
    let before = join(&cache, "select 1");
    let _ = cache.reset();
    let new = lead(&cache, "select 1");

    drop(old);
    let before = tokio::spawn(landed(before));
    until_all_wait().await;
    new.finish(entry("new"), AT);

    let end = before.await.unwrap();
    assert!(matches!(end, Landed::Hit(entry) if entry.rows[..] == *b"new"));
}

#[test]
fn after_a_reset_no_thread_sees_what_was_true_before_it() {
    const RESETS: u64 = 300;
    let cache = Cache::new(config());
    let (truth, floor, is_over) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(false));

    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !is_over.load(Ordering::SeqCst) {
                    let least = floor.load(Ordering::SeqCst);
                    let reply = match cache.begin(key(&cache, "select 1"), Asked::default()) {
                        Lookup::Hit(entry) => entry,
                        Lookup::Lead(flight) => {
                            let rows = truth.load(Ordering::SeqCst).to_be_bytes();
                            thread::yield_now();
                            flight.finish(Entry::new(b"T", &rows), AT)
                        }
                        Lookup::Join(_) => continue,
                    };
                    let seen = u64::from_be_bytes(reply.rows[..].try_into().unwrap());
                    assert!(seen >= least, "{seen} seen where {least} is due");
                }
            });
        }
        for now in 1..=RESETS {
            truth.store(now, Ordering::SeqCst);
            let _ = cache.reset();
            floor.store(now, Ordering::SeqCst);
            thread::yield_now();
        }
        is_over.store(true, Ordering::SeqCst);
    });

    let _ = cache.reset();
    assert_eq!(cache.core.store.bytes_unsettled(), 0, "entries that nothing finds are held");
    assert_eq!(cache.core.flights.len(), 0);
}

#[test]
fn a_reset_waits_for_the_flight_that_is_storing_and_drops_what_it_stored() {
    let cache = Cache::new(config());
    let (core, key) = (&cache.core, key(&cache, "select 1"));
    let reply = Arc::new(entry("old"));

    thread::scope(|scope| {
        let landing = core.flights.shard(&key);
        let reset = scope.spawn(|| cache.reset());
        // Let the reset come as far as it can.
        let is_begun = (0..1_000_000).any(|_| {
            thread::yield_now();
            core.store.generation() == 1
        });
        assert!(is_begun, "the reset begins no generation");
        (0..1000).for_each(|_| thread::yield_now());
        core.store.insert(&key, &reply, 0, AT, 0, 0);
        drop(landing);

        assert_eq!(reset.join().unwrap(), 1);
    });

    assert_eq!(core.store.bytes_unsettled(), 0);
}

#[test]
fn an_entry_of_an_ended_generation_is_not_found_though_still_held() {
    let cache = Cache::new(config());
    store(&cache, "select 1", "one");

    cache.core.store.raise_generation();

    assert_eq!(found(&cache, "select 1"), None);
    assert_ne!(cache.core.store.bytes_unsettled(), 0);
    drop(lead(&cache, "select 1"));
}

#[test]
fn who_missed_just_before_a_flight_landed_gets_its_reply() {
    let cache = Cache::new(config());
    store(&cache, "select 1", "one");

    let lookup = flight::lead_or_join(&cache.core, key(&cache, "select 1"), Asked::default());

    assert!(matches!(lookup, Lookup::Hit(_)));
}
