//! `magpie` as a process of its own.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// The program without the caller's own settings.
pub(crate) fn magpie(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_magpie"));
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MAGPIE_"))
    {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub(crate) fn output(args: &[&str]) -> Output {
    magpie(args).output().expect("magpie starts")
}

/// A text of its output.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

/// A running `magpie up`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Its ready line.
    pub(crate) ready: Value,
}

impl Server {
    /// Starts one on free ports and waits until it is ready.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(dir, &[], Stdio::inherit())
    }

    /// Starts one with these variables; its log goes to `stderr`.
    pub(crate) fn start_with(dir: &Path, env: &[(&str, &str)], stderr: Stdio) -> Self {
        let mut args = vec![
            "up",
            "--json",
            "--data-dir",
            dir.to_str().expect("a plain path"),
        ];
        for port in [
            "--ws-listen",
            "--api-listen",
            "--ops-listen",
            "--grpc-listen",
        ] {
            args.extend([port, "127.0.0.1:0"]);
        }
        let mut child = magpie(&args)
            .envs(env.iter().copied())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("magpie starts");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("piped"))
            .read_line(&mut line)
            .expect("a line");
        let ready = serde_json::from_str(&line).expect("one line of JSON");
        Self { child, ready }
    }

    /// An address of the ready line.
    pub(crate) fn url(&self, port: &str) -> &str {
        self.ready.get(port).and_then(Value::as_str).expect("a URL")
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// Waits for its end: exit code and what else it printed on stdout.
    pub(crate) fn wait(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.child
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut rest)
            .expect("text");
        (self.child.wait().expect("it ends").code(), rest)
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        let pid = self.pid().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .expect("kill runs")
                .success()
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already ended when the test waited for it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
