//! Memory for the bodies of frames, used again once nobody reads what was in it.
//!
//! A body of a few hundred kilobytes that is allocated anew costs more in page faults than in copying.
//! A connection therefore remembers the bodies it has lent; the one that was lent first is most likely
//! free again.

use std::collections::VecDeque;

use arrow::buffer::{Buffer, MutableBuffer};

/// Bodies a connection remembers.
const KEPT_MAX: usize = 16;
/// Larger and smaller bodies are not worth remembering.
const KEPT_BYTES_MAX: usize = 512 * 1024;
const KEPT_BYTES_MIN: usize = 4 * 1024;
/// Remembered bodies that are looked at for a free one.
const LOOKED_AT_MAX: usize = 4;

/// See the module.
#[derive(Default)]
pub struct Bodies {
    /// Those lent first come first.
    lent: VecDeque<Buffer>,
}

impl Bodies {
    /// Memory of this length. What is in it is of no meaning.
    pub fn take(&mut self, length: usize) -> MutableBuffer {
        if (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&length) {
            for _ in 0..LOOKED_AT_MAX.min(self.lent.len()) {
                let Some(body) = self.lent.pop_front() else { break };
                match body.into_mutable() {
                    Ok(mut body) if body.capacity() >= length => {
                        body.resize(length, 0);
                        return body;
                    }
                    // Too small.
                    Ok(_) => {}
                    // It is still read.
                    Err(body) => self.lent.push_back(body),
                }
            }
        }
        MutableBuffer::from_len_zeroed(length)
    }

    /// Hands out a body that was read, and remembers it.
    pub fn lend(&mut self, body: MutableBuffer) -> Buffer {
        let worth = (KEPT_BYTES_MIN..=KEPT_BYTES_MAX).contains(&body.capacity());
        let body = Buffer::from(body);
        if worth {
            if self.lent.len() == KEPT_MAX {
                self.lent.pop_front();
            }
            self.lent.push_back(body.clone());
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: usize = 100_000;

    #[test]
    fn a_body_is_used_again_only_when_nobody_reads_it() {
        let mut bodies = Bodies::default();
        let mut body = bodies.take(BYTES);
        body.as_slice_mut().fill(7);
        let first = bodies.lend(body);
        let place = first.as_ptr();
        // A slice counts as a reader, as the columns of a batch are slices.
        let column = first.slice_with_length(64, 8);
        drop(first);
        let second = bodies.take(BYTES);
        assert_ne!(second.as_slice().as_ptr(), place);
        assert_eq!(column.as_slice(), [7; 8]);
        drop(column);
        let third = bodies.take(BYTES - 1);
        assert_eq!((third.as_slice().as_ptr(), third.len()), (place, BYTES - 1));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut bodies = Bodies::default();
        for length in [1, BYTES, KEPT_BYTES_MAX * 2] {
            let lent: Vec<Buffer> = (0..KEPT_MAX * 2)
                .map(|_| {
                    let body = bodies.take(length);
                    bodies.lend(body)
                })
                .collect();
            assert!(lent.iter().all(|body| body.len() == length));
        }
        assert_eq!(bodies.lent.len(), KEPT_MAX);
        assert!(bodies.lent.iter().all(|body| body.capacity() <= KEPT_BYTES_MAX));
    }
}
