//! What statements of one key came to in one minute.

use super::sizes::Sizes;
use super::varint;

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It ran, on a server or here.
    Ran,
    /// The cache answered.
    Cached,
    /// It was not proven to read, from a user who may only read.
    Refused,
    /// The rules stopped it, or what it came with.
    Denied,
    /// It ended in an error, or was not run for one before it.
    Failed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Ran, Self::Cached, Self::Refused, Self::Denied, Self::Failed];

    /// The outcome's label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::Refused => "refused",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// What one statement came to.
#[derive(Clone, Copy, Debug)]
pub struct Came {
    /// What became of it.
    pub outcome: Outcome,
    /// How long it took upstream, in microseconds; 0 where it was not there.
    pub us: u64,
    /// Rows returned or touched.
    pub rows: u64,
    /// Bytes to the client.
    pub bytes: u64,
}

/// What statements came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// How long those took that were upstream, in microseconds.
    pub us: Sizes,
    /// The rows of those that were answered; of those that were cut off, the ones that were counted.
    pub rows: Sizes,
    /// The same for bytes.
    pub bytes: Sizes,
}

impl Counts {
    /// One more.
    pub fn add(&mut self, came: Came) {
        if let Some(count) = self.outcomes.get_mut(came.outcome as usize) {
            *count += 1;
        }
        if came.us > 0 {
            self.us.add(came.us);
        }
        let is_answered = matches!(came.outcome, Outcome::Ran | Outcome::Cached);
        if is_answered || came.rows > 0 {
            self.rows.add(came.rows);
        }
        if is_answered || came.bytes > 0 {
            self.bytes.add(came.bytes);
        }
    }

    /// All of `more`.
    pub fn merge(&mut self, more: &Self) {
        self.outcomes.iter_mut().zip(more.outcomes).for_each(|(sum, more)| *sum += more);
        self.us.merge(&more.us);
        self.rows.merge(&more.rows);
        self.bytes.merge(&more.bytes);
    }

    /// How many there are.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.outcomes.iter().sum()
    }

    /// How many came to this.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(outcome as usize).copied().unwrap_or_default()
    }

    /// Writes them to `out`, for [`Self::read`].
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        // Most came to one thing: a byte says which there are any of.
        let bits =
            self.outcomes.iter().rev().fold(0, |bits, count| bits << 1 | u8::from(*count > 0));
        out.push(bits);
        self.outcomes.iter().filter(|count| **count > 0).for_each(|count| varint::put(out, *count));
        for sizes in [&self.us, &self.rows, &self.bytes] {
            sizes.write(out);
        }
    }

    /// Reads what [`Self::write`] wrote off the front of `bytes`.
    pub(super) fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut counts = Self::default();
        let (bits, rest) = bytes.split_first()?;
        *bytes = rest;
        for (place, count) in counts.outcomes.iter_mut().enumerate() {
            if bits & (1 << place) != 0 {
                *count = varint::take(bytes)?;
            }
        }
        for sizes in [&mut counts.us, &mut counts.rows, &mut counts.bytes] {
            *sizes = Sizes::read(bytes)?;
        }
        Some(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut counts = Counts::default();
        for (outcome, us, rows) in
            [(Outcome::Ran, 17, 3), (Outcome::Cached, 0, 3), (Outcome::Failed, 90_000, 0)]
        {
            counts.add(Came { outcome, us, rows, bytes: rows * 20 });
        }
        assert_eq!(counts.outcomes, [1, 1, 0, 0, 1]);
        assert_eq!((counts.us.count(), counts.rows.count(), counts.bytes.sum), (2, 2, 120));
        let mut bytes = Vec::new();
        counts.write(&mut bytes);
        let mut left = &bytes[..];
        assert_eq!(Counts::read(&mut left), Some(counts));
        assert_eq!(left, b"");
        assert_eq!(Counts::read(&mut &bytes[..bytes.len() - 1]), None);
    }
}
