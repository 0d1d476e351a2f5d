//! The working set of a batch: rows by key, changed in memory, written at the end.
//!
//! Every command sees what the commands before it in the batch have changed. [`Working::undo`] takes back
//! what the current command changed and nothing else. Reading a key that was not loaded is a bug and panics:
//! absence is a value that must have been looked up.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;

/// What can take back the changes of one command.
pub trait Working {
    /// The current command is accepted: its changes stay.
    fn keep(&mut self);
    /// The current command is rejected: its changes go.
    fn undo(&mut self);
}

#[derive(Clone, Debug)]
struct Slot<V> {
    value: Option<V>,
    changed: bool,
}

/// Rows of one table by key.
#[derive(Debug)]
pub struct Table<K, V> {
    slots: HashMap<K, Slot<V>>,
    journal: Vec<(K, Option<Slot<V>>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { slots: HashMap::new(), journal: Vec::new() }
    }
}

impl<K: Clone + Debug + Eq + Hash, V> Table<K, V> {
    /// Adds what the database holds under a key, or that it holds nothing. A key that is there stays.
    pub fn load(&mut self, key: K, value: Option<V>) {
        self.slots.entry(key).or_insert(Slot { value, changed: false });
    }

    /// Whether the key has been looked up or written.
    pub fn is_loaded(&self, key: &K) -> bool {
        self.slots.contains_key(key)
    }

    /// The row under a key.
    ///
    /// # Panics
    /// The key was never loaded nor written.
    pub fn get(&self, key: &K) -> Option<&V> {
        match self.slots.get(key) {
            Some(slot) => slot.value.as_ref(),
            None => panic!("{key:?} was read without being loaded"),
        }
    }

    /// Writes a row.
    pub fn put(&mut self, key: K, value: V) {
        self.set(key, Some(value));
    }

    /// Removes a row.
    pub fn remove(&mut self, key: K) {
        self.set(key, None);
    }

    fn set(&mut self, key: K, value: Option<V>) {
        let before = self.slots.insert(key.clone(), Slot { value, changed: true });
        self.journal.push((key, before));
    }

    /// All rows that are there, in no order.
    pub fn rows(&self) -> impl Iterator<Item = &V> {
        self.slots.values().filter_map(|slot| slot.value.as_ref())
    }

    /// All keys and rows that are there, in no order.
    pub fn entries(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().filter_map(|(key, slot)| Some((key, slot.value.as_ref()?)))
    }

    /// What has to be written: keys with their new row, `None` for a removed one, in no order.
    pub fn changed(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        self.slots.iter().filter(|(_, slot)| slot.changed).map(|(key, slot)| (key, slot.value.as_ref()))
    }
}

impl<K: Clone + Debug + Eq + Hash, V> Working for Table<K, V> {
    fn keep(&mut self) {
        self.journal.clear();
    }

    fn undo(&mut self) {
        while let Some((key, before)) = self.journal.pop() {
            match before {
                Some(slot) => self.slots.insert(key, slot),
                None => self.slots.remove(&key),
            };
        }
    }
}

/// One small value that is loaded, changed and written as a whole.
#[derive(Debug, Default)]
pub struct Single<T> {
    value: T,
    before: Option<T>,
    changed: bool,
    was_changed: bool,
}

impl<T: Clone> Single<T> {
    /// The value as the database holds it.
    pub fn loaded(value: T) -> Self {
        Self { value, before: None, changed: false, was_changed: false }
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The value, to be changed.
    pub fn change(&mut self) -> &mut T {
        if self.before.is_none() {
            self.before = Some(self.value.clone());
            self.was_changed = self.changed;
        }
        self.changed = true;
        &mut self.value
    }

    /// Whether it has to be written.
    pub fn is_changed(&self) -> bool {
        self.changed
    }
}

impl<T: Clone> Working for Single<T> {
    fn keep(&mut self) {
        self.before = None;
    }

    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            self.value = before;
            self.changed = self.was_changed;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u8),
        Remove(u8),
        Keep,
        Undo,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..6u8, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
            (0..6u8).prop_map(Step::Remove),
            Just(Step::Keep),
            Just(Step::Undo),
        ]
    }

    proptest! {
        #[test]
        fn undo_goes_back_to_the_last_keep(steps in proptest::collection::vec(step(), 0..40)) {
            let (mut table, mut single) = (Table::default(), Single::loaded(BTreeMap::new()));
            (0..6u8).for_each(|key| table.load(key, None));
            let (mut model, mut kept) = (BTreeMap::new(), BTreeMap::new());
            for step in steps {
                match step {
                    Step::Put(key, value) => {
                        table.put(key, value);
                        single.change().insert(key, value);
                        model.insert(key, value);
                    }
                    Step::Remove(key) => {
                        table.remove(key);
                        single.change().remove(&key);
                        model.remove(&key);
                    }
                    Step::Keep => {
                        table.keep();
                        single.keep();
                        kept = model.clone();
                    }
                    Step::Undo => {
                        table.undo();
                        single.undo();
                        model = kept.clone();
                    }
                }
                for key in 0..6 {
                    prop_assert_eq!(table.get(&key), model.get(&key));
                }
                prop_assert_eq!(single.get(), &model);
            }
        }
    }

    #[test]
    fn what_was_undone_is_not_written() {
        let (mut table, mut single) = (Table::default(), Single::loaded(1));
        table.load("a", Some(1));
        table.put("a", 2);
        *single.change() = 2;
        table.undo();
        single.undo();
        assert_eq!((table.changed().count(), single.is_changed()), (0, false));
        table.put("a", 3);
        *single.change() = 3;
        table.keep();
        single.keep();
        table.remove("a");
        *single.change() = 4;
        table.undo();
        single.undo();
        assert_eq!(table.changed().collect::<Vec<_>>(), [(&"a", Some(&3))]);
        assert_eq!((*single.get(), single.is_changed()), (3, true));
    }

    #[test]
    #[should_panic(expected = "without being loaded")]
    fn reading_what_was_not_loaded_is_a_bug() {
        Table::<u8, u8>::default().get(&1);
    }
}
