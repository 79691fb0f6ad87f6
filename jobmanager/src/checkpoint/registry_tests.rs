use proptest::prelude::*;

use super::*;

fn job(name: &str) -> JobId {
    JobId::from(name)
}

fn url(job: &str, file: &str) -> String {
    format!("file:///c/{job}/shared/{file}")
}

fn registry(jobs: &[&str]) -> SharedFiles {
    let mut files = SharedFiles::default();
    for name in jobs {
        files.job_started(&job(name), &format!("file:///c/{name}"));
    }
    files
}

/// A complete checkpoint of a job over these files of it: what is deleted.
fn complete(files: &mut SharedFiles, name: &str, checkpoint: u64, named: &[&str]) -> Vec<String> {
    let urls: Vec<String> = named.iter().map(|file| url(name, file)).collect();
    files.reported(&job(name), CheckpointId(checkpoint), urls.iter().map(String::as_str));
    files.completed(&job(name), CheckpointId(checkpoint))
}

/// FLINK-21351: subsumption deletes a file that a newer checkpoint shares.
#[test]
fn classic_5_a_shared_file_outlives_the_checkpoint_that_brought_it() {
    let mut files = registry(&["j"]);
    assert_eq!(complete(&mut files, "j", 1, &["base", "d1"]), Vec::<String>::new());
    assert_eq!(complete(&mut files, "j", 2, &["base", "d2"]), Vec::<String>::new());
    assert_eq!(files.discarded(&job("j"), CheckpointId(1)), [url("j", "d1")]);
    // A savepoint in between names nothing here; the next one still has the base.
    assert_eq!(complete(&mut files, "j", 4, &["base", "d2", "d4"]), Vec::<String>::new());
    assert_eq!(files.discarded(&job("j"), CheckpointId(2)), Vec::<String>::new());
    assert_eq!(complete(&mut files, "j", 5, &["base5"]), Vec::<String>::new());
    assert_eq!(files.discarded(&job("j"), CheckpointId(4)), [url("j", "base"), url("j", "d2"), url("j", "d4")]);
}

/// FLINK-7268: a file is deleted while a checkpoint that names it is on its way.
#[test]
fn classic_6_a_file_that_a_checkpoint_in_flight_names_is_not_deleted() {
    let mut files = registry(&["j"]);
    complete(&mut files, "j", 1, &["a"]);
    files.reported(&job("j"), CheckpointId(3), [url("j", "a").as_str()]);
    assert_eq!(complete(&mut files, "j", 2, &["b"]), Vec::<String>::new());
    assert_eq!(files.discarded(&job("j"), CheckpointId(1)), Vec::<String>::new(), "checkpoint 3 names it");
    assert_eq!(files.completed(&job("j"), CheckpointId(3)), Vec::<String>::new());
    assert_eq!(files.discarded(&job("j"), CheckpointId(2)), [url("j", "b")]);
}

/// FLINK-26985: files of another job are deleted by the one that has started from its checkpoint.
#[test]
fn classic_7_files_of_another_job_are_not_deleted() {
    let mut files = registry(&["new"]);
    let foreign = [url("old", "x"), url("old", "y")];
    files.restored(&job("new"), foreign.iter().map(String::as_str));
    files.reported(&job("new"), CheckpointId(1), [foreign[0].as_str(), url("new", "d").as_str()]);
    assert_eq!(files.completed(&job("new"), CheckpointId(1)), Vec::<String>::new());
    assert_eq!(complete(&mut files, "new", 2, &["base"]), Vec::<String>::new());
    assert_eq!(files.discarded(&job("new"), CheckpointId(1)), [url("new", "d")]);
    assert_eq!(files.job_ended(&job("new"), false), [url("new", "base")]);
}

#[test]
fn files_that_another_job_has_started_from_stay_until_it_needs_them_no_more() {
    let mut files = registry(&["a", "b"]);
    complete(&mut files, "a", 1, &["x", "y"]);
    files.restored(&job("b"), [url("a", "x"), url("a", "y")].iter().map(String::as_str));
    complete(&mut files, "a", 2, &["z"]);
    assert_eq!(files.discarded(&job("a"), CheckpointId(1)), Vec::<String>::new(), "job b has started from them");
    assert_eq!(files.job_ended(&job("a"), false), [url("a", "z")]);
    assert_eq!(files.named_by_others(&job("a")), BTreeSet::from([url("a", "x"), url("a", "y")]));
    files.reported(&job("b"), CheckpointId(1), [url("a", "x").as_str()]);
    assert_eq!(files.completed(&job("b"), CheckpointId(1)), [url("a", "y")]);
    complete(&mut files, "b", 2, &["own"]);
    assert_eq!(files.discarded(&job("b"), CheckpointId(1)), [url("a", "x")]);
    assert!(!files.jobs.contains_key(&job("a")), "nothing of it is left");
}

/// FLINK-25395: the clean-up of an aborted checkpoint deletes files that the next one names again.
#[test]
fn classic_8_files_of_an_aborted_checkpoint_may_be_named_again() {
    let mut files = registry(&["j"]);
    complete(&mut files, "j", 1, &["a"]);
    files.reported(&job("j"), CheckpointId(2), [url("j", "b").as_str()]);
    // Checkpoint 2 is aborted. The third names its file.
    assert_eq!(complete(&mut files, "j", 3, &["a", "b"]), Vec::<String>::new());
    files.reported(&job("j"), CheckpointId(4), [url("j", "c").as_str()]);
    // Checkpoint 4 is aborted, and the fifth does not.
    assert_eq!(complete(&mut files, "j", 5, &["a", "b"]), [url("j", "c")]);
}

/// Reports of a dead attempt come late: they must not stay for ever.
#[test]
fn files_that_were_reported_too_late_are_deleted_by_the_next_checkpoint() {
    let mut files = registry(&["j"]);
    complete(&mut files, "j", 3, &["a"]);
    files.reported(&job("j"), CheckpointId(2), [url("j", "late").as_str()]);
    assert_eq!(complete(&mut files, "j", 4, &["a"]), [url("j", "late")]);
}

#[test]
fn what_is_retained_belongs_to_nobody() {
    let mut files = registry(&["j"]);
    complete(&mut files, "j", 1, &["a"]);
    assert_eq!(files.job_ended(&job("j"), true), Vec::<String>::new());
    assert!(files.files.is_empty() && files.jobs.is_empty());
}

#[test]
fn a_job_does_not_own_what_only_begins_like_its_directory() {
    let mut files = registry(&["j"]);
    complete(&mut files, "j", 1, &[]);
    let foreign = "file:///c/j2/shared/x";
    files.reported(&job("j"), CheckpointId(1), [foreign]);
    complete(&mut files, "j", 2, &[]);
    assert_eq!(files.discarded(&job("j"), CheckpointId(1)), Vec::<String>::new());
}

#[derive(Clone, Debug)]
enum Step {
    /// A checkpoint over some of the files the task manager has, and some new ones; complete or not.
    Checkpoint { keep: Vec<bool>, new: usize, complete: bool },
}

fn any_step() -> impl Strategy<Value = Step> {
    (proptest::collection::vec(any::<bool>(), 8), 0usize..4, proptest::bool::weighted(0.7))
        .prop_map(|(keep, new, complete)| Step::Checkpoint { keep, new, complete })
}

proptest! {
    /// A model of an incremental backend: each checkpoint names some of the files the last one named, and
    /// new ones. No file that a kept checkpoint names is deleted, none is deleted twice, and in the end
    /// none is left.
    #[test]
    fn no_file_is_deleted_too_soon_or_never(steps in proptest::collection::vec(any_step(), 1..40), retained in 1usize..4) {
        let mut files = registry(&["j"]);
        let (mut current, mut written, mut deleted) = (Vec::<String>::new(), BTreeSet::new(), BTreeSet::new());
        let mut kept: Vec<(u64, Vec<String>)> = Vec::new();
        for (index, Step::Checkpoint { keep, new, complete }) in steps.into_iter().enumerate() {
            let id = index as u64 + 1;
            current = current.into_iter().zip(keep.iter().chain(std::iter::repeat(&true))).filter(|(_, keep)| **keep).map(|(url, _)| url).collect();
            let fresh: Vec<String> = (0..new).map(|n| url("j", &format!("{id}-{n}"))).collect();
            written.extend(fresh.iter().cloned());
            current.extend(fresh);
            for url in &current {
                prop_assert!(!deleted.contains(url), "{url} is named and was deleted");
            }
            files.reported(&job("j"), CheckpointId(id), current.iter().map(String::as_str));
            let mut garbage = Vec::new();
            if complete {
                kept.push((id, current.clone()));
                garbage.extend(files.completed(&job("j"), CheckpointId(id)));
                while kept.len() > retained {
                    let (old, _) = kept.remove(0);
                    garbage.extend(files.discarded(&job("j"), CheckpointId(old)));
                }
            }
            for url in garbage {
                prop_assert!(deleted.insert(url));
            }
            for (_, named) in &kept {
                for url in named {
                    prop_assert!(!deleted.contains(url), "{url} is kept and was deleted");
                }
            }
        }
        for url in files.job_ended(&job("j"), false) {
            prop_assert!(deleted.insert(url));
        }
        prop_assert_eq!(deleted, written);
    }
}
