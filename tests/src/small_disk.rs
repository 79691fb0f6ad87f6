//! A file system that is soon full.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::services::report_skipped;

/// A file system in memory, mounted until it is dropped.
pub struct SmallDisk {
    directory: TempDir,
}

impl SmallDisk {
    /// Mounts one of so many MB. `None` where that is not allowed; the reason is printed.
    ///
    /// # Errors
    /// If there is no directory to mount it on, or no `mount`.
    pub fn mount(mb: u32) -> anyhow::Result<Option<Self>> {
        let directory = tempfile::tempdir()?;
        let options = format!("size={mb}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tidemill"]).arg(directory.path()).output()?;
        if !mounted.status.success() {
            let reason = String::from_utf8_lossy(&mounted.stderr).trim().to_owned();
            report_skipped(&format!("no file system can be mounted: {reason}"));
            return Ok(None);
        }
        Ok(Some(Self { directory }))
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all room that is left.
    ///
    /// # Errors
    /// If it fails for another reason than that there is no more.
    pub fn fill(&self) -> anyhow::Result<()> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        // The last bytes too.
        for chunk in [1 << 20, 4_096, 1] {
            loop {
                match file.write(&vec![0; chunk]) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Gives back what was taken.
    ///
    /// # Errors
    /// If nothing was.
    pub fn make_room(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes may have files open in it: then it goes with the last of them.
        match Command::new("umount").arg("--lazy").arg(self.path()).status() {
            Ok(status) if status.success() => {}
            ended => eprintln!("{} stays mounted: {ended:?}", self.path().display()),
        }
    }
}
