//! Rows that wait to be published: gathered until the barrier, handed to its checkpoint, and kept until
//! the checkpoint is complete.
//!
//! An epoch is a sequence of frames, the first of which is a header of the sink's own. What does not fit
//! into memory goes to a file that has no name, so that nothing of it stays behind.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use tidemill_common::ids::CheckpointId;
use tidemill_common::limits::FRAME_BYTES_MAX;

use crate::api::ConnectorError;

/// Bytes of an epoch that a writer keeps in memory; the rest goes to disk.
pub(crate) const STAGED_MEMORY_BYTES_MAX: usize = 16 << 20;

/// The rows of an epoch that is closed.
#[derive(Clone)]
pub(crate) enum StagedRows {
    Memory(Bytes),
    File(Arc<File>),
}

impl StagedRows {
    /// The frames from the first on.
    pub fn frames<'a>(&'a self, table: &'a str) -> Frames<'a> {
        let source = match self {
            Self::Memory(bytes) => Source::Memory(bytes),
            Self::File(file) => Source::File(BufReader::new(FromStart { file, position: 0 })),
        };
        Frames { table, source, frame: Vec::new() }
    }

    fn to_vec(&self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Memory(bytes) => Ok(bytes.to_vec()),
            Self::File(file) => {
                let mut all = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(0));
                FromStart { file, position: 0 }.read_to_end(&mut all)?;
                Ok(all)
            }
        }
    }
}

/// Reads a file that others read, too.
struct FromStart<'a> {
    file: &'a File,
    position: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(into, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

enum Source<'a> {
    Memory(&'a [u8]),
    File(BufReader<FromStart<'a>>),
}

impl Read for Source<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Memory(rest) => rest.read(into),
            Self::File(file) => file.read(into),
        }
    }
}

/// The frames of an epoch, in order.
pub(crate) struct Frames<'a> {
    table: &'a str,
    source: Source<'a>,
    frame: Vec<u8>,
}

impl Frames<'_> {
    /// The next frame; `None` after the last.
    ///
    /// # Errors
    /// If the epoch ends inside a frame, or cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<&[u8]>, ConnectorError> {
        let state = |reason: String| ConnectorError::State { table: self.table.to_owned(), reason };
        let mut length = [0; 4];
        match self.source.read(&mut length[..1]) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(error) => return Err(state(format!("staged rows cannot be read: {error}"))),
        }
        let cut = |error: std::io::Error| state(format!("the staged rows are damaged or incomplete: {error}"));
        self.source.read_exact(&mut length[1..]).map_err(cut)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(state(format!("the staged rows are damaged: a row of {length} bytes")));
        }
        self.frame.clear();
        self.frame.resize(length, 0);
        self.source.read_exact(&mut self.frame).map_err(cut)?;
        Ok(Some(&self.frame))
    }
}

/// What a sink has taken and not published.
pub(crate) struct Staging {
    table: String,
    header: Vec<u8>,
    memory_bytes_max: usize,
    memory: Vec<u8>,
    file: Option<File>,
    closed: VecDeque<(CheckpointId, StagedRows)>,
}

impl Staging {
    /// Every epoch will begin with `header`.
    pub fn new(table: &str, header: Vec<u8>, memory_bytes_max: usize) -> Self {
        let closed = VecDeque::new();
        Self { table: table.to_owned(), header, memory_bytes_max, memory: Vec::new(), file: None, closed }
    }

    /// Adds a frame, written by `write`.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ConnectorError> {
        if self.is_empty() {
            let header = std::mem::take(&mut self.header);
            self.frame(|out| out.extend_from_slice(&header))?;
            self.header = header;
        }
        self.frame(write)?;
        if self.memory.len() > self.memory_bytes_max { self.spill() } else { Ok(()) }
    }

    fn is_empty(&self) -> bool {
        self.memory.is_empty() && self.file.is_none()
    }

    fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), ConnectorError> {
        let begin = self.memory.len();
        self.memory.extend_from_slice(&[0; 4]);
        write(&mut self.memory);
        let length = self.memory.len() - begin - 4;
        if length > FRAME_BYTES_MAX {
            self.memory.truncate(begin);
            return Err(ConnectorError::Write {
                table: self.table.clone(),
                reason: format!("a row has {length} bytes, more than {FRAME_BYTES_MAX}"),
            });
        }
        self.memory[begin..begin + 4].copy_from_slice(&(length as u32).to_le_bytes());
        Ok(())
    }

    fn spill(&mut self) -> Result<(), ConnectorError> {
        let written = match &mut self.file {
            Some(file) => file.write_all(&self.memory),
            None => tempfile::tempfile().and_then(|mut file| {
                file.write_all(&self.memory)?;
                self.file = Some(file);
                Ok(())
            }),
        };
        written.map_err(|error| ConnectorError::External {
            table: self.table.clone(),
            reason: format!(
                "the rows of a checkpoint do not fit into memory and cannot be kept in '{}': {error}",
                std::env::temp_dir().display()
            ),
            action: "make room there, set TMPDIR, or shorten 'execution.checkpointing.interval'".to_owned(),
        })?;
        self.memory.clear();
        Ok(())
    }

    /// Closes the epoch and gives its rows, for the checkpoint. `None` if there are none.
    pub fn close(&mut self, checkpoint: CheckpointId) -> Result<Option<Vec<u8>>, ConnectorError> {
        if self.is_empty() {
            return Ok(None);
        }
        if self.file.is_some() && !self.memory.is_empty() {
            self.spill()?;
        }
        let rows = match self.file.take() {
            Some(file) => StagedRows::File(Arc::new(file)),
            None => StagedRows::Memory(std::mem::take(&mut self.memory).into()),
        };
        let all = rows.to_vec().map_err(|error| ConnectorError::State {
            table: self.table.clone(),
            reason: format!("staged rows cannot be read: {error}"),
        })?;
        self.closed.push_back((checkpoint, rows));
        Ok(Some(all))
    }

    /// The oldest epoch that `checkpoint` covers.
    pub fn oldest(&self, checkpoint: CheckpointId) -> Option<(CheckpointId, StagedRows)> {
        self.closed.front().filter(|(epoch, _)| *epoch <= checkpoint).cloned()
    }

    /// The oldest epoch is published.
    pub fn published(&mut self) {
        self.closed.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(staged: &StagedRows) -> Result<Vec<Vec<u8>>, ConnectorError> {
        let mut frames = staged.frames("t");
        let mut all = Vec::new();
        while let Some(frame) = frames.next_frame()? {
            all.push(frame.to_vec());
        }
        Ok(all)
    }

    #[test]
    fn epochs_in_memory_and_on_disk_hold_the_same_rows() {
        let expected: Vec<Vec<u8>> =
            std::iter::once(b"header".to_vec()).chain((0..1000usize).map(|row| vec![row as u8; row % 50])).collect();
        for memory_bytes_max in [1, 100, 5_000, 1 << 20] {
            let mut staging = Staging::new("t", b"header".to_vec(), memory_bytes_max);
            assert_eq!(staging.close(CheckpointId(1)).unwrap(), None);
            for checkpoint in [2, 3] {
                for row in &expected[1..] {
                    staging.push(|out| out.extend_from_slice(row)).unwrap();
                    assert!(staging.memory.len() <= memory_bytes_max);
                }
                let kept = staging.close(CheckpointId(checkpoint)).unwrap().unwrap();
                assert_eq!(rows(&StagedRows::Memory(kept.into())).unwrap(), expected);
            }
            assert!(staging.oldest(CheckpointId(1)).is_none());
            let (checkpoint, staged) = staging.oldest(CheckpointId(3)).unwrap();
            assert_eq!(checkpoint, CheckpointId(2));
            // Again, as after a failure.
            for _ in 0..2 {
                assert_eq!(rows(&staged).unwrap(), expected);
            }
            staging.published();
            assert_eq!(staging.oldest(CheckpointId(9)).unwrap().0, CheckpointId(3));
            staging.published();
            assert!(staging.oldest(CheckpointId(9)).is_none());
        }
    }

    #[test]
    fn damaged_epochs_are_told() {
        let mut staging = Staging::new("t", b"h".to_vec(), 100);
        staging.push(|out| out.extend_from_slice(b"row")).unwrap();
        let kept = staging.close(CheckpointId(1)).unwrap().unwrap();
        for end in (1..kept.len()).filter(|end| *end != 5) {
            let cut = StagedRows::Memory(kept[..end].to_vec().into());
            assert!(matches!(rows(&cut), Err(ConnectorError::State { .. })), "cut at {end}");
        }
        let long = StagedRows::Memory(vec![0xff; 20].into());
        assert!(rows(&long).unwrap_err().to_string().contains("a row of 4294967295 bytes"));
    }
}
