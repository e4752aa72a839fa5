//! What `--help` teaches besides the list of options, and the answer to a command that does not exist.

use std::ffi::OsString;

use clap::CommandFactory as _;

use crate::{cli::Cli, output::Failure};

/// Of `magpie --help`.
pub(crate) const PROGRAM: &str = "\
Examples:
  magpie up                                       everything in one process, in ./data
  magpie admin create-user alice                  a user, on the server started above
  magpie admin send --to alice \"hello alice\"      a message to her
  magpie config                                   every setting, its value and where that is from

Every setting is a key of the file (--config), a MAGPIE_* variable, and some have a flag; docs/configuration.md lists them.
Exit codes: 0 done, 1 failed while working, 2 the command line or the configuration is wrong.";

/// Of `magpie up --help`.
pub(crate) const UP: &str = "\
Examples:
  magpie up
      in ./data, on 127.0.0.1; the first start makes the secret (./data/secret)
  magpie up --data-dir /var/lib/magpie --ws-listen 0.0.0.0:10001 --api-listen 0.0.0.0:10002
      reachable from other machines
  MAGPIE_SECRET=... magpie up --config /etc/magpie.toml
      with your own secret and settings
  magpie up --json --data-dir \"$(mktemp -d)\" --ws-listen 127.0.0.1:0 --api-listen 127.0.0.1:0 \\
      --ops-listen 127.0.0.1:0 --grpc-listen 127.0.0.1:0
      for scripts: free ports, and one line of JSON that names them when it is ready

SIGTERM or Ctrl-C drains and ends it; a second one forces.";

/// Of each service.
pub(crate) const SERVICE: &str = "\
A service of a cluster: start as many processes of each as you like, all with the same file and secrets (docs/operations.md).
They find each other through etcd.

Example, with `scripts/deps start` and its addresses in cluster.toml:
  magpie msg --config cluster.toml
  MAGPIE_CLUSTER_SECRET=... MAGPIE_SECRET=... magpie gateway --config cluster.toml --ws-listen 0.0.0.0:10001

SIGTERM or Ctrl-C leaves the registry, drains and ends it; a second one forces.";

/// Of `magpie config --help`.
pub(crate) const CONFIG: &str = "\
Examples:
  magpie config                                       what `magpie up` would use
  magpie config --config /etc/magpie.toml | grep -v default
                                                      only what was changed
  MAGPIE_GATEWAY_MAX_CONNECTIONS=500 magpie config    a key in capitals, `_` for the dot, is its variable";

/// Of `magpie admin --help`.
pub(crate) const ADMIN: &str = "\
The server's secret is read as `magpie up` reads it: MAGPIE_SECRET, --secret-file, or the data directory.

Examples:
  magpie admin create-user alice --nickname Alice
  magpie admin token alice --platform 5             for a client SDK
  magpie admin token                                for a back end: the header `token` of the REST API
  magpie admin send --from bob --to alice \"hello\"
  magpie admin stats                                build, readiness, metrics
  magpie admin status                               a cluster: instances, engines, what is wrong
  magpie admin repartition --help                   a cluster: more partitions, or fewer
  magpie admin --api http://chat.example:10002 --secret-file secret.txt token alice";

/// Of `magpie admin repartition --help`.
pub(crate) const REPARTITION: &str = "\
More partitions let more transfer and push processes share the work. Messages can't be sent meanwhile; everything else goes on.

  1. stop every msg process; at least one transfer and one push stay. Where a process has all services (`up --cluster`), stop
     those, and start `magpie transfer` and `magpie push` for the time being
  2. magpie admin repartition --partitions 128
     waits until everything in the log is stored and delivered, makes new topics, and deletes the old ones
  3. set kafka.partitions = 128; transfer and push end by themselves, start them and msg

When it refuses, nothing has changed. When it was interrupted, run it again; until then msg, transfer and push do not start.
To come back from an interrupted one, run it with the number of before.";

/// The answer to a command that does not exist.
pub(crate) fn no_command(words: &[OsString]) -> Failure {
    let name = words.first().map(|n| n.to_string_lossy());
    let cli = Cli::command();
    let commands: Vec<_> = cli.get_subcommands().map(clap::Command::get_name).collect();
    Failure::Usage(format!(
        "no such command: {}; there are {}",
        name.as_deref().unwrap_or_default(),
        commands.join(", ")
    ))
}
