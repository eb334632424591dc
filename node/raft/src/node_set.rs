//! A small set of members in ascending order.

use std::fmt;

use crate::types::NodeId;

/// A set of members. Clusters are small, so a sorted vector beats any tree or table, and its
/// order is the same on every member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSet(Vec<NodeId>);

impl NodeSet {
    /// Adds `id`.
    pub fn insert(&mut self, id: NodeId) {
        if let Err(position) = self.0.binary_search(&id) {
            self.0.insert(position, id);
        }
    }

    /// Takes `id` out, if it is in.
    pub fn remove(&mut self, id: NodeId) {
        if let Ok(position) = self.0.binary_search(&id) {
            self.0.remove(position);
        }
    }

    /// Whether `id` is in.
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.binary_search(&id).is_ok()
    }

    /// How many members.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The members in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().copied()
    }

    /// The members in ascending order.
    pub fn to_vec(&self) -> Vec<NodeId> {
        self.0.clone()
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> NodeSet {
        let mut ids: Vec<NodeId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        NodeSet(ids)
    }
}

/// Prints `(1 2 3)`, the ids in hexadecimal.
impl fmt::Display for NodeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (position, id) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{id}")?;
        }
        f.write_str(")")
    }
}
