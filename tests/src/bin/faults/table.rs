//! What a run came to, as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use magpie_tests::evidence::{Fault, Kind};

/// What one nemesis came to.
pub(crate) struct Round {
    pub(crate) nemesis: String,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Those of the acknowledged that were sent to groups.
    pub(crate) to_groups: u64,
    /// Users who came or left.
    pub(crate) moved: usize,
    pub(crate) refused: u64,
    /// Pushes of what the device had already.
    pub(crate) repeats: u64,
    /// Longest wait for an acknowledgement.
    pub(crate) slowest: Duration,
    /// From the repair until everything flows.
    pub(crate) recovery: Duration,
    /// Broken promises.
    pub(crate) faults: Vec<Fault>,
    /// What did not come about in time.
    pub(crate) missed: Vec<String>,
    /// Processes that ended by themselves.
    pub(crate) crashes: Vec<String>,
}

impl Round {
    /// Whether everything was as promised.
    pub(crate) fn is_right(&self) -> bool {
        self.faults.is_empty() && self.missed.is_empty()
    }

    /// One line for who watches.
    pub(crate) fn line(&self) -> String {
        format!(
            "{:<18} sent {:>5} acked {:>5} to groups {:>5} moved {:>3} refused {:>4} repeats {:>4} faults {} slowest {:>5.1} s recovery {:>5.1} s{}",
            self.nemesis,
            self.sent,
            self.acknowledged,
            self.to_groups,
            self.moved,
            self.refused,
            self.repeats,
            self.faults.len(),
            self.slowest.as_secs_f64(),
            self.recovery.as_secs_f64(),
            if self.crashes.is_empty() {
                String::new()
            } else {
                format!(" ({})", self.crashes.join("; "))
            },
        )
    }
}

#[derive(Default)]
struct Sum {
    rounds: usize,
    sent: u64,
    acknowledged: u64,
    to_groups: u64,
    moved: usize,
    refused: u64,
    kinds: BTreeMap<Kind, usize>,
    slowest: Duration,
    recovery: Duration,
}

impl Sum {
    fn add(&mut self, round: &Round) {
        self.rounds += 1;
        self.sent += round.sent;
        self.acknowledged += round.acknowledged;
        self.to_groups += round.to_groups;
        self.moved += round.moved;
        self.refused += round.refused;
        for fault in &round.faults {
            *self.kinds.entry(fault.kind).or_default() += 1;
        }
        self.slowest = self.slowest.max(round.slowest);
        self.recovery = self.recovery.max(round.recovery);
    }

    fn row(&self, name: &str) -> String {
        let of = |kind| self.kinds.get(&kind).copied().unwrap_or(0);
        format!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {:.1} | {:.1} |",
            self.rounds,
            self.sent,
            self.acknowledged,
            self.to_groups,
            self.moved,
            of(Kind::Lost),
            of(Kind::Doubled),
            of(Kind::Reordered),
            of(Kind::Leaked),
            of(Kind::Back),
            self.refused,
            self.slowest.as_secs_f64(),
            self.recovery.as_secs_f64(),
        )
    }
}

/// A Markdown table, one row per nemesis.
pub(crate) fn table(rounds: &[Round]) -> String {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let mut total = Sum::default();
    for round in rounds {
        sums.entry(&round.nemesis).or_default().add(round);
        total.add(round);
    }
    let mut text = String::from(
        "| nemesis | rounds | sent | acked | to groups | moved | lost | doubled | reordered | leaked | read back | refused | slowest ack, s | recovery, s |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let rows = sums
        .iter()
        .map(|(name, sum)| sum.row(name))
        .chain([total.row("all")]);
    for row in rows {
        // Writing to a text does not fail.
        writeln!(text, "{row}").ok();
    }
    text
}
