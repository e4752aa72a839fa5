//! A small disk of its own for a server: a tmpfs that can be filled and made read-only.
//!
//! Mounting needs root; without it the test fails and says so, because a test that is skipped shows nothing.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Name of the file that takes all the room.
const FILLER: &str = "filler";
/// First written in large pieces, then in the smallest that a file system gives.
const PIECES: [usize; 2] = [1 << 20, 4096];

/// A mounted tmpfs; dropping it unmounts.
#[derive(Debug)]
pub struct Disk {
    place: PathBuf,
    _owned: Option<tempfile::TempDir>,
}

impl Disk {
    /// Mounts a disk of so many MiB.
    ///
    /// # Errors
    /// It can't be mounted; the text says why.
    pub fn new(megabytes: u32) -> anyhow::Result<Self> {
        let owned = tempfile::Builder::new().prefix("magpie-disk-").tempdir()?;
        let place = owned.path().to_owned();
        mount(&place, megabytes)?;
        Ok(Self {
            place,
            _owned: Some(owned),
        })
    }

    /// Mounts a disk over a folder that exists.
    ///
    /// # Errors
    /// It can't be mounted; the text says why.
    pub fn over(folder: &Path, megabytes: u32) -> anyhow::Result<Self> {
        mount(folder, megabytes)?;
        Ok(Self {
            place: folder.to_owned(),
            _owned: None,
        })
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.place
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    /// The disk answers with another error than that it is full.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut filler = File::options()
            .create(true)
            .append(true)
            .open(self.place.join(FILLER))?;
        for piece in PIECES {
            let piece = vec![0; piece];
            loop {
                match filler.write(&piece) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("the disk can't be filled"),
                }
            }
        }
        Ok(())
    }

    /// Gives the room back.
    ///
    /// # Errors
    /// It isn't filled.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.place.join(FILLER))?)
    }

    /// Refuses writes from now on, also those of root. Nobody may have a file open for writing.
    ///
    /// # Errors
    /// It can't be remounted.
    pub fn make_read_only(&self) -> anyhow::Result<()> {
        run(Command::new("mount")
            .args(["-o", "remount,ro"])
            .arg(&self.place))
    }
}

impl Drop for Disk {
    #[expect(clippy::print_stderr, reason = "a leftover mount must be noticed")]
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("umount").arg("--lazy").arg(&self.place)) {
            eprintln!("{} is still mounted: {error:#}", self.place.display());
        }
    }
}

fn mount(place: &Path, megabytes: u32) -> anyhow::Result<()> {
    run(Command::new("mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            &format!("size={megabytes}m"),
            "magpie-test",
        ])
        .arg(place))
    .context(
        "this test needs a disk of its own and can't mount one: run it as root, with CAP_SYS_ADMIN",
    )
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
