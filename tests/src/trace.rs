//! The system calls of a running server, by strace.
//!
//! [`Trace::of`] attaches to a process, [`Trace::stop`] gives what it did. Lines of a trace are in the order in which things
//! happened, so "after" is a comparison of lines: a call that another thread's came between has one line for its begin and
//! one for its end. [`acknowledged_too_early`] is the check that the log was synced before an answer went out.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// How long strace may take to attach or to end.
const BOUND: Duration = Duration::from_secs(30);
/// What can bring a record to disk or an answer to a client.
const CALLS: &str =
    "trace=fdatasync,fsync,pwrite64,pwritev,pwritev2,write,writev,sendto,sendmsg,sendmmsg";

/// A system call that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub name: String,
    /// Its arguments as strace prints them: `14</path>, "bytes", 5`.
    pub arguments: String,
    /// What it returned.
    pub result: i64,
    /// Line of its begin.
    pub begin: usize,
    /// Line of its end.
    pub end: usize,
}

impl Call {
    /// The file descriptor with the path or socket behind it.
    #[must_use]
    pub fn file(&self) -> &str {
        let end = |at: usize| at + 1;
        match self.arguments.find('>') {
            Some(at) => self.arguments.get(..end(at)).unwrap_or_default(),
            None => self.arguments.split(',').next().unwrap_or_default(),
        }
    }
}

/// A running strace.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    file: PathBuf,
    _owned: tempfile::TempDir,
}

impl Trace {
    /// Attaches to all threads of a process.
    ///
    /// # Errors
    /// strace is missing or may not attach.
    pub async fn of(pid: u32) -> anyhow::Result<Self> {
        let owned = tempfile::Builder::new().prefix("magpie-trace-").tempdir()?;
        let file = owned.path().join("calls");
        let mut child = Command::new("strace")
            .args(["-f", "-y", "-s", "1000000", "-e", CALLS, "-o"])
            .arg(&file)
            .args(["-p", &pid.to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("this test needs strace (apt-get install strace)")?;
        let stderr = child.stderr.take().context("stderr is piped")?;
        let mut lines = BufReader::new(stderr).lines();
        let attached = async {
            while let Some(line) = lines.next_line().await? {
                if line.contains("attached") {
                    return Ok(());
                }
                if !line.trim().is_empty() {
                    bail!("strace can't attach: {line}");
                }
            }
            bail!("strace ended at once")
        };
        timeout(BOUND, attached)
            .await
            .context("strace doesn't attach")??;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self {
            child,
            file,
            _owned: owned,
        })
    }

    /// Detaches; the calls that were seen, in the order of their ends.
    ///
    /// # Errors
    /// strace doesn't end, or writes what is no trace.
    pub async fn stop(mut self) -> anyhow::Result<Vec<Call>> {
        let pid = self.child.id().context("strace has ended")?;
        let status = Command::new("kill")
            .args(["-INT", &pid.to_string()])
            .status();
        if !status.await?.success() {
            bail!("strace can't be stopped");
        }
        timeout(BOUND, self.child.wait())
            .await
            .context("strace doesn't end")??;
        Ok(calls(&String::from_utf8_lossy(&std::fs::read(&self.file)?)))
    }
}

/// The finished calls of a trace.
#[must_use]
pub fn calls(trace: &str) -> Vec<Call> {
    let mut begun: HashMap<&str, (usize, String)> = HashMap::new();
    let mut calls = Vec::new();
    for (at, line) in trace.lines().enumerate() {
        let Some((thread, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        if let Some(begin) = rest.strip_suffix("<unfinished ...>") {
            begun.insert(thread, (at, begin.trim_end().to_owned()));
            continue;
        }
        let (begin, whole) = match rest.strip_prefix("<... ") {
            None => (at, rest.to_owned()),
            Some(resumed) => {
                let Some((begin, start)) = begun.remove(thread) else {
                    continue;
                };
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                (begin, start + end)
            }
        };
        let Some((name, rest)) = whole.split_once('(') else {
            continue;
        };
        // strace pads the result to a column.
        let Some((arguments, result)) = rest.rsplit_once(" = ") else {
            continue;
        };
        let arguments = arguments.trim_end().trim_end_matches(')');
        let number = result.split([' ', '<']).next().unwrap_or_default();
        calls.push(Call {
            name: name.to_owned(),
            arguments: arguments.trim_end().to_owned(),
            result: number.parse().unwrap_or(-1),
            begin,
            end: at,
        });
    }
    calls
}

/// What is wrong with the way of one message, if anything: `content` must be written to a file whose path has `log`, that
/// file must be synced after it, and only then `answer` may go to a socket.
#[must_use]
pub fn acknowledged_too_early(
    calls: &[Call],
    content: &str,
    log: &str,
    answer: &str,
) -> Option<String> {
    let is_socket = |call: &Call| call.file().contains("<socket:") || call.file().contains("<TCP");
    let Some(written) = calls
        .iter()
        .find(|c| c.file().contains(log) && c.arguments.contains(content))
    else {
        return Some(format!("{content} was not written to the log"));
    };
    let Some(synced) = calls.iter().find(|c| {
        matches!(c.name.as_str(), "fdatasync" | "fsync")
            && c.file() == written.file()
            && c.begin > written.end
            && c.result == 0
    }) else {
        return Some(format!("{content} was not synced"));
    };
    let Some(answered) = calls
        .iter()
        .filter(|c| is_socket(c) && c.arguments.contains(answer))
        .min_by_key(|c| c.begin)
    else {
        return Some(format!("{answer} was not written to a socket"));
    };
    (answered.begin < synced.end).then(|| {
        format!(
            "{content}: answered in line {}, synced only in line {}",
            answered.begin + 1,
            synced.end + 1
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: [&str; 6] = [
        r#"7 pwrite64(14</d/log/inbound.0>, "..one..", 7, 4096) = 7"#,
        r#"8 sendto(20<socket:[1]>, "other", 5, 0, NULL, 0 <unfinished ...>"#,
        "7 fdatasync(14</d/log/inbound.0> <unfinished ...>",
        "8 <... sendto resumed>) = 5",
        "7 <... fdatasync resumed>)          = 0",
        r#"8 sendto(20<socket:[1]>, "answer-1", 8, MSG_NOSIGNAL, NULL, 0) = 8"#,
    ];

    fn fault(lines: &[&str]) -> Option<String> {
        acknowledged_too_early(
            &calls(&lines.join("\n")),
            "one",
            "/log/inbound.",
            "answer-1",
        )
    }

    #[test]
    fn calls_are_put_together_from_their_lines() {
        let calls = calls(&RIGHT.join("\n"));
        let sync = &calls[2];
        assert_eq!(
            (sync.name.as_str(), sync.begin, sync.end, sync.result),
            ("fdatasync", 2, 4, 0)
        );
        assert_eq!(sync.file(), "14</d/log/inbound.0>");
        assert_eq!(calls.len(), 4);
    }

    #[test]
    fn an_answer_before_the_end_of_the_sync_is_found() {
        assert_eq!(fault(&RIGHT), None);
        for (from, to) in [(5, 0), (5, 1), (5, 4)] {
            let mut lines = RIGHT.to_vec();
            let line = lines.remove(from);
            lines.insert(to, line);
            let found = fault(&lines).unwrap();
            assert!(found.contains("synced only"), "{found}");
        }
    }

    #[test]
    fn a_missing_write_sync_or_answer_is_found() {
        let without = |part: &str| {
            let lines: Vec<_> = RIGHT.into_iter().filter(|l| !l.contains(part)).collect();
            fault(&lines).unwrap()
        };
        assert!(without("one").contains("not written to the log"));
        assert!(without("fdatasync").contains("was not synced"));
        assert!(without("answer-1").contains("not written to a socket"));
        let failed = RIGHT.map(|line| match line {
            "7 <... fdatasync resumed>)          = 0" => {
                "7 <... fdatasync resumed>) = -1 EIO (Input/output error)"
            }
            line => line,
        });
        assert!(fault(&failed).unwrap().contains("was not synced"));
        let elsewhere = RIGHT.map(|line| {
            if line.contains("fdatasync(") {
                "7 fdatasync(15</d/log/stored.0> <unfinished ...>"
            } else {
                line
            }
        });
        assert!(fault(&elsewhere).unwrap().contains("was not synced"));
    }
}
