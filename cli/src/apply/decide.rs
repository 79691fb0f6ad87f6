//! What is to be done about a declared job, as a function of what was declared before and what runs. Does
//! nothing itself.
//!
//! The rule behind it: state is never given up in silence. A job goes on from the savepoint it was stopped
//! with; where nobody knows such a savepoint, people say what it starts from.

use serde::{Deserialize, Serialize};

/// What is kept of a declared job, beside its savepoints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    pub version: u32,
    pub name: String,
    /// Of the script and its options.
    pub digest: String,
    /// The job that was started last.
    pub job: String,
    /// What that one started from.
    pub start: Option<String>,
    /// Whether it was stopped, and with which savepoint.
    pub stopped: Option<String>,
}

/// What is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub digest: String,
    pub running: bool,
    /// Savepoint for a start of which nobody knows what it continues.
    pub from_savepoint: Option<String>,
    /// Such a start begins without state.
    pub fresh: bool,
}

/// The job that was declared last, as the cluster knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last {
    /// The job manager does not know it any more.
    Unknown,
    /// Its input has ended, or it was stopped without a savepoint.
    Finished,
    /// Failed or cancelled; its state, for people.
    Broken(String),
}

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub declared: Option<Declared>,
    /// The job of this name that has not ended.
    pub active: Option<String>,
    /// What became of the declared job, if it is not the active one.
    pub last: Last,
    /// The savepoint that the declared job was stopped with, though that was not noted down.
    pub stopped_with: Option<String>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is as it should be.
    Nothing,
    /// Start it, from a savepoint if there is one.
    Start { from: Option<String> },
    /// Stop this job with a savepoint, and start the new script from it.
    Upgrade { job: String },
    /// Stop this job with a savepoint.
    Stop { job: String },
    /// It has stopped: note down with what.
    NoteStopped { savepoint: String },
    /// Nobody can know what it should start from; why, for people.
    Refuse { reason: String },
}

/// What is to be done.
pub fn decide(wanted: &Wanted, found: &Found) -> Step {
    match (&found.active, wanted.running) {
        (Some(job), false) => Step::Stop { job: job.clone() },
        (Some(job), true) => {
            let same = |declared: &Declared| declared.digest == wanted.digest && declared.job == *job;
            if found.declared.as_ref().is_some_and(same) { Step::Nothing } else { Step::Upgrade { job: job.clone() } }
        }
        (None, false) => match (&found.declared, &found.stopped_with) {
            (Some(declared), Some(savepoint)) if declared.stopped.is_none() => {
                Step::NoteStopped { savepoint: savepoint.clone() }
            }
            _ => Step::Nothing,
        },
        (None, true) => start(wanted, found),
    }
}

/// How a job starts that does not run.
fn start(wanted: &Wanted, found: &Found) -> Step {
    let chosen = || Step::Start { from: wanted.from_savepoint.clone() };
    let Some(declared) = &found.declared else { return chosen() };
    if wanted.fresh {
        return Step::Start { from: None };
    }
    if let Some(savepoint) = declared.stopped.as_ref().or(found.stopped_with.as_ref()) {
        return Step::Start { from: Some(savepoint.clone()) };
    }
    if found.last == Last::Finished && declared.digest == wanted.digest {
        return Step::Nothing;
    }
    // A savepoint that stays in a declaration is the beginning once, and not again after each failure.
    if wanted.from_savepoint.is_some() && wanted.from_savepoint != declared.start {
        return chosen();
    }
    let what = match &found.last {
        Last::Unknown => "is not known to the job manager any more".to_owned(),
        Last::Finished => "has finished, and not with a savepoint".to_owned(),
        Last::Broken(state) => format!("is {state}"),
    };
    Step::Refuse {
        reason: format!(
            "job {} {what}, so that it is not known what the script should start from. Name a savepoint or retained checkpoint with --from-savepoint, or start without state with --fresh",
            declared.job
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(digest: &str) -> Wanted {
        Wanted { digest: digest.to_owned(), running: true, from_savepoint: None, fresh: false }
    }

    fn declared(digest: &str) -> Declared {
        Declared {
            version: 1,
            name: "web".to_owned(),
            digest: digest.to_owned(),
            job: "j1".to_owned(),
            start: None,
            stopped: None,
        }
    }

    fn found(declared: Option<Declared>, active: Option<&str>, last: Last) -> Found {
        Found { declared, active: active.map(str::to_owned), last, stopped_with: None }
    }

    fn start_from(savepoint: Option<&str>) -> Step {
        Step::Start { from: savepoint.map(str::to_owned) }
    }

    #[test]
    fn a_new_job_starts_and_the_same_again_is_nothing() {
        assert_eq!(decide(&wanted("a"), &found(None, None, Last::Unknown)), start_from(None));
        assert_eq!(decide(&wanted("a"), &found(Some(declared("a")), Some("j1"), Last::Unknown)), Step::Nothing);
        let from = Wanted { from_savepoint: Some("s0".to_owned()), ..wanted("a") };
        assert_eq!(decide(&from, &found(None, None, Last::Unknown)), start_from(Some("s0")));
    }

    #[test]
    fn what_has_changed_or_is_not_known_is_upgraded() {
        let upgrade = |job: &str| Step::Upgrade { job: job.to_owned() };
        assert_eq!(decide(&wanted("b"), &found(Some(declared("a")), Some("j1"), Last::Unknown)), upgrade("j1"));
        // Submitted by hand, or before it was noted down.
        assert_eq!(decide(&wanted("a"), &found(Some(declared("a")), Some("j2"), Last::Finished)), upgrade("j2"));
        assert_eq!(decide(&wanted("a"), &found(None, Some("j2"), Last::Unknown)), upgrade("j2"));
    }

    #[test]
    fn a_stopped_job_goes_on_from_its_savepoint() {
        let stopped = Declared { stopped: Some("s1".to_owned()), ..declared("a") };
        for (script, last) in [("a", Last::Unknown), ("b", Last::Finished), ("a", Last::Broken("FAILED".to_owned()))] {
            assert_eq!(decide(&wanted(script), &found(Some(stopped.clone()), None, last)), start_from(Some("s1")));
        }
        let noted = Found { stopped_with: Some("s2".to_owned()), ..found(Some(declared("a")), None, Last::Unknown) };
        assert_eq!(decide(&wanted("b"), &noted), start_from(Some("s2")));
        // Not from the one that the declaration names.
        let from = Wanted { from_savepoint: Some("s0".to_owned()), ..wanted("a") };
        assert_eq!(decide(&from, &noted), start_from(Some("s2")));
    }

    #[test]
    fn stopping_is_done_once() {
        let stop = Wanted { running: false, ..wanted("a") };
        let running = found(Some(declared("a")), Some("j1"), Last::Unknown);
        assert_eq!(decide(&stop, &running), Step::Stop { job: "j1".to_owned() });
        let noted = Found { stopped_with: Some("s2".to_owned()), ..found(Some(declared("a")), None, Last::Finished) };
        assert_eq!(decide(&stop, &noted), Step::NoteStopped { savepoint: "s2".to_owned() });
        let stopped = Declared { stopped: Some("s2".to_owned()), ..declared("a") };
        assert_eq!(decide(&stop, &Found { declared: Some(stopped), ..noted }), Step::Nothing);
        assert_eq!(decide(&stop, &found(None, None, Last::Unknown)), Step::Nothing);
    }

    #[test]
    fn state_is_not_given_up_in_silence() {
        let broken = || Last::Broken("FAILED".to_owned());
        for (script, last) in [("a", Last::Unknown), ("b", Last::Finished), ("a", broken())] {
            let step = decide(&wanted(script), &found(Some(declared("a")), None, last));
            assert!(matches!(&step, Step::Refuse { reason } if reason.contains("j1")), "{step:?}");
        }
        let fresh = Wanted { fresh: true, ..wanted("a") };
        assert_eq!(decide(&fresh, &found(Some(declared("a")), None, broken())), start_from(None));
        let from = Wanted { from_savepoint: Some("s9".to_owned()), ..wanted("a") };
        assert_eq!(decide(&from, &found(Some(declared("a")), None, broken())), start_from(Some("s9")));
        // Named before, and used.
        let used = Declared { start: Some("s9".to_owned()), ..declared("a") };
        assert!(matches!(decide(&from, &found(Some(used), None, broken())), Step::Refuse { .. }));
    }

    #[test]
    fn a_job_whose_input_has_ended_stays_so() {
        assert_eq!(decide(&wanted("a"), &found(Some(declared("a")), None, Last::Finished)), Step::Nothing);
    }
}
