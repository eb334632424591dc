//! A client's transactions.

use super::Client;
use super::keys::{some_key, some_keys};
use crate::history::{Compare, KeyRange, KeyValue, Range, Relation, Target, Txn, TxnOperation};
use bytes::Bytes;

#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Write what was not changed since it was seen.
    CompareAndSet,
    /// Write what is not there.
    CreateIfAbsent,
    /// Anything on any condition.
    Conditional,
    /// Write several keys.
    Several,
    /// Delete some, write another, read all.
    Mixed,
    /// A transaction inside.
    Nested,
    /// Read several keys.
    ReadOnly,
    /// Write a key twice, which is malformed.
    Twice,
}

impl Client {
    pub(super) fn some_txn(&mut self) -> Txn {
        let kinds = [
            (8, Kind::CompareAndSet),
            (4, Kind::CreateIfAbsent),
            (6, Kind::Conditional),
            (3, Kind::Several),
            (4, Kind::Mixed),
            (3, Kind::Nested),
            (3, Kind::ReadOnly),
            (1, Kind::Twice),
        ];
        let key = some_key(&mut self.random, self.options.keys);
        match self.random.weighted(&kinds).copied().unwrap_or(Kind::CompareAndSet) {
            Kind::CompareAndSet => self.compare_and_set(key),
            Kind::CreateIfAbsent => self.create_if_absent(key),
            Kind::Conditional => {
                let count = 1 + self.random.index(2);
                let compare = (0..count).map(|_| self.some_compare()).collect();
                let failure = self.some_operation();
                Txn { compare, success: self.mixed(), failure: vec![failure] }
            }
            Kind::Several => Txn { success: self.several(), ..Txn::default() },
            Kind::Mixed => Txn { success: self.mixed(), ..Txn::default() },
            Kind::Nested => self.nested(),
            Kind::ReadOnly => {
                let compare =
                    if self.random.chance(1, 2) { vec![self.some_compare()] } else { Vec::new() };
                let consistency = self.some_consistency();
                let mut read = || TxnOperation::Range(Range { consistency, ..self.some_range() });
                Txn { compare, success: vec![read(), read()], failure: vec![read()] }
            }
            Kind::Twice => {
                let (one, other) = (self.some_put(key.clone()), self.some_put(key));
                let success = vec![TxnOperation::Put(one), TxnOperation::Put(other)];
                Txn { success, ..Txn::default() }
            }
        }
    }

    fn compare_and_set(&mut self, key: Bytes) -> Txn {
        let seen = self.knowledge.key(&key).map_or(0, |kv| kv.mod_revision);
        let keys = KeyRange::single(key.clone());
        let target = Target::Mod(seen);
        let compare = vec![Compare { keys: keys.clone(), relation: Relation::Equal, target }];
        let success = vec![TxnOperation::Put(self.some_put(key))];
        Txn { compare, success, failure: vec![TxnOperation::Range(Range::current(keys))] }
    }

    fn create_if_absent(&mut self, key: Bytes) -> Txn {
        let keys = KeyRange::single(key.clone());
        let target = if self.random.chance(1, 2) { Target::Create(0) } else { Target::Version(0) };
        let compare = vec![Compare { keys: keys.clone(), relation: Relation::Equal, target }];
        let mut put = self.some_put(key);
        if put.ignore_value {
            put.ignore_value = false;
            put.value = self.new_value();
        }
        put.ignore_lease = false;
        let failure = vec![TxnOperation::Range(Range::serializable(keys))];
        Txn { compare, success: vec![TxnOperation::Put(put)], failure }
    }

    fn several(&mut self) -> Vec<TxnOperation> {
        let mut keys: Vec<Bytes> =
            (0..4).map(|_| some_key(&mut self.random, self.options.keys)).collect();
        keys.sort_unstable();
        keys.dedup();
        self.random.shuffle(&mut keys);
        keys.into_iter().map(|key| TxnOperation::Put(self.some_put(key))).collect()
    }

    /// A deletion, a write elsewhere and a read of both, in any order.
    fn mixed(&mut self) -> Vec<TxnOperation> {
        let delete = self.some_delete();
        let key = some_key(&mut self.random, self.options.keys);
        let mut operations = vec![TxnOperation::Range(Range::current(KeyRange::all()))];
        if !delete.keys.contains(&key) {
            operations.push(TxnOperation::Put(self.some_put(key)));
        }
        operations.push(TxnOperation::DeleteRange(delete));
        self.random.shuffle(&mut operations);
        operations
    }

    /// A transaction in a transaction in a transaction, before or after what is beside it.
    fn nested(&mut self) -> Txn {
        let innermost = Txn {
            compare: vec![self.some_compare()],
            success: vec![self.some_operation()],
            failure: vec![TxnOperation::Range(self.some_range())],
        };
        let mut success = vec![TxnOperation::Txn(innermost), self.some_operation()];
        self.random.shuffle(&mut success);
        let compare = vec![self.some_compare()];
        let inner = Txn { compare, success, failure: vec![self.some_operation()] };
        let mut success = vec![TxnOperation::Txn(inner), self.some_operation()];
        self.random.shuffle(&mut success);
        let compare = if self.random.chance(1, 2) { vec![self.some_compare()] } else { Vec::new() };
        Txn { compare, success, failure: vec![self.some_operation()] }
    }

    fn some_operation(&mut self) -> TxnOperation {
        let key = some_key(&mut self.random, self.options.keys);
        match self.random.below(4) {
            0 => TxnOperation::Range(self.some_range()),
            1 => TxnOperation::DeleteRange(self.some_delete()),
            _ => TxnOperation::Put(self.some_put(key)),
        }
    }

    /// A condition that has a chance to hold: on what the client has seen of a key, over it or
    /// over some more.
    fn some_compare(&mut self) -> Compare {
        let key = some_key(&mut self.random, self.options.keys);
        let seen = self.knowledge.key(&key).cloned().unwrap_or_else(|| absent(key.clone()));
        let targets = [
            Target::Version(seen.version),
            Target::Create(seen.create_revision),
            Target::Mod(seen.mod_revision),
            Target::Value(seen.value),
            Target::Lease(seen.lease),
        ];
        let relations = [
            (4, Relation::Equal),
            (2, Relation::Greater),
            (2, Relation::Less),
            (2, Relation::NotEqual),
        ];
        let target = targets[self.random.index(targets.len())].clone();
        let relation = self.random.weighted(&relations).copied().unwrap_or(Relation::Equal);
        let keys = if self.random.chance(1, 3) {
            some_keys(&mut self.random, self.options.keys)
        } else {
            KeyRange::single(key)
        };
        Compare { keys, relation, target }
    }
}

/// A key that is not there, as compares see it.
fn absent(key: Bytes) -> KeyValue {
    let value = Bytes::new();
    KeyValue { key, value, create_revision: 0, mod_revision: 0, version: 0, lease: 0 }
}
