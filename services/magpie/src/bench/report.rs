//! What a run of the suite came to: a table for people, Markdown for docs/benchmarks.md, JSON for scripts.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::chat::Outcome;

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

/// Figures and the runs they come from.
pub(super) struct Report {
    setting: Value,
    figures: Vec<Figure>,
    runs: Vec<Value>,
}

impl Report {
    pub(super) fn new(core: &usize, disk: (f64, f64), pairs: usize, bytes: usize) -> Self {
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
            "server_core": core,
            "configuration": "default",
            "pairs": pairs,
            "bytes": bytes,
            "disk_fdatasync_p50_ms": disk.0,
            "disk_fdatasync_p99_ms": disk.1,
        });
        Self {
            setting,
            figures: Vec::new(),
            runs: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, outcome: &Outcome, cpu_ms: f64, batches: Value) {
        self.runs
            .push(json!({ "outcome": outcome, "cpu_ms_per_message": cpu_ms, "batches": batches }));
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
        let mut text = String::from(
            "| figure | Magpie | to reach | reached | best other server |\n|---|---|---|---|---|\n",
        );
        for f in &self.figures {
            let other = f.other.map_or_else(|| "–".to_owned(), Figure::number);
            writeln!(
                text,
                "| {} | {} | {} | {} | {other} |",
                f.name,
                Figure::number(f.value),
                f.limit.text(),
                f.verdict()
            )
            .expect("writing to a string");
        }
        text
    }

    fn markdown(&self) -> String {
        let text = |key: &str| match &self.setting[key] {
            Value::String(s) => s.clone(),
            Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), Figure::number),
            other => other.to_string(),
        };
        let mut page = format!(
            "{}\nMeasured at commit {} on {} ({}), Linux {}, server on core {} alone, load generator on another; default \
             configuration; {} pairs, {} bytes of content. fdatasync of the disk: p50 {} ms, p99 {} ms.\n\n",
            self.table(),
            text("commit"),
            text("processor"),
            text("memory"),
            text("kernel"),
            self.setting["server_core"],
            self.setting["pairs"],
            self.setting["bytes"],
            text("disk_fdatasync_p50_ms"),
            text("disk_fdatasync_p99_ms"),
        );
        page.push_str("| rate /s | s | sent | acknowledged | received | doubled | out of order | CPU ms | ack p99 ms | delivery p50 / p99 / max ms | generator late p99 ms | batch: log, transfer, store rows |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        for run in &self.runs {
            let (o, b) = (&run["outcome"], &run["batches"]);
            let n = |v: &Value| Figure::number(v.as_f64().unwrap_or_default());
            writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} / {} / {} | {} | {}, {}, {} |",
                o["rate"],
                o["seconds"],
                o["sent"],
                o["acknowledged"],
                o["received"],
                o["doubled"],
                o["out_of_order"],
                n(&run["cpu_ms_per_message"]),
                n(&o["ack_p99_ms"]),
                n(&o["delivery_p50_ms"]),
                n(&o["delivery_p99_ms"]),
                n(&o["delivery_max_ms"]),
                n(&o["late_p99_ms"]),
                n(&b["log"]),
                n(&b["transfer"]),
                n(&b["store_rows"]),
            )
            .expect("writing to a string");
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
            let all = json!({ "setting": self.setting, "figures": figures, "runs": self.runs });
            fs::write(path, format!("{all:#}\n"))
                .with_context(|| format!("{} can't be written", path.display()))?;
        }
        if let Some(path) = page {
            let old = fs::read_to_string(path)
                .with_context(|| format!("{} can't be read", path.display()))?;
            let (head, rest) = old
                .split_once(BEGIN)
                .context("the page has no begin marker")?;
            let (_, tail) = rest.split_once(END).context("the page has no end marker")?;
            fs::write(
                path,
                format!("{head}{BEGIN}\n{}{END}{tail}", self.markdown()),
            )?;
        }
        Ok(())
    }
}

const BEGIN: &str = "<!-- figures: written by scripts/bench -->";
const END: &str = "<!-- end of figures -->";
