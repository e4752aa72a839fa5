//! Where a partition starts: at the committed offset, and if that is not possible, by a decision that is logged and counted.
//!
//! A commit carries the incarnation of the topic and its time in its metadata. So an offset of a log that was made anew is
//! told from one of this log that lies beyond its end, which a broker that lost its newest records leaves behind. In such a
//! log newer records may stand below the offset by now: it is read from a while before the commit.

/// What the group has committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: u64,
    /// None: not committed by Magpie (a tool that set offsets by hand).
    pub(crate) incarnation: Option<u64>,
    /// When, Unix ms.
    pub(crate) at: Option<i64>,
}

impl Committed {
    /// What goes with the offset.
    pub(crate) fn metadata(incarnation: u64, at: i64) -> String {
        format!("{incarnation:016x} {at}")
    }

    /// An offset and what went with it.
    pub(crate) fn parse(offset: u64, metadata: &str) -> Self {
        let (incarnation, at) = metadata.split_once(' ').unwrap_or_default();
        Self {
            offset,
            incarnation: u64::from_str_radix(incarnation, 16).ok(),
            at: at.parse().ok(),
        }
    }
}

/// The offset to start at, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) offset: u64,
    pub(crate) why: Why,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Committed,
    /// Nothing was committed; the caller knew the offset.
    Applied,
    /// Nothing was committed and nobody knows better: everything.
    Oldest,
    /// The offset's records are gone by retention; what lies between was never processed.
    Expired,
    /// The offset lies beyond the end: the log lost its newest records. The caller goes back by time.
    BeyondEnd,
    /// The offset belongs to a log that was there before.
    MadeAnew,
}

impl Why {
    /// As a metric's label.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Applied => "applied",
            Self::Oldest => "oldest",
            Self::Expired => "expired",
            Self::BeyondEnd => "beyond_end",
            Self::MadeAnew => "made_anew",
        }
    }
}

/// Decides; `applied` is asked only when nothing of this log is committed.
pub(crate) fn decide(
    committed: Option<Committed>,
    incarnation: u64,
    oldest: u64,
    end: u64,
    applied: impl FnOnce() -> Option<u64>,
) -> Start {
    let of_this_log = committed.filter(|c| c.incarnation.is_none_or(|i| i == incarnation));
    let (wanted, why) = match (of_this_log, committed) {
        (Some(committed), _) => (Some(committed.offset), Why::Committed),
        (None, Some(_)) => (applied(), Why::MadeAnew),
        (None, None) => (applied(), Why::Applied),
    };
    let start = |offset, why| Start { offset, why };
    match wanted {
        None if why == Why::MadeAnew => start(oldest, why),
        None => start(oldest, Why::Oldest),
        Some(offset) if offset < oldest => start(oldest, Why::Expired),
        Some(offset) if offset > end => start(end, Why::BeyondEnd),
        Some(offset) => start(offset, why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(committed: Option<(u64, Option<u64>)>, applied: Option<u64>) -> (u64, Why) {
        let committed = committed.map(|(offset, incarnation)| Committed {
            offset,
            incarnation,
            at: None,
        });
        let start = decide(committed, 7, 10, 20, || applied);
        (start.offset, start.why)
    }

    #[test]
    fn what_goes_with_an_offset_comes_back() {
        let committed = Committed {
            offset: 5,
            incarnation: Some(u64::MAX),
            at: Some(1234),
        };
        assert_eq!(
            Committed::parse(5, &Committed::metadata(u64::MAX, 1234)),
            committed
        );
        for foreign in ["", "x y", "consumer-tool"] {
            let found = Committed::parse(5, foreign);
            assert_eq!((found.incarnation, found.at), (None, None));
        }
    }

    #[test]
    fn committed_offsets_come_first() {
        assert_eq!(of(Some((15, Some(7))), Some(12)), (15, Why::Committed));
        assert_eq!(of(Some((15, None)), None), (15, Why::Committed));
        assert_eq!(of(Some((10, Some(7))), None), (10, Why::Committed));
        assert_eq!(of(Some((20, Some(7))), None), (20, Why::Committed));
    }

    #[test]
    fn a_group_without_offsets_starts_at_what_is_applied_or_at_the_oldest() {
        assert_eq!(of(None, Some(12)), (12, Why::Applied));
        assert_eq!(of(None, None), (10, Why::Oldest));
    }

    #[test]
    fn offsets_outside_the_log_are_told_apart() {
        assert_eq!(of(Some((3, Some(7))), None), (10, Why::Expired));
        assert_eq!(of(None, Some(3)), (10, Why::Expired));
        assert_eq!(of(Some((25, Some(7))), None), (20, Why::BeyondEnd));
        assert_eq!(of(Some((25, Some(6))), None), (10, Why::MadeAnew));
        assert_eq!(of(Some((15, Some(6))), None), (10, Why::MadeAnew));
        assert_eq!(of(Some((15, Some(6))), Some(12)), (12, Why::MadeAnew));
    }
}
