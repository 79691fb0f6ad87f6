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

/// A job's slots and what runs in them. Slots of regions that go on running are part of it.
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

/// Where copies of a job's state are. A home is what the local state of a task manager is known by.
#[derive(Clone, Debug, Default)]
pub struct Homes {
    pub of_subtasks: BTreeMap<SubtaskId, String>,
    pub of_task_managers: BTreeMap<TaskManagerId, String>,
}

/// Slots per task manager that a job keeps for subtasks that run on (`kept`).
pub fn slots_kept(graph: &JobGraph, kept: &Placement) -> BTreeMap<TaskManagerId, u32> {
    let mut slots = BTreeMap::new();
    kept_layout(graph, kept).into_iter().flatten().for_each(|id| *slots.entry(id).or_insert(0) += 1);
    slots
}

/// The task manager of each slot that holds a subtask that runs on.
fn kept_layout(graph: &JobGraph, kept: &Placement) -> Vec<Option<TaskManagerId>> {
    let needed = slots_needed(graph);
    let mut layout = vec![None; needed as usize];
    for (subtask, slot) in slots_of(graph, needed) {
        if let Some(task_manager) = kept.get(&subtask) {
            layout[slot] = Some(task_manager.clone());
        }
    }
    layout
}

/// Places a job on the free slots: where copies of its state are, if there is room, and spread evenly over
/// the task managers otherwise. Slots in which subtasks run on (`kept`) are not free, and stay where they are.
pub fn place(
    graph: &JobGraph,
    free: &BTreeMap<TaskManagerId, u32>,
    homes: &Homes,
    kept: &Placement,
) -> Result<Schedule, NotEnoughSlots> {
    let layout = kept_layout(graph, kept);
    let needed = slots_needed(graph);
    let missing = layout.iter().filter(|slot| slot.is_none()).count() as u32;
    let free_total = free.values().fold(0u32, |sum, slots| sum.saturating_add(*slots));
    if free_total < missing {
        return Err(NotEnoughSlots { needed: missing, free: free_total });
    }
    let layout = lay_out(layout, free, &slot_homes(graph, needed, homes), homes);
    let mut placement = Placement::new();
    for (subtask, slot) in slots_of(graph, needed) {
        if let Some(Some(task_manager)) = layout.get(slot) {
            placement.insert(subtask, task_manager.clone());
        }
    }
    let mut slots = BTreeMap::new();
    layout.into_iter().flatten().for_each(|task_manager| *slots.entry(task_manager).or_insert(0) += 1);
    Ok(Schedule { placement, slots })
}

/// The slot of each subtask. A narrow task takes every n-th.
fn slots_of(graph: &JobGraph, needed: u32) -> impl Iterator<Item = (SubtaskId, usize)> {
    graph.tasks.iter().flat_map(move |task| {
        (0..task.parallelism).map(move |index| {
            let slot = u64::from(index) * u64::from(needed) / u64::from(task.parallelism);
            (SubtaskId { task: task.id, index: SubtaskIndex(index) }, slot as usize)
        })
    })
}

/// The slots where most of whose subtasks have copies of their state, by home.
fn slot_homes<'a>(graph: &JobGraph, needed: u32, homes: &'a Homes) -> BTreeMap<&'a String, Vec<usize>> {
    let mut votes: Vec<BTreeMap<&String, u32>> = vec![BTreeMap::new(); needed as usize];
    for (subtask, slot) in slots_of(graph, needed) {
        if let Some(home) = homes.of_subtasks.get(&subtask) {
            *votes[slot].entry(home).or_default() += 1;
        }
    }
    let mut slots: BTreeMap<&String, Vec<usize>> = BTreeMap::new();
    for (slot, votes) in votes.into_iter().enumerate() {
        if let Some((home, _)) = votes.into_iter().max_by_key(|(home, count)| (*count, std::cmp::Reverse(*home))) {
            slots.entry(home).or_default().push(slot);
        }
    }
    slots
}

/// The task manager of each slot that has none yet. Those of one task manager lie together, so that a narrow
/// task is spread over the task managers too.
fn lay_out(
    mut layout: Vec<Option<TaskManagerId>>,
    free: &BTreeMap<TaskManagerId, u32>,
    slot_homes: &BTreeMap<&String, Vec<usize>>,
    homes: &Homes,
) -> Vec<Option<TaskManagerId>> {
    let mut taken = BTreeMap::new();
    for (home, slots) in slot_homes {
        let slots: Vec<usize> = slots.iter().copied().filter(|slot| layout[*slot].is_none()).collect();
        let is_home = |id: &TaskManagerId| homes.of_task_managers.get(id) == Some(*home);
        let at_home = free.iter().filter(|(id, _)| is_home(id)).map(|(id, slots)| (id.clone(), *slots)).collect();
        fill(&mut layout, &slots, &choose(slots.len() as u32, &at_home, &mut taken));
    }
    let rest: Vec<usize> = (0..layout.len()).filter(|slot| layout[*slot].is_none()).collect();
    fill(&mut layout, &rest, &choose(rest.len() as u32, free, &mut taken));
    layout
}

fn fill(layout: &mut [Option<TaskManagerId>], slots: &[usize], chosen: &BTreeMap<TaskManagerId, u32>) {
    let each = chosen.iter().flat_map(|(id, count)| std::iter::repeat_n(id, *count as usize));
    slots.iter().zip(each).for_each(|(slot, id)| layout[*slot] = Some(id.clone()));
}

/// Takes slots one by one from the task manager with the fewest taken that has one left, while there is one.
fn choose(
    needed: u32,
    free: &BTreeMap<TaskManagerId, u32>,
    taken: &mut BTreeMap<TaskManagerId, u32>,
) -> BTreeMap<TaskManagerId, u32> {
    let mut chosen: BTreeMap<TaskManagerId, u32> = BTreeMap::new();
    for _ in 0..needed {
        let next = free
            .iter()
            .filter(|(id, slots)| taken.get(id).copied().unwrap_or(0) < **slots)
            .min_by_key(|(id, slots)| (taken.get(id).copied().unwrap_or(0), std::cmp::Reverse(**slots)));
        let Some((id, _)) = next else { break };
        *taken.entry(id.clone()).or_insert(0) += 1;
        *chosen.entry(id.clone()).or_insert(0) += 1;
    }
    chosen
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
        assert_eq!(
            place(&graph(&[2, 4, 1]), &free(&[2, 1]), &Homes::default(), &Placement::new()),
            Err(NotEnoughSlots { needed: 4, free: 3 })
        );
        let schedule = place(&graph(&[2, 4, 1]), &free(&[4, 4]), &Homes::default(), &Placement::new()).unwrap();
        assert_eq!(schedule.slots, free(&[2, 2]));
        let narrow: BTreeSet<_> =
            schedule.placement.iter().filter(|(s, _)| s.task == TaskId(0)).map(|(_, tm)| tm.clone()).collect();
        assert_eq!(narrow.len(), 2, "a narrow task is spread too");
    }

    /// Homes of the subtasks of one task, by index, and of the task managers.
    fn homes(subtasks: &[&str], task_managers: &[&str]) -> Homes {
        let subtask = |(index, home): (usize, &&str)| {
            (SubtaskId { task: TaskId(0), index: SubtaskIndex(index as u32) }, (*home).to_owned())
        };
        let task_manager = |(i, home): (usize, &&str)| (TaskManagerId(format!("tm{i}")), (*home).to_owned());
        Homes {
            of_subtasks: subtasks.iter().enumerate().filter(|(_, home)| !home.is_empty()).map(subtask).collect(),
            of_task_managers: task_managers.iter().enumerate().map(task_manager).collect(),
        }
    }

    #[test]
    fn subtasks_go_where_copies_of_their_state_are() {
        let placed = |slots: &[u32], homes: &Homes| {
            let schedule = place(&graph(&[4]), &free(slots), homes, &Placement::new()).unwrap();
            schedule.placement.into_values().map(|id| id.0).collect::<Vec<_>>()
        };
        let crossed = homes(&["b", "a", "b", "a"], &["a", "b", "c"]);
        assert_eq!(placed(&[2, 2, 2], &crossed), ["tm1", "tm0", "tm1", "tm0"]);
        assert_eq!(placed(&[2, 1, 2], &crossed), ["tm1", "tm0", "tm2", "tm0"], "what has no room goes elsewhere");
        assert_eq!(placed(&[0, 0, 4], &crossed), ["tm2"; 4]);
        let together = homes(&["a"; 4], &["a", "a", "b"]);
        assert_eq!(placed(&[2, 3, 4], &together), ["tm0", "tm0", "tm1", "tm1"], "spread over those of one machine");
        let one_new = homes(&["a", "", "a", ""], &["a", "b"]);
        assert_eq!(placed(&[2, 2], &one_new), ["tm0", "tm1", "tm0", "tm1"]);
    }

    #[test]
    fn what_runs_on_keeps_its_slot_and_the_rest_is_placed_around_it() {
        let two = graph(&[2, 4]);
        let before = place(&two, &free(&[2, 2]), &Homes::default(), &Placement::new()).unwrap();
        // The second task manager is lost, and with it the slots 2 and 3.
        let lost = TaskManagerId("tm1".to_owned());
        let kept: Placement = before.placement.clone().into_iter().filter(|(_, id)| *id != lost).collect();
        assert_eq!(slots_kept(&two, &kept), free(&[2]));
        let missing = place(&two, &free(&[0, 0, 1]), &Homes::default(), &kept);
        assert_eq!(missing, Err(NotEnoughSlots { needed: 2, free: 1 }));
        let after = place(&two, &free(&[0, 0, 3]), &Homes::default(), &kept).unwrap();
        assert_eq!(after.slots, BTreeMap::from([("tm0".into(), 2), ("tm2".into(), 2)]));
        for (subtask, id) in &after.placement {
            assert_eq!(*id, kept.get(subtask).cloned().unwrap_or_else(|| "tm2".into()), "{subtask}");
        }
    }

    proptest! {
        #[test]
        fn every_subtask_has_one_place_and_no_slot_is_taken_twice(
            parallelisms in proptest::collection::vec(1u32..20, 1..6),
            slots in proptest::collection::vec(0u32..12, 1..6),
            preferred in proptest::collection::vec(0usize..4, 0..20),
        ) {
            let (graph, free) = (graph(&parallelisms), free(&slots));
            let names = ["", "a", "b", "c"];
            let preferred: Vec<&str> = preferred.into_iter().map(|home| names[home]).collect();
            let homes = homes(&preferred, &["a", "b", "a", "c", "b"]);
            match place(&graph, &free, &homes, &Placement::new()) {
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
                    if !homes.of_subtasks.is_empty() {
                        return Ok(());
                    }
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
