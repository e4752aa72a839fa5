//! The contract of the message log, run by the local engine on real files and small segments.

use std::time::Duration;

use async_trait::async_trait;
use magpie_log::{SharedLog, conformance::Factory};
use magpie_log_local::{LocalLog, Options};

struct Local {
    dir: tempfile::TempDir,
    options: Options,
}

impl Local {
    fn new(options: Options) -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
            options,
        }
    }
}

#[async_trait]
impl Factory for Local {
    async fn open(&self) -> SharedLog {
        LocalLog::open(self.dir.path(), self.options.clone()).expect("open")
    }

    fn max_record(&self) -> usize {
        self.options.max_record
    }
}

mod as_configured {
    use super::*;
    magpie_log::conformance_tests!(Local::new(Options::default()));
}

/// Every record is its own segment nearly, and nothing stays in memory: all reads are from disk.
mod small_segments_and_no_memory {
    use super::*;
    magpie_log::conformance_tests!(Local::new(Options {
        segment_bytes: 5000,
        recent_bytes: 0,
        max_record: 20_000,
        sync_spacing: Duration::ZERO,
        deferred_interval: Duration::from_millis(5),
        ..Options::default()
    }));
}
