//! A server process in a process group of its own, killed when it is dropped and when the test process dies.

use std::{
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{LazyLock, mpsc},
    thread,
    time::Duration,
};

/// Pause between two looks at a process that starts.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) struct Process(Child);

impl Process {
    /// Starts the command; `log` gets what it prints.
    pub(crate) fn spawn(command: Command, log: &Path) -> Self {
        // The kernel kills the child with the thread that made it (PR_SET_PDEATHSIG), and exec keeps that.
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]);
        tied.arg(command.get_program()).args(command.get_args());
        let dir = log.parent().expect("the log is in a folder");
        std::fs::create_dir_all(dir).expect("the server's folder");
        let log = OpenOptions::new().create(true).append(true).open(log);
        let log = log.expect("the server's log");
        tied.stdout(log.try_clone().expect("a second handle"));
        tied.stderr(log).stdin(Stdio::null()).process_group(0);
        Self(spawn(tied).expect("setpriv (package util-linux) runs"))
    }

    /// Runs a command that ends when the server is ready.
    pub(crate) fn wait_for(&mut self, mut command: Command) -> Result<(), String> {
        let started = command.stdin(Stdio::null()).spawn();
        let mut ready = started.map_err(|e| format!("scripts/deps does not run: {e}"))?;
        loop {
            if let Ok(Some(status)) = self.0.try_wait() {
                drop(ready.kill());
                drop(ready.wait());
                return Err(format!("it ended with {status}; its log ends so:"));
            }
            match ready.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(None) => thread::sleep(PAUSE),
                other => return Err(format!("it does not answer ({other:?}); its log ends so:")),
            }
        }
    }

    pub(crate) fn signal(&self, signal: &str) {
        let group = format!("-{}", self.0.id());
        let status = Command::new("kill")
            .args(["-s", signal, "--", &group])
            .status();
        assert!(
            status.is_ok_and(|s| s.success()),
            "kill -s {signal} -- {group}"
        );
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Not reaped yet, so that the number is still its own; one that ended by itself has no group any more.
        if let Ok(None) = self.0.try_wait() {
            self.signal("KILL");
        }
        drop(self.0.wait());
    }
}

type Order = (Command, mpsc::Sender<io::Result<Child>>);

/// Makes a child of a thread that lives as long as this process; a test's own thread ends with the test.
fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: LazyLock<mpsc::Sender<Order>> = LazyLock::new(|| {
        let (orders, inbox) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in inbox {
                drop(answer.send(command.spawn()));
            }
        });
        orders
    });
    let (answer, child) = mpsc::channel();
    SPAWNER
        .send((command, answer))
        .map_err(|e| io::Error::other(e.to_string()))?;
    child.recv().map_err(io::Error::other)?
}
