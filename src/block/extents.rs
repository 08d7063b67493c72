//! Extent map: where the bytes of an image in a format such as qcow2 are, for ranges that the image's driver has looked up.
//!
//! The map lets a read or an overwrite of allocated clusters go straight between the file and guest memory, without the
//! driver's tables. It is bounded: when it is full it starts anew.

use std::collections::BTreeMap;
use std::ops::Bound;

/// Extents in the map. An extent takes about 50 bytes; of clusters of 64 KiB that are nowhere adjacent, this many cover
/// 4 GiB.
const MAX_EXTENTS: usize = 65_536;

/// Where a range of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file of the chain.
    File {
        /// Number of the file in the chain.
        file: usize,
        /// Byte offset in the file.
        offset: u64,
        /// A write may go there: the range is allocated in the top image.
        writable: bool,
    },
    /// Nowhere: the range reads as zeros.
    Zero,
}

impl Place {
    /// The place `by` bytes further on.
    fn advanced(self, by: u64) -> Self {
        match self {
            Self::File { file, offset, writable } => Self::File { file, offset: offset.wrapping_add(by), writable },
            Self::Zero => Self::Zero,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    len: u64,
    place: Place,
}

/// The known extents of an image, which do not overlap.
#[derive(Debug, Default)]
pub struct ExtentMap(BTreeMap<u64, Extent>);

impl ExtentMap {
    /// The place of `offset`, and how many bytes from there on are at consecutive places; `None` if that is not known.
    #[inline]
    pub fn lookup(&self, offset: u64) -> Option<(Place, u64)> {
        let (&start, extent) = self.0.range(..=offset).next_back()?;
        let skipped = offset - start;
        (skipped < extent.len).then(|| (extent.place.advanced(skipped), extent.len - skipped))
    }

    /// Records a range, in place of what was known about it.
    pub fn insert(&mut self, start: u64, len: u64, place: Place) {
        if len == 0 || start.checked_add(len).is_none() {
            return;
        }
        self.forget(start, len);
        if self.0.len() >= MAX_EXTENTS {
            self.0.clear();
        }
        let (mut start, mut len) = (start, len);
        let mut place = place;
        if let Some((&before, extent)) = self.0.range(..start).next_back()
            && before + extent.len == start
            && extent.place.advanced(extent.len) == place
        {
            place = extent.place;
            len += extent.len;
            start = before;
        }
        if let Some((&after, extent)) = self.0.range((Bound::Excluded(start), Bound::Unbounded)).next()
            && start + len == after
            && place.advanced(len) == extent.place
        {
            len += extent.len;
            self.0.remove(&after);
        }
        self.0.insert(start, Extent { len, place });
    }

    /// Forgets a range.
    pub fn forget(&mut self, start: u64, len: u64) {
        let end = start.saturating_add(len);
        // An extent that begins before the range and reaches into it.
        if let Some((&before, &extent)) = self.0.range(..start).next_back() {
            let extent_end = before + extent.len;
            if extent_end > start {
                self.0.insert(before, Extent { len: start - before, place: extent.place });
                if extent_end > end {
                    self.0.insert(end, Extent { len: extent_end - end, place: extent.place.advanced(end - before) });
                }
            }
        }
        while let Some((&at, &extent)) = self.0.range(start..end).next() {
            self.0.remove(&at);
            let extent_end = at + extent.len;
            if extent_end > end {
                self.0.insert(end, Extent { len: extent_end - end, place: extent.place.advanced(end - at) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(offset: u64) -> Place {
        Place::File { file: 0, offset, writable: true }
    }

    #[test]
    fn adjacent_extents_at_consecutive_places_become_one() {
        let mut map = ExtentMap::default();
        map.insert(0, 10, at(100));
        map.insert(20, 10, at(120));
        map.insert(10, 10, at(110));
        assert_eq!(map.0.len(), 1);
        assert_eq!(map.lookup(0), Some((at(100), 30)));
        assert_eq!(map.lookup(29), Some((at(129), 1)));
        assert_eq!(map.lookup(30), None);
        map.insert(30, 5, at(500));
        map.insert(35, 5, Place::Zero);
        map.insert(40, 5, Place::Zero);
        assert_eq!(map.0.len(), 3);
        assert_eq!(map.lookup(36), Some((Place::Zero, 9)));
    }

    #[test]
    fn a_full_map_starts_anew() {
        let mut map = ExtentMap::default();
        for n in 0..=MAX_EXTENTS as u64 {
            map.insert(n * 2, 1, at(n * 7));
        }
        assert_eq!(map.0.len(), 1);
        map.insert(u64::MAX, 2, Place::Zero);
        assert_eq!(map.0.len(), 1);
    }

    proptest! {
        #[test]
        fn the_map_agrees_with_one_entry_per_byte(
            steps in prop::collection::vec((0u64..64, 0u64..32, prop::option::of(0u64..3), any::<bool>()), 1..40)
        ) {
            let mut map = ExtentMap::default();
            let mut model = [None; 128];
            for (start, len, place, consecutive) in steps {
                let bytes = model.iter_mut().enumerate().skip(start as usize).take(len as usize);
                match place {
                    None => {
                        map.forget(start, len);
                        bytes.for_each(|(_, byte)| *byte = None);
                    }
                    Some(2) => {
                        map.insert(start, len, Place::Zero);
                        bytes.for_each(|(_, byte)| *byte = Some(Place::Zero));
                    }
                    Some(file) => {
                        let base = if consecutive { start } else { 1000 };
                        let place = |offset| Place::File { file: file as usize, offset, writable: false };
                        map.insert(start, len, place(base));
                        bytes.for_each(|(n, byte)| *byte = Some(place(base + n as u64 - start)));
                    }
                }
                for (n, byte) in model.iter().enumerate() {
                    let found = map.lookup(n as u64);
                    prop_assert_eq!(found.map(|(place, _)| place), *byte);
                    if let Some((place, len)) = found {
                        for further in 0..len {
                            prop_assert_eq!(model[n + further as usize], Some(place.advanced(further)));
                        }
                    }
                }
            }
        }
    }
}
