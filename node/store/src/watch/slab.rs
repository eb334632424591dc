//! Values under small numbers that are used again.

/// A number that names nothing.
pub(super) const NONE: u32 = u32::MAX;

/// Values under `u32` numbers: constant-time insert, look-up and removal, and a freed number is
/// the first to be given out again.
///
/// Using a number that was freed is a bug of the owner, and panics.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Slot<T>>,
    next_free: u32,
    len: usize,
}

#[derive(Debug)]
enum Slot<T> {
    Free { next: u32 },
    Used(T),
}

impl<T> Slab<T> {
    pub(super) const fn new() -> Self {
        Self { slots: Vec::new(), next_free: NONE, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if self.next_free == NONE {
            let number = u32::try_from(self.slots.len()).expect("numbers are bounded by limits");
            assert!(number != NONE, "numbers are bounded by limits");
            self.slots.push(Slot::Used(value));
            return number;
        }
        let number = self.next_free;
        let slot = &mut self.slots[number as usize];
        let Slot::Free { next } = *slot else { unreachable!("a used slot in the free list") };
        self.next_free = next;
        *slot = Slot::Used(value);
        number
    }

    pub(super) fn remove(&mut self, number: u32) -> T {
        let free = Slot::Free { next: self.next_free };
        match std::mem::replace(&mut self.slots[number as usize], free) {
            Slot::Used(value) => {
                self.next_free = number;
                self.len -= 1;
                value
            }
            Slot::Free { .. } => unreachable!("slot {number} is freed twice"),
        }
    }

    pub(super) fn find(&self, number: u32) -> Option<&T> {
        match self.slots.get(number as usize) {
            Some(Slot::Used(value)) => Some(value),
            Some(Slot::Free { .. }) | None => None,
        }
    }

    pub(super) fn get(&self, number: u32) -> &T {
        self.find(number).expect("the number names a value")
    }

    pub(super) fn get_mut(&mut self, number: u32) -> &mut T {
        match &mut self.slots[number as usize] {
            Slot::Used(value) => value,
            Slot::Free { .. } => unreachable!("slot {number} is free"),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(number, slot)| match slot {
            Slot::Used(value) => Some((number, value)),
            Slot::Free { .. } => None,
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        (0..).zip(&mut self.slots).filter_map(|(number, slot)| match slot {
            Slot::Used(value) => Some((number, value)),
            Slot::Free { .. } => None,
        })
    }
}
