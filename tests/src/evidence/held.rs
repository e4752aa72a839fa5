//! Which seqs of a conversation a device has got.

use std::collections::BTreeMap;

/// Seqs, as ranges: each from its first one to its last one, with a gap to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Held(BTreeMap<i64, i64>);

impl Held {
    /// Adds a seq.
    pub fn insert(&mut self, seq: i64) {
        let (mut first, mut last) = (seq, seq);
        if let Some((before, end)) = self.range_up_to(seq) {
            if end >= seq {
                return;
            }
            if end == seq - 1 {
                first = before;
            }
        }
        if let Some(end) = self.0.remove(&(seq + 1)) {
            last = end;
        }
        self.0.insert(first, last);
    }

    /// The first seq of the range that this one is in.
    #[must_use]
    pub fn begin_of(&self, seq: i64) -> Option<i64> {
        let (first, last) = self.range_up_to(seq)?;
        (last >= seq).then_some(first)
    }

    /// A seq that is there of those from `from` to `to`.
    #[must_use]
    pub fn any(&self, from: i64, to: i64) -> Option<i64> {
        if from > to {
            return None;
        }
        if self.begin_of(from).is_some() {
            return Some(from);
        }
        self.0.range(from..=to).next().map(|(first, _)| *first)
    }

    /// The first seq that is missing of those from `from` to `to`.
    #[must_use]
    pub fn first_missing(&self, from: i64, to: i64) -> Option<i64> {
        let next = match self.range_up_to(from) {
            Some((_, last)) if last >= from => last + 1,
            _ => from,
        };
        (next <= to).then_some(next)
    }

    fn range_up_to(&self, seq: i64) -> Option<(i64, i64)> {
        let range = self.0.range(..=seq).next_back();
        range.map(|(first, last)| (*first, *last))
    }
}

impl FromIterator<i64> for Held {
    fn from_iter<T: IntoIterator<Item = i64>>(seqs: T) -> Self {
        let mut held = Self::default();
        seqs.into_iter().for_each(|seq| held.insert(seq));
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seqs_in_any_order_make_ranges() {
        let held: Held = [5, 1, 3, 2, 9, 4, 3].into_iter().collect();
        assert_eq!(held, (1..=5).chain([9]).collect());
        assert_eq!((held.begin_of(5), held.begin_of(6)), (Some(1), None));
        assert_eq!((held.any(6, 8), held.any(6, 9)), (None, Some(9)));
        assert_eq!((held.any(4, 8), held.any(4, 3)), (Some(4), None));
        assert_eq!(held.first_missing(2, 9), Some(6));
        assert_eq!(
            (held.first_missing(2, 5), held.first_missing(7, 6)),
            (None, None)
        );
    }
}
