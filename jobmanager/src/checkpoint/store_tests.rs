use std::time::Instant;

use tidemill_common::checkpoint::{CheckpointKind, METADATA_VERSION};
use tidemill_common::ids::JobId;

use super::*;

fn metadata(timestamp_ms: i64) -> CheckpointMetadata {
    CheckpointMetadata {
        version: METADATA_VERSION,
        kind: CheckpointKind::Checkpoint,
        job: JobId::from("j"),
        job_name: "name".to_owned(),
        checkpoint: CheckpointId(7),
        timestamp_ms,
        max_parallelism: 128,
        next_state_id: 1,
        operators: Vec::new(),
    }
}

fn directory(folder: &tempfile::TempDir) -> Directory {
    Directory::open(folder.path().to_str().unwrap(), &StoreOptions::new()).unwrap()
}

/// Classic bug 2 (FLINK-9494): two leaders finish one checkpoint, each in its own way.
#[tokio::test]
async fn bug_2_one_of_two_leaders_finishes_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let directory = directory(&folder).child("chk-7");
    write_metadata(&directory, &metadata(1)).await.unwrap();
    // The same again, as after an answer that was lost.
    write_metadata(&directory, &metadata(1)).await.unwrap();
    let error = write_metadata(&directory, &metadata(2)).await.unwrap_err();
    assert!(matches!(error, StorageError::Exists { .. }), "{error}");
    assert_eq!(read_metadata(&directory).await.unwrap(), metadata(1));
}

/// Classic bug 28: clean-up that fails, and is tried again, holds checkpoints up.
#[tokio::test]
async fn bug_28_deletions_that_fail_hold_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    // Nothing can be deleted below a file.
    std::fs::write(folder.path().join("file"), "").unwrap();
    let url = directory(&folder).child("file").url();
    let deleter = Deleter::start(StoreOptions::new());
    let begun = Instant::now();
    for number in 0..2 * DELETIONS_MAX {
        deleter.delete(Deletion::Files(vec![format!("{url}/{number}")]));
        deleter.delete(Deletion::Checkpoint { location: format!("{url}/chk-{number}"), files: Vec::new() });
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?} for deletions that nobody waits for", begun.elapsed());
    deleter.finish(Duration::from_millis(10)).await;
}

/// What dead attempts have left is found by its name, and nothing that is named or newer.
#[tokio::test]
async fn leftovers_of_dead_attempts_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let job = directory(&folder).child("job");
    let names = [
        "chk-3/_metadata",
        "chk-4/_metadata",
        "chk-9/_metadata",
        "shared/a1-x",
        "shared/a2-y",
        "shared/a3-z",
        "shared/a4-v",
        "shared/a5-w",
        "shared/odd",
    ];
    for name in names {
        job.put(name, "content").await.unwrap();
    }
    let kept = BTreeSet::from([job.url_of("chk-4"), job.url_of("shared/a2-y")]);
    let deleter = Deleter::start(StoreOptions::new());
    // Region 0 runs as attempt 3, and the other one, which was restarted, as attempt 5.
    let running = BTreeSet::from([AttemptId(3), AttemptId(5)]);
    deleter.delete(Deletion::Leftovers { job: job.clone(), running, checkpoints_below: 9, kept });
    deleter.finish(Duration::from_secs(60)).await;
    let left = ["chk-4/_metadata", "chk-9/_metadata", "shared/a2-y", "shared/a3-z", "shared/a5-w", "shared/odd"];
    assert_eq!(job.list().await.unwrap(), left);
}
