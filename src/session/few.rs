//! A queue that mostly holds one thing at a time, and then takes no memory besides its own.

use std::collections::VecDeque;

/// Things in the order in which they came.
#[derive(Debug)]
pub(super) struct Few<T> {
    /// `None` when there is nothing at all.
    first: Option<T>,
    /// What came behind it; there is something as long as it is there.
    #[expect(
        clippy::box_collection,
        reason = "an idle session has no room for what it seldom has"
    )]
    rest: Option<Box<VecDeque<T>>>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self { first: None, rest: None }
    }
}

impl<T> Few<T> {
    /// Whether there is nothing.
    pub(super) const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Adds one behind the others.
    pub(super) fn push(&mut self, one: T) {
        match &mut self.first {
            none @ None => *none = Some(one),
            Some(_) => self.rest.get_or_insert_default().push_back(one),
        }
    }

    /// Takes the first one.
    pub(super) fn pop(&mut self) -> Option<T> {
        let one = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
            if rest.is_empty() {
                self.rest = None;
            }
        }
        Some(one)
    }

    /// Number `at`, counted from zero.
    pub(super) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        match at.checked_sub(1) {
            None => self.first.as_mut(),
            Some(at) => self.rest.as_mut()?.get_mut(at),
        }
    }

    /// All of them, in order.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.first.iter_mut().chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
    }

    /// Takes all but the first `count`.
    pub(super) fn split_off(&mut self, count: usize) -> Self {
        let mut behind = Self::default();
        let mut before = Self::default();
        for (at, one) in std::mem::take(self).enumerate() {
            if at < count { before.push(one) } else { behind.push(one) }
        }
        *self = before;
        behind
    }
}

/// Takes one after the other.
impl<T> Iterator for Few<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_queue_like_any_other(
            steps in prop::collection::vec(0_usize..8, 0..60),
        ) {
            let (mut few, mut queue) = (Few::default(), VecDeque::new());
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    0..=3 => {
                        few.push(number);
                        queue.push_back(number);
                    }
                    4..=6 => prop_assert_eq!(few.pop(), queue.pop_front()),
                    _ => {
                        let count = number % 5;
                        let behind: VecDeque<_> = few.split_off(count).collect();
                        prop_assert_eq!(behind, queue.split_off(count.min(queue.len())));
                    }
                }
                prop_assert_eq!((few.len(), few.is_empty()), (queue.len(), queue.is_empty()));
                prop_assert_eq!(few.get_mut(2).copied(), queue.get(2).copied());
                prop_assert!(few.iter_mut().map(|one| *one).eq(queue.iter().copied()));
                prop_assert_eq!(few.rest.is_some(), queue.len() > 1);
            }
        }
    }
}
