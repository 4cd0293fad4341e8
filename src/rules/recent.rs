//! A map that forgets what was not used for long: bounded, and quick about it.

use std::collections::HashMap;

/// Values by key. At most `keys_max` are kept, and of those that were used last at least half as
/// many.
///
/// Two generations: what is used goes to the young one; when that is full it becomes the old one,
/// and what the old one still had is forgotten.
#[derive(Debug)]
pub struct Recent<V> {
    young: HashMap<Box<[u8]>, V>,
    old: HashMap<Box<[u8]>, V>,
    half_max: usize,
}

impl<V: Default> Recent<V> {
    /// An empty map for `keys_max` keys, at least 2.
    #[must_use]
    pub fn new(keys_max: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half_max: (keys_max / 2).max(1) }
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lets `change` work on the value of `key`, a new one if it is not known.
    pub fn with<T>(&mut self, key: &[u8], change: impl FnOnce(&mut V) -> T) -> T {
        if let Some(value) = self.young.get_mut(key) {
            return change(value);
        }
        let (key, mut value) =
            self.old.remove_entry(key).unwrap_or_else(|| (key.into(), V::default()));
        let result = change(&mut value);
        if self.young.len() >= self.half_max {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
        result
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_used_is_kept_and_what_is_not_is_forgotten() {
        let mut map = Recent::<u32>::new(4);
        for key in [b"a", b"b", b"c", b"a", b"d", b"a", b"e", b"a"] {
            map.with(key, |count| *count += 1);
            assert!(map.len() <= 4);
        }
        assert_eq!(map.with(b"a", |count| *count), 4);
        assert_eq!(map.with(b"b", |count| *count), 0, "forgotten, and new");
    }

    proptest! {
        #[test]
        fn the_last_used_half_is_always_known(
            keys in prop::collection::vec(0_u8..40, 1..300),
            keys_max in 2_usize..20,
        ) {
            let mut map = Recent::<usize>::new(keys_max);
            let mut used: Vec<u8> = Vec::new();
            for (at, key) in keys.iter().enumerate() {
                let recent: Vec<_> = {
                    let mut recent = Vec::new();
                    for key in used.iter().rev() {
                        if !recent.contains(key) { recent.push(*key); }
                    }
                    recent.truncate(keys_max / 2);
                    recent
                };
                let was_known = map.with(&[*key], |last| std::mem::replace(last, at + 1) > 0);
                prop_assert!(was_known || !recent.contains(key));
                prop_assert!(map.len() <= keys_max);
                used.push(*key);
            }
        }
    }
}
