//! How a client of the soak leaves: seldom as it should.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::sleep;

use super::client::Soaker;
use crate::support::messages::{bind, execute, flush, parse, query, sync, terminate};

impl Soaker {
    /// Leaves, one way or another. Whatever it was doing, nobody waits for any more.
    pub(super) async fn leave(mut self) {
        let large = query("SELECT repeat('x', 1000) FROM generate_series(1, 100000)");
        let one = [parse("", "SELECT pg_sleep(30)", &[]), bind("", "", &[], 0), execute("", 0)];
        let last = match self.dice.below(12) {
            0 => return drop(self.exchange(&terminate(), 0).await),
            1 => Vec::new(),
            2 | 3 => large,
            4 => one.concat(),
            5 => [one.concat(), flush()].concat(),
            6 => [one.concat(), sync()].concat(),
            7 => query("SELECT pg_sleep(30)"),
            8 => [query("BEGIN"), query("SELECT random()")].concat(),
            9 => [query("BEGIN"), query("SELECT 1 / 0")].concat(),
            10 => query("SELECT 'half of a message'")[..10].to_vec(),
            _ => return self.leave_with_a_cancel().await,
        };
        // Should this fail, the session has ended before.
        let _ = self.stream.write_all(&last).await;
        let pause = Duration::from_millis(self.dice.below(30));
        if self.dice.one_in(2) {
            sleep(pause).await;
        }
        if self.dice.one_in(2) && last.len() > 20 {
            // Something of the reply, if there is any; never all of a large one.
            let _ = tokio::time::timeout(pause, self.receive()).await;
        }
    }

    /// Its cancel is under way while it is gone, and must not find who comes next.
    async fn leave_with_a_cancel(mut self) {
        let (port, key) = (self.port, self.key.clone());
        let _ = self.stream.write_all(&query("SELECT pg_sleep(0.05)")).await;
        let pause = Duration::from_millis(self.dice.below(80));
        let leaving = async {
            sleep(pause).await;
            drop(self);
        };
        tokio::join!(Self::cancel(port, key), leaving);
    }
}
