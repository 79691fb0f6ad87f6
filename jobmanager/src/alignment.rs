//! Watermark alignment: sources of one group wait for the slowest. A pure core.

use std::collections::BTreeMap;

use tidemill_common::ids::SubtaskId;
use tidemill_common::job_graph::JobGraph;
use tidemill_common::plan::{OperatorKind, StreamPlan};

/// The groups of one job.
#[derive(Debug, Default)]
pub struct Alignment {
    groups: BTreeMap<String, Group>,
    group_of_task: BTreeMap<u32, String>,
}

#[derive(Debug)]
struct Group {
    max_drift_ms: i64,
    update_interval_ms: i64,
    watermarks: BTreeMap<SubtaskId, i64>,
    announced: Option<i64>,
    announced_at_ms: i64,
}

impl Alignment {
    /// The groups that a plan's sources name.
    pub fn new(plan: &StreamPlan, graph: &JobGraph) -> Self {
        let mut alignment = Self::default();
        for task in &graph.tasks {
            let OperatorKind::Source(source) = &plan.operator(task.operators[0]).kind else { continue };
            let Some(spec) = source.watermark.as_ref().and_then(|watermark| watermark.alignment.as_ref()) else {
                continue;
            };
            alignment.group_of_task.insert(task.id.0, spec.group.clone());
            let group = alignment.groups.entry(spec.group.clone()).or_insert(Group {
                max_drift_ms: spec.max_drift_ms,
                update_interval_ms: spec.update_interval_ms,
                watermarks: BTreeMap::new(),
                announced: None,
                announced_at_ms: 0,
            });
            // Members may disagree; the strictest holds.
            group.max_drift_ms = group.max_drift_ms.min(spec.max_drift_ms);
            group.update_interval_ms = group.update_interval_ms.min(spec.update_interval_ms);
        }
        alignment
    }

    /// A source subtask tells its watermark (`i64::MAX` while it is idle).
    pub fn report(&mut self, subtask: SubtaskId, watermark_ms: i64) {
        if let Some(group) = self.group(subtask) {
            group.watermarks.insert(subtask, watermark_ms);
        }
    }

    /// A source subtask has ended and holds nobody any more.
    pub fn ended(&mut self, subtask: SubtaskId) {
        if let Some(group) = self.group(subtask) {
            group.watermarks.remove(&subtask);
        }
    }

    /// A source subtask starts anew: it has to be told the bound.
    pub fn restarted(&mut self, subtask: SubtaskId) {
        if let Some(group) = self.group(subtask) {
            group.announced = None;
        }
    }

    /// The groups whose bound has changed and is due: name and the watermark not to pass.
    pub fn announcements(&mut self, now_ms: i64) -> Vec<(String, i64)> {
        let mut due = Vec::new();
        for (name, group) in &mut self.groups {
            let Some(lowest) = group.watermarks.values().min() else { continue };
            let bound = lowest.saturating_add(group.max_drift_ms);
            let waited = now_ms.saturating_sub(group.announced_at_ms) >= group.update_interval_ms;
            if waited && group.announced != Some(bound) {
                group.announced = Some(bound);
                group.announced_at_ms = now_ms;
                due.push((name.clone(), bound));
            }
        }
        due
    }

    fn group(&mut self, subtask: SubtaskId) -> Option<&mut Group> {
        let name = self.group_of_task.get(&subtask.task.0)?;
        self.groups.get_mut(name)
    }
}

#[cfg(test)]
mod tests {
    use tidemill_common::ids::{SubtaskIndex, TaskId};

    use super::*;

    fn alignment() -> Alignment {
        let group = Group {
            max_drift_ms: 1_000,
            update_interval_ms: 100,
            watermarks: BTreeMap::new(),
            announced: None,
            announced_at_ms: 0,
        };
        Alignment {
            groups: BTreeMap::from([("g".to_owned(), group)]),
            group_of_task: BTreeMap::from([(0, "g".to_owned()), (1, "g".to_owned())]),
        }
    }

    fn source(task: u32) -> SubtaskId {
        SubtaskId { task: TaskId(task), index: SubtaskIndex(0) }
    }

    #[test]
    fn the_slowest_sets_the_bound_until_it_ends() {
        let mut alignment = alignment();
        assert!(alignment.announcements(1_000).is_empty(), "nobody has reported");
        alignment.report(source(0), 50_000);
        alignment.report(source(1), 10_000);
        assert_eq!(alignment.announcements(1_000), [("g".to_owned(), 11_000)]);
        alignment.report(source(1), 20_000);
        assert!(alignment.announcements(1_050).is_empty(), "not yet due");
        assert_eq!(alignment.announcements(1_100), [("g".to_owned(), 21_000)]);
        assert!(alignment.announcements(1_300).is_empty(), "nothing has changed");
        alignment.ended(source(1));
        assert_eq!(alignment.announcements(1_400), [("g".to_owned(), 51_000)]);
        alignment.restarted(source(1));
        assert_eq!(alignment.announcements(1_500), [("g".to_owned(), 51_000)], "who starts anew does not know it");
        alignment.report(source(5), 0);
        assert!(alignment.announcements(1_600).is_empty(), "a task of no group");
    }
}
