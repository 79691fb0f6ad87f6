//! Parts in a store of objects: uploads in pieces, which show nothing until they are completed.
//!
//! A part's upload goes on while rows come. Its id and pieces travel in the checkpoint that names the part;
//! whoever publishes the part completes the upload, and one that is completed stays so. The store keeps what
//! nobody completes until it is told otherwise: uploads of a writer that died are left to the bucket's rule
//! for incomplete uploads.

use std::collections::VecDeque;

use object_store::multipart::PartId;
use object_store::path::Path as Key;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use url::Url;

use super::parts::{PartFile, PartStore, PendingPart, PendingParts};
use super::remote::Remote;
use crate::api::ConnectorError;

/// Size of a piece. Stores take pieces from 5 MiB on, and at most 10 000 of them.
const PIECE_BYTES: usize = 8 << 20;
/// Pieces of one part on their way at once.
const PIECES_IN_FLIGHT_MAX: usize = 4;

/// An upload that only needs to be completed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Upload {
    id: String,
    /// The store's names of its pieces, in order.
    pieces: Vec<String>,
}

/// The parts of one writer in a directory of a bucket.
pub(super) struct RemoteParts {
    remote: Remote,
}

impl RemoteParts {
    pub fn new(remote: Remote) -> Self {
        Self { remote }
    }
}

/// The key of a file in a partition of a directory.
fn key_in(remote: &Remote, partition: &str, name: &str) -> Result<Key, ConnectorError> {
    let parts = [remote.directory.as_ref(), partition, name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    remote.key(std::path::Path::new(&parts.join("/")))
}

impl PartStore for RemoteParts {
    fn create(&mut self, name: String, partition: String) -> Result<Box<dyn PartFile>, ConnectorError> {
        let key = key_in(&self.remote, &partition, &name)?;
        let id = self.remote.wait("begin an upload of", &key, self.remote.bucket.uploads.create_multipart(&key))?;
        let part = PendingPart { hidden: String::new(), name, bytes: 0, partition, upload: None };
        Ok(Box::new(RemotePart {
            remote: self.remote.clone(),
            key,
            id: Some(id),
            buffer: Vec::new(),
            pieces: Vec::new(),
            in_flight: VecDeque::new(),
            begun: 0,
            part,
        }))
    }

    fn sync(&mut self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn publish(&mut self, parts: &PendingParts) -> Result<(), ConnectorError> {
        // The table may have moved since: the parts have not.
        let remote = match Url::parse(&parts.directory.to_string_lossy()) {
            Ok(url) if url != self.remote.url => Remote::open(&self.remote.table, &url, &self.remote.context)?,
            _ => self.remote.clone(),
        };
        parts.parts.iter().try_for_each(|part| complete(&remote, part))
    }

    fn mark(&mut self, partition: &str, name: &str) -> Result<(), ConnectorError> {
        let key = key_in(&self.remote, partition, name)?;
        self.remote.wait("write", &key, self.remote.bucket.objects.put(&key, PutPayload::new())).map(drop)
    }

    fn sweep(&mut self, _kept: &[PendingParts]) {}

    fn discard(&mut self, part: &PendingPart) {
        if let (Ok(key), Some(upload)) = (key_in(&self.remote, &part.partition, &part.name), &part.upload) {
            abort(&self.remote, key, upload.id.clone());
        }
    }
}

/// Completes the upload of a part, unless it is completed.
fn complete(remote: &Remote, part: &PendingPart) -> Result<(), ConnectorError> {
    let key = key_in(remote, &part.partition, &part.name)?;
    let Some(upload) = &part.upload else {
        return Err(ConnectorError::State {
            table: remote.table.clone(),
            reason: format!("the part '{key}' has no upload"),
        });
    };
    let pieces = upload.pieces.iter().map(|piece| PartId { content_id: piece.clone() }).collect();
    let request = remote.bucket.uploads.complete_multipart(&key, &upload.id, pieces);
    let Err(error) = remote.wait("complete the upload of", &key, request) else { return Ok(()) };
    if matches!(error, ConnectorError::Cancelled) {
        return Err(error);
    }
    // The store forgets an upload that is completed; its name is never used again.
    match remote.context.io.block_on(remote.bucket.objects.head(&key)) {
        Ok(found) if found.size == part.bytes => Ok(()),
        Ok(found) => Err(ConnectorError::External {
            table: remote.table.clone(),
            reason: format!("the part '{key}' has {} bytes, and the checkpoint says {}", found.size, part.bytes),
            action: "somebody has changed it; restore the object, or start from another checkpoint".to_owned(),
        }),
        Err(_) => Err(error),
    }
}

/// Tells the store that an upload will not be completed. That it does not hear it harms nobody.
fn abort(remote: &Remote, key: Key, id: String) {
    let uploads = remote.bucket.uploads.clone();
    let aborting = async move {
        if let Err(error) = uploads.abort_multipart(&key, &id).await {
            tracing::debug!(%key, %error, "an upload was not aborted");
        }
    };
    drop(remote.context.io.spawn(aborting));
}

struct RemotePart {
    remote: Remote,
    key: Key,
    /// `None` once it is closed.
    id: Option<String>,
    buffer: Vec<u8>,
    pieces: Vec<String>,
    in_flight: VecDeque<JoinHandle<object_store::Result<PartId>>>,
    /// Pieces whose upload was begun.
    begun: usize,
    part: PendingPart,
}

impl RemotePart {
    fn begin_piece(&mut self, piece: Vec<u8>) -> Result<(), ConnectorError> {
        if self.in_flight.len() >= PIECES_IN_FLIGHT_MAX {
            self.await_piece()?;
        }
        let (uploads, key, index) = (self.remote.bucket.uploads.clone(), self.key.clone(), self.begun);
        let id = self.id.clone().unwrap_or_default();
        let upload = async move { uploads.put_part(&key, &id, index, piece.into()).await };
        self.in_flight.push_back(self.remote.context.io.spawn(upload));
        self.begun += 1;
        Ok(())
    }

    fn await_piece(&mut self) -> Result<(), ConnectorError> {
        let Some(coming) = self.in_flight.pop_front() else { return Ok(()) };
        let came = async {
            coming
                .await
                .unwrap_or_else(|error| Err(object_store::Error::Generic { store: "remote", source: Box::new(error) }))
        };
        let piece = self.remote.wait("upload", &self.key, came)?;
        self.pieces.push(piece.content_id);
        Ok(())
    }
}

impl PartFile for RemotePart {
    fn write(&mut self, bytes: &[u8]) -> Result<(), ConnectorError> {
        self.part.bytes += bytes.len() as u64;
        let mut rest = bytes;
        while self.buffer.len() + rest.len() >= PIECE_BYTES {
            let (now, later) = rest.split_at(PIECE_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(now);
            let piece = std::mem::take(&mut self.buffer);
            self.begin_piece(piece)?;
            rest = later;
        }
        self.buffer.extend_from_slice(rest);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), ConnectorError> {
        // A piece must have its size: what is less is durable once the part is closed.
        while !self.in_flight.is_empty() {
            self.await_piece()?;
        }
        Ok(())
    }

    fn close(mut self: Box<Self>) -> Result<PendingPart, ConnectorError> {
        if !self.buffer.is_empty() || self.begun == 0 {
            let piece = std::mem::take(&mut self.buffer);
            self.begin_piece(piece)?;
        }
        self.sync()?;
        let id = self.id.take().unwrap_or_default();
        let upload = Some(Upload { id, pieces: std::mem::take(&mut self.pieces) });
        Ok(PendingPart { upload, ..self.part.clone() })
    }
}

impl Drop for RemotePart {
    fn drop(&mut self) {
        self.in_flight.iter().for_each(JoinHandle::abort);
        if let Some(id) = self.id.take() {
            abort(&self.remote, self.key.clone(), id);
        }
    }
}
