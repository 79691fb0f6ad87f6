//! Slots and placement: a pure core.
//!
//! Slots are shared as in Flink: a slot runs one subtask of each task of a job, so that a job needs
//! as many slots as its widest task has subtasks, and a pipeline's neighbours meet in one slot.

use std::collections::BTreeMap;

use tidemill_common::ids::{SubtaskId, SubtaskIndex, TaskManagerId};
use tidemill_common::job_graph::JobGraph;

use crate::job::Placement;

/// The free slots are too few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotEnoughSlots {
    pub needed: u32,
    pub free: u32,
}

/// A job's slots and what runs in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    pub placement: Placement,
    /// Slots taken per task manager; none is 0.
    pub slots: BTreeMap<TaskManagerId, u32>,
}

/// How many slots a job needs.
pub fn slots_needed(graph: &JobGraph) -> u32 {
    graph.tasks.iter().map(|task| task.parallelism).max().unwrap_or(0)
}

/// Places a job on the free slots, spread evenly over the task managers.
pub fn place(graph: &JobGraph, free: &BTreeMap<TaskManagerId, u32>) -> Result<Schedule, NotEnoughSlots> {
    let needed = slots_needed(graph);
    let free_total = free.values().fold(0u32, |sum, slots| sum.saturating_add(*slots));
    if free_total < needed {
        return Err(NotEnoughSlots { needed, free: free_total });
    }
    let slots = choose(needed, free);
    // The slots of one task manager lie together, so that a narrow task, which takes every n-th
    // slot, is spread over the task managers too.
    let layout: Vec<&TaskManagerId> =
        slots.iter().flat_map(|(id, count)| std::iter::repeat_n(id, *count as usize)).collect();
    let mut placement = Placement::new();
    for task in &graph.tasks {
        for index in 0..task.parallelism {
            let slot = u64::from(index) * u64::from(needed) / u64::from(task.parallelism);
            let subtask = SubtaskId { task: task.id, index: SubtaskIndex(index) };
            placement.insert(subtask, layout[slot as usize].clone());
        }
    }
    Ok(Schedule { placement, slots })
}

/// Takes slots one by one from the task manager with the fewest taken that has one left.
fn choose(needed: u32, free: &BTreeMap<TaskManagerId, u32>) -> BTreeMap<TaskManagerId, u32> {
    let mut taken: BTreeMap<TaskManagerId, u32> = BTreeMap::new();
    for _ in 0..needed {
        let next = free
            .iter()
            .filter(|(id, slots)| taken.get(id).copied().unwrap_or(0) < **slots)
            .min_by_key(|(id, slots)| (taken.get(id).copied().unwrap_or(0), std::cmp::Reverse(**slots)));
        match next {
            Some((id, _)) => *taken.entry(id.clone()).or_insert(0) += 1,
            None => break,
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use proptest::prelude::*;
    use tidemill_common::ids::TaskId;
    use tidemill_common::job_graph::Task;

    use super::*;

    fn graph(parallelisms: &[u32]) -> JobGraph {
        let tasks = parallelisms
            .iter()
            .enumerate()
            .map(|(id, parallelism)| Task { id: TaskId(id as u32), operators: vec![], parallelism: *parallelism })
            .collect();
        JobGraph { tasks, edges: vec![] }
    }

    fn free(slots: &[u32]) -> BTreeMap<TaskManagerId, u32> {
        slots.iter().enumerate().map(|(i, slots)| (TaskManagerId(format!("tm{i}")), *slots)).collect()
    }

    #[test]
    fn a_job_needs_as_many_slots_as_its_widest_task() {
        assert_eq!(place(&graph(&[2, 4, 1]), &free(&[2, 1])), Err(NotEnoughSlots { needed: 4, free: 3 }));
        let schedule = place(&graph(&[2, 4, 1]), &free(&[4, 4])).unwrap();
        assert_eq!(schedule.slots, free(&[2, 2]));
        let narrow: BTreeSet<_> =
            schedule.placement.iter().filter(|(s, _)| s.task == TaskId(0)).map(|(_, tm)| tm.clone()).collect();
        assert_eq!(narrow.len(), 2, "a narrow task is spread too");
    }

    proptest! {
        #[test]
        fn every_subtask_has_one_place_and_no_slot_is_taken_twice(
            parallelisms in proptest::collection::vec(1u32..20, 1..6),
            slots in proptest::collection::vec(0u32..12, 1..6),
        ) {
            let (graph, free) = (graph(&parallelisms), free(&slots));
            match place(&graph, &free) {
                Err(error) => {
                    prop_assert_eq!(error.needed, slots_needed(&graph));
                    prop_assert!(slots.iter().sum::<u32>() < error.needed);
                }
                Ok(schedule) => {
                    prop_assert_eq!(schedule.slots.values().sum::<u32>(), slots_needed(&graph));
                    prop_assert!(schedule.slots.iter().all(|(id, taken)| *taken > 0 && *taken <= free[id]));
                    let expected: usize = parallelisms.iter().map(|p| *p as usize).sum();
                    prop_assert_eq!(schedule.placement.len(), expected);
                    // One subtask of a task a slot.
                    let mut per_task: HashMap<(TaskId, &TaskManagerId), u32> = HashMap::new();
                    for (subtask, id) in &schedule.placement {
                        *per_task.entry((subtask.task, id)).or_default() += 1;
                    }
                    prop_assert!(per_task.iter().all(|((_, id), count)| *count <= schedule.slots[*id]));
                    // Even: a task manager with slots left has at most one fewer than any other.
                    let most = schedule.slots.values().max().copied().unwrap_or(0);
                    for (id, slots) in &free {
                        let taken = schedule.slots.get(id).copied().unwrap_or(0);
                        prop_assert!(taken == *slots || taken + 1 >= most);
                    }
                }
            }
        }
    }
}
