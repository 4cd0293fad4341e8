//! Which of several replicas a read goes to.

use crate::lsn::Lsn;

/// A replica as it is at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it may serve at all.
    pub is_serving: bool,
    /// What it has replayed, at least.
    pub replayed: Lsn,
    /// How many statements it has or is about to get.
    pub outstanding: u64,
    /// Its share beside the others', at least 1.
    pub weight: u32,
}

impl Candidate {
    /// Whether a read with this floor may go there.
    #[must_use]
    pub fn may_serve(&self, floor: Lsn) -> bool {
        self.is_serving && self.replayed >= floor
    }
}

/// The place of the replica that a read with this `floor` goes to, or `None` when none may serve.
///
/// The one with the least outstanding statements for its weight; of several, the first from
/// `start` on, so that a caller who moves `start` spreads single statements as well.
pub fn choose(
    candidates: impl ExactSizeIterator<Item = Candidate> + Clone,
    floor: Lsn,
    start: usize,
) -> Option<usize> {
    let count = candidates.len();
    let start = start.checked_rem(count)?;
    let mut best: Option<(usize, Candidate)> = None;
    let in_turn = candidates.clone().enumerate().skip(start);
    for (index, candidate) in in_turn.chain(candidates.enumerate().take(start)) {
        if candidate.may_serve(floor)
            && best.is_none_or(|(_, best)| is_less_loaded(candidate, best))
        {
            best = Some((index, candidate));
        }
    }
    best.map(|(index, _)| index)
}

/// With one statement more on each, by cross-multiplication: no division, no rounding.
fn is_less_loaded(one: Candidate, other: Candidate) -> bool {
    let load = |candidate: Candidate, weight: u32| {
        (u128::from(candidate.outstanding) + 1) * u128::from(weight)
    };
    load(one, other.weight) < load(other, one.weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rule, the replicas, the floor, the start, the choice.
    type Case = (&'static str, Vec<Candidate>, u64, usize, Option<usize>);

    fn candidate(outstanding: u64, weight: u32, replayed: u64) -> Candidate {
        Candidate { is_serving: true, replayed: Lsn::from_u64(replayed), outstanding, weight }
    }

    #[test]
    fn every_rule() {
        let out = Candidate { is_serving: false, ..candidate(0, 9, 99) };
        let cases: [Case; 9] = [
            ("none at all", vec![], 0, 3, None),
            ("none in service", vec![out, out], 0, 0, None),
            ("the only one", vec![out, candidate(50, 1, 0)], 0, 0, Some(1)),
            ("least outstanding", vec![candidate(3, 1, 0), candidate(2, 1, 0)], 0, 0, Some(1)),
            ("for its weight", vec![candidate(3, 2, 0), candidate(2, 1, 0)], 0, 0, Some(0)),
            ("of equals the first", vec![candidate(1, 1, 0), candidate(1, 1, 0)], 0, 0, Some(0)),
            ("from where one starts", vec![candidate(1, 1, 0), candidate(1, 1, 0)], 0, 3, Some(1)),
            ("at the floor", vec![candidate(0, 1, 6), candidate(9, 1, 7)], 7, 0, Some(1)),
            ("none at the floor", vec![candidate(0, 1, 6), candidate(9, 1, 6)], 7, 0, None),
        ];
        for (name, candidates, floor, start, expected) in cases {
            let chosen = choose(candidates.into_iter(), Lsn::from_u64(floor), start);
            assert_eq!(chosen, expected, "{name}");
        }
    }

    #[test]
    fn statements_spread_by_weight() {
        let mut outstanding = [0_u64; 3];
        let weights = [1, 2, 5];
        for start in 0..800 {
            let candidates: Vec<_> = outstanding
                .into_iter()
                .zip(weights)
                .map(|(outstanding, weight)| candidate(outstanding, weight, 0))
                .collect();
            outstanding[choose(candidates.into_iter(), Lsn::ZERO, start).unwrap()] += 1;
        }
        assert_eq!(outstanding, [100, 200, 500]);
    }
}
