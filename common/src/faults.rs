//! Faults that are planted to try the tests: promises that are broken on purpose, to see that a test
//! notices, and places where a process dies.
//!
//! Only with the feature `faults`, which no release has: without it nothing of this is in the binary.
//! The environment says what is planted: `TIDEMILL_BROKEN_PROMISE=alignment`, and
//! `TIDEMILL_DIES_AT=after-acknowledgement:3` for the third time the process comes there.

/// A promise that can be broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No channel is read past a barrier that has not come on all.
    Alignment,
    /// A process whose lease has run out writes nothing.
    Lease,
    /// A store refuses attempts that have been replaced.
    StaleAttempt,
    /// The coordinator of checkpoints does not hear attempts that are over.
    StaleAnswer,
    /// What the marker says is published is not published again.
    CommitMarker,
    /// A file is on disk before it is named.
    SyncBeforeWords,
    /// An operator goes on from the watermark of its checkpoint.
    WatermarkRestore,
}

/// A place where a process can die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A task manager has written its part of a checkpoint and says nothing yet.
    BeforeAcknowledgement,
    /// It has said so.
    AfterAcknowledgement,
    /// A checkpoint is complete, and a sink is about to publish its rows.
    BeforePublishing,
    /// They are published, and the task does not know yet.
    AfterPublishing,
    /// A part of a checkpoint is being restored.
    WhileRestoring,
    /// The job manager has all answers and writes `_metadata`.
    BeforeMetadata,
    /// It is written, and the pointer to it is not.
    AfterMetadata,
    /// The pointer is written, and nobody is told.
    BeforeCompletion,
    /// `_metadata` of an old checkpoint is deleted, and its files are not.
    WhileDeleting,
}

#[cfg(not(feature = "faults"))]
mod planted {
    use super::{Place, Promise};

    /// Whether a promise is broken on purpose.
    #[inline(always)]
    pub const fn is_broken(_: Promise) -> bool {
        false
    }

    /// The process dies here if it is told to.
    #[inline(always)]
    pub const fn may_die(_: Place) {}
}

#[cfg(feature = "faults")]
mod planted {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::{Place, Promise};

    fn variable(name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    /// `AfterMetadata` as `after-metadata`.
    fn words(name: &impl std::fmt::Debug) -> String {
        let mut words = String::new();
        for letter in format!("{name:?}").chars() {
            if letter.is_uppercase() && !words.is_empty() {
                words.push('-');
            }
            words.push(letter.to_ascii_lowercase());
        }
        words
    }

    /// Whether a promise is broken on purpose.
    pub fn is_broken(promise: Promise) -> bool {
        static BROKEN: OnceLock<Option<String>> = OnceLock::new();
        let broken = BROKEN.get_or_init(|| variable("TIDEMILL_BROKEN_PROMISE"));
        broken.as_ref().is_some_and(|broken| *broken == words(&promise))
    }

    /// The process dies here if it is told to.
    pub fn may_die(place: Place) {
        static DIES_AT: OnceLock<Option<(String, u64)>> = OnceLock::new();
        static TIMES: AtomicU64 = AtomicU64::new(0);
        let dies_at = DIES_AT.get_or_init(|| {
            let text = variable("TIDEMILL_DIES_AT")?;
            let (place, times) = text.split_once(':').unwrap_or((&text, "1"));
            Some((place.to_owned(), times.parse().unwrap_or(1)))
        });
        let Some((chosen, times)) = dies_at else { return };
        if *chosen == words(&place) && TIMES.fetch_add(1, Ordering::SeqCst) + 1 == *times {
            eprintln!("dies at {chosen}, as it was told to");
            std::process::abort();
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn places_are_named_in_words() {
            assert_eq!(words(&Place::AfterMetadata), "after-metadata");
            assert_eq!(words(&Promise::Lease), "lease");
        }
    }
}

pub use planted::{is_broken, may_die};
