//! What a run of the suite came to: a table for people, Markdown for docs/benchmarks.md, JSON for scripts.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::Context as _;
use serde::Serialize;
use serde_json::{Value, json};

use super::chat::Outcome;
use crate::output::say;

/// What a figure has to reach.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

impl Limit {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(limit) => value <= limit,
            Self::AtLeast(limit) => value >= limit,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(limit) => format!("≤ {limit}"),
            Self::AtLeast(limit) => format!("≥ {limit}"),
        }
    }
}

struct Figure {
    name: String,
    value: f64,
    limit: Limit,
    /// What the best other server needed for the same on such a machine.
    other: Option<f64>,
    /// Nothing was lost, doubled or out of order while it was taken.
    clean: bool,
}

impl Figure {
    fn reached(&self) -> bool {
        self.clean && self.limit.holds(self.value)
    }

    fn verdict(&self) -> &'static str {
        match (self.clean, self.reached()) {
            (false, _) => "not clean",
            (true, true) => "yes",
            (true, false) => "no",
        }
    }

    fn number(value: f64) -> String {
        match value.abs() {
            v if v >= 100.0 => format!("{value:.0}"),
            v if v >= 10.0 => format!("{value:.1}"),
            v if v >= 1.0 => format!("{value:.2}"),
            _ => format!("{value:.3}"),
        }
    }
}

/// A run, with numbers that only some suites have.
struct Run {
    outcome: Outcome,
    cpu_ms: f64,
    more: Vec<(&'static str, f64)>,
}

/// What one process of an idle cluster takes, and what it takes to carry messages.
#[derive(Debug, Serialize)]
pub(super) struct Share {
    pub(super) process: String,
    pub(super) memory_mib: Option<f64>,
    pub(super) cpu_ms_per_message: Option<f64>,
}

/// Figures and the runs they come from.
pub(super) struct Report {
    /// The table's place on the page, and the command that fills it.
    command: &'static str,
    setting: Value,
    figures: Vec<Figure>,
    runs: Vec<Run>,
    shares: Vec<Share>,
}

impl Report {
    pub(super) fn new(
        command: &'static str,
        arrangement: &str,
        disk: (f64, f64),
        pairs: usize,
        bytes: usize,
    ) -> Self {
        let line = |path: &str, key: &str| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let found = text.lines().find(|l| l.starts_with(key));
            found
                .and_then(|l| l.split_once(':'))
                .map_or("unknown", |(_, v)| v.trim())
                .to_owned()
        };
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let setting = json!({
            "processor": line("/proc/cpuinfo", "model name"),
            "memory": line("/proc/meminfo", "MemTotal"),
            "kernel": kernel.trim(),
            "commit": option_env!("MAGPIE_COMMIT").unwrap_or("unknown"),
            "arrangement": arrangement,
            "pairs": pairs,
            "bytes": bytes,
            "disk_fdatasync_p50_ms": disk.0,
            "disk_fdatasync_p99_ms": disk.1,
        });
        Self {
            command,
            setting,
            figures: Vec::new(),
            runs: Vec::new(),
            shares: Vec::new(),
        }
    }

    /// Notes a run and says what it came to. All runs of a report have the same names in `more`.
    pub(super) fn run(&mut self, outcome: &Outcome, cpu_ms: f64, more: Vec<(&'static str, f64)>) {
        say(&format!(
            "  {:>5}/s: cpu {cpu_ms:.4} ms, ack p99 {:.1} ms, delivery p50 {:.1} p99 {:.1} ms, clean {}, generator late p99 {:.1} ms",
            outcome.rate,
            outcome.ack_p99_ms,
            outcome.delivery_p50_ms,
            outcome.delivery_p99_ms,
            outcome.is_clean(),
            outcome.late_p99_ms
        ));
        self.runs.push(Run {
            outcome: outcome.clone(),
            cpu_ms,
            more,
        });
    }

    pub(super) fn shares(&mut self, shares: Vec<Share>) {
        self.shares.extend(shares);
    }

    pub(super) fn figure(
        &mut self,
        name: &str,
        value: f64,
        limit: Limit,
        other: Option<f64>,
        clean: bool,
    ) {
        self.figures.push(Figure {
            name: name.to_owned(),
            value,
            limit,
            other,
            clean,
        });
    }

    /// Rows of Markdown, which read well on a terminal too.
    pub(super) fn table(&self) -> String {
        let compared = self.figures.iter().any(|f| f.other.is_some());
        let mut head = vec!["figure", "Magpie", "to reach", "reached"];
        head.extend(compared.then_some("best other server"));
        let rows = self.figures.iter().map(|f| {
            let mut row = vec![
                f.name.clone(),
                Figure::number(f.value),
                f.limit.text(),
                f.verdict().to_owned(),
            ];
            let other = f.other.map_or_else(|| "–".to_owned(), Figure::number);
            row.extend(compared.then_some(other));
            row
        });
        table(&head, rows)
    }

    fn markdown(&self) -> String {
        let text = |key: &str| match &self.setting[key] {
            Value::String(s) => s.clone(),
            Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), Figure::number),
            other => other.to_string(),
        };
        let mut page = format!(
            "{}\nMeasured at commit {} on {} ({}), Linux {}, {}; {} pairs, {} bytes of content. fdatasync of the disk: p50 {} ms, \
             p99 {} ms.\n",
            self.table(),
            text("commit"),
            text("processor"),
            text("memory"),
            text("kernel"),
            text("arrangement"),
            self.setting["pairs"],
            self.setting["bytes"],
            text("disk_fdatasync_p50_ms"),
            text("disk_fdatasync_p99_ms"),
        );
        if !self.shares.is_empty() {
            let number = |n: Option<f64>| n.map_or_else(|| "–".to_owned(), Figure::number);
            let rows = self.shares.iter().map(|s| {
                let numbers = [number(s.memory_mib), number(s.cpu_ms_per_message)];
                [s.process.clone()].into_iter().chain(numbers).collect()
            });
            let head = ["process", "idle, MiB", "CPU per message, ms"];
            page.push_str(&format!("\n{}", table(&head, rows)));
        }
        if let Some(first) = self.runs.first() {
            let mut head = vec![
                "rate /s",
                "s",
                "sent",
                "acknowledged",
                "received",
                "doubled",
                "out of order",
                "CPU ms",
                "ack p99 ms",
                "delivery p50 / p99 / max ms",
                "generator late p99 ms",
            ];
            head.extend(first.more.iter().map(|(name, _)| *name));
            page.push_str(&format!(
                "\n{}",
                table(&head, self.runs.iter().map(Run::row))
            ));
        }
        page
    }

    /// Writes the JSON file, and puts the tables between the markers of the Markdown page.
    pub(super) fn write(&self, json: Option<&Path>, page: Option<&Path>) -> anyhow::Result<()> {
        if let Some(path) = json {
            let figures: Vec<_> = self
                .figures
                .iter()
                .map(|f| {
                    json!({
                        "figure": f.name, "value": f.value, "to_reach": f.limit.text(), "reached": f.reached(),
                        "clean": f.clean, "best_other_server": f.other,
                    })
                })
                .collect();
            let runs: Vec<_> = self
                .runs
                .iter()
                .map(|r| {
                    let more: BTreeMap<_, _> = r.more.iter().copied().collect();
                    json!({ "outcome": r.outcome, "cpu_ms_per_message": r.cpu_ms, "more": more })
                })
                .collect();
            let all = json!({ "setting": self.setting, "figures": figures, "runs": runs, "processes": self.shares });
            fs::write(path, format!("{all:#}\n"))
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
        if let Some(path) = page {
            let old = fs::read_to_string(path)
                .with_context(|| format!("{} can't be read", path.display()))?;
            let begin = format!("<!-- figures: written by {} -->", self.command);
            let (head, rest) = old
                .split_once(&begin)
                .with_context(|| format!("the page has no line {begin}"))?;
            let (_, tail) = rest
                .split_once(END)
                .with_context(|| format!("the page has no line {END} below"))?;
            fs::write(
                path,
                format!("{head}{begin}\n{}{END}{tail}", self.markdown()),
            )?;
        }
        Ok(())
    }
}

impl Run {
    fn row(&self) -> Vec<String> {
        let (o, number) = (&self.outcome, Figure::number);
        let mut row = vec![
            o.rate.to_string(),
            o.seconds.to_string(),
            o.sent.to_string(),
            o.acknowledged.to_string(),
            o.received.to_string(),
            o.doubled.to_string(),
            o.out_of_order.to_string(),
            number(self.cpu_ms),
            number(o.ack_p99_ms),
            format!(
                "{} / {} / {}",
                number(o.delivery_p50_ms),
                number(o.delivery_p99_ms),
                number(o.delivery_max_ms)
            ),
            number(o.late_p99_ms),
        ];
        row.extend(self.more.iter().map(|(_, value)| number(*value)));
        row
    }
}

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut text = line(head) + &format!("|{}\n", "---|".repeat(head.len()));
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        text.push_str(&line(&cells));
    }
    text
}

const END: &str = "<!-- end of figures -->";
