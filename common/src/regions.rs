//! Pipelined regions: which subtasks of a job fail and start again together.
//!
//! Two subtasks are of one region if rows go from the one to the other, directly or by way of others. All
//! exchanges are pipelined, so that a region is a connected component of the execution graph: what a failed
//! subtask has sent, or would have been sent, concerns its region and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::{RegionId, SubtaskId, SubtaskIndex};
use crate::job_graph::JobGraph;
use crate::plan::Partitioning;

/// The regions of a job, numbered by their first subtasks. Every subtask is of exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Regions {
    members: Vec<BTreeSet<SubtaskId>>,
    of: BTreeMap<SubtaskId, RegionId>,
}

impl Regions {
    /// The connected components of a job's subtasks.
    pub fn new(graph: &JobGraph) -> Self {
        let mut first = Vec::with_capacity(graph.tasks.len());
        let mut subtasks = Vec::new();
        for task in &graph.tasks {
            first.push(subtasks.len());
            subtasks.extend((0..task.parallelism).map(|index| SubtaskId { task: task.id, index: SubtaskIndex(index) }));
        }
        let mut sets = DisjointSets::new(subtasks.len());
        for edge in &graph.edges {
            let range = |task: usize| first[task]..first[task] + graph.tasks[task].parallelism as usize;
            let (from, to) = (range(edge.from.0 as usize), range(edge.to.0 as usize));
            match edge.partitioning {
                Partitioning::Forward if from.len() == to.len() => {
                    from.zip(to).for_each(|(from, to)| sets.join(from, to));
                }
                // Any subtask may send to any other.
                Partitioning::Forward
                | Partitioning::Hash { .. }
                | Partitioning::Rebalance
                | Partitioning::Broadcast
                | Partitioning::Global => {
                    let Some(one) = to.clone().next() else { continue };
                    from.chain(to).for_each(|other| sets.join(one, other));
                }
            }
        }
        let mut members: BTreeMap<usize, BTreeSet<SubtaskId>> = BTreeMap::new();
        for (index, subtask) in subtasks.into_iter().enumerate() {
            members.entry(sets.root(index)).or_default().insert(subtask);
        }
        Self::numbered(members.into_values())
    }

    /// All subtasks as one region: none goes on without the others.
    pub fn whole(subtasks: impl IntoIterator<Item = SubtaskId>) -> Self {
        Self::numbered([subtasks.into_iter().collect()].into_iter())
    }

    fn numbered(members: impl Iterator<Item = BTreeSet<SubtaskId>>) -> Self {
        let mut members: Vec<BTreeSet<SubtaskId>> = members.filter(|region| !region.is_empty()).collect();
        members.sort_by_key(|region| region.first().copied());
        let mut of = BTreeMap::new();
        for (index, region) in members.iter().enumerate() {
            of.extend(region.iter().map(|subtask| (*subtask, RegionId(index as u32))));
        }
        Self { members, of }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the job has no subtask.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// All of them.
    pub fn ids(&self) -> impl Iterator<Item = RegionId> + use<> {
        (0..self.members.len() as u32).map(RegionId)
    }

    /// The region of a subtask, if the job has that.
    pub fn of(&self, subtask: SubtaskId) -> Option<RegionId> {
        self.of.get(&subtask).copied()
    }

    /// The subtasks of a region.
    pub fn members(&self, region: RegionId) -> impl Iterator<Item = SubtaskId> + '_ {
        self.members.get(region.0 as usize).into_iter().flatten().copied()
    }

    /// All subtasks and their regions.
    pub fn subtasks(&self) -> impl Iterator<Item = (SubtaskId, RegionId)> + '_ {
        self.of.iter().map(|(subtask, region)| (*subtask, *region))
    }
}

/// Union-find, with the lowest member as the root.
struct DisjointSets(Vec<usize>);

impl DisjointSets {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut of: usize) -> usize {
        while self.0[of] != of {
            // Halving paths keeps them short.
            self.0[of] = self.0[self.0[of]];
            of = self.0[of];
        }
        of
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ids::TaskId;
    use crate::job_graph::{Task, TaskEdge};

    fn graph(parallelisms: &[u32], edges: &[(usize, usize, Partitioning)]) -> JobGraph {
        let task = |(id, parallelism): (usize, &u32)| Task {
            id: TaskId(id as u32),
            operators: vec![],
            parallelism: *parallelism,
        };
        let edge = |(index, (from, to, partitioning)): (usize, &(usize, usize, Partitioning))| TaskEdge {
            index: index as u32,
            from: TaskId(*from as u32),
            to: TaskId(*to as u32),
            partitioning: partitioning.clone(),
        };
        JobGraph {
            tasks: parallelisms.iter().enumerate().map(task).collect(),
            edges: edges.iter().enumerate().map(edge).collect(),
        }
    }

    fn show(graph: &JobGraph) -> Vec<String> {
        let regions = Regions::new(graph);
        let members = |region| regions.members(region).map(|subtask| subtask.to_string()).collect::<Vec<_>>().join(" ");
        regions.ids().map(members).collect()
    }

    #[test]
    fn what_is_not_connected_fails_alone() {
        let hash = || Partitioning::Hash { keys: vec![0] };
        assert_eq!(show(&graph(&[2, 2], &[(0, 1, Partitioning::Forward)])), ["0/0 1/0", "0/1 1/1"]);
        assert_eq!(show(&graph(&[2, 2], &[(0, 1, hash())])), ["0/0 0/1 1/0 1/1"]);
        assert_eq!(show(&graph(&[3], &[])), ["0/0", "0/1", "0/2"], "a pipeline that is chained as a whole");
        // A keyed pipeline, and beside it one without an exchange.
        let two = graph(&[2, 1, 2, 2], &[(0, 1, Partitioning::Global), (2, 3, Partitioning::Forward)]);
        assert_eq!(show(&two), ["0/0 0/1 1/0", "2/0 3/0", "2/1 3/1"]);
        // One exchange further on joins all before it.
        let late = graph(&[2, 2, 1], &[(0, 1, Partitioning::Forward), (1, 2, Partitioning::Rebalance)]);
        assert_eq!(show(&late), ["0/0 0/1 1/0 1/1 2/0"]);
        assert_eq!(Regions::whole([]).len(), 0);
    }

    fn any_graph() -> impl Strategy<Value = JobGraph> {
        let partitioning = prop_oneof![
            3 => Just(Partitioning::Forward),
            1 => Just(Partitioning::Hash { keys: vec![0] }),
            1 => Just(Partitioning::Rebalance),
            1 => Just(Partitioning::Broadcast),
            1 => Just(Partitioning::Global),
        ];
        let tasks = proptest::collection::vec(prop_oneof![Just(1u32), Just(3), 1u32..5], 1..7);
        let edges = proptest::collection::vec((0usize..6, 0usize..6, partitioning), 0..6);
        (tasks, edges).prop_map(|(tasks, edges)| {
            let known = edges.into_iter().filter(|(from, to, _)| from < to && *to < tasks.len());
            graph(&tasks, &known.collect::<Vec<_>>())
        })
    }

    /// Whether rows go from one subtask to another, in the words of the exchanges.
    fn sends(graph: &JobGraph, from: SubtaskId, to: SubtaskId) -> bool {
        graph.edges.iter().any(|edge| {
            let tasks = edge.from == from.task && edge.to == to.task;
            let equal = graph.tasks[edge.from.0 as usize].parallelism == graph.tasks[edge.to.0 as usize].parallelism;
            tasks && (from.index == to.index || !equal || edge.partitioning != Partitioning::Forward)
        })
    }

    proptest! {
        /// The regions are what a walk over the exchanges in both directions reaches from each subtask.
        #[test]
        fn a_region_is_what_can_be_reached(graph in any_graph()) {
            let regions = Regions::new(&graph);
            let all: Vec<SubtaskId> = regions.subtasks().map(|(subtask, _)| subtask).collect();
            prop_assert_eq!(all.len() as u32, graph.tasks.iter().map(|task| task.parallelism).sum::<u32>());
            for start in &all {
                let mut reached = BTreeSet::from([*start]);
                let mut open = vec![*start];
                while let Some(at) = open.pop() {
                    for next in &all {
                        let touches = sends(&graph, at, *next) || sends(&graph, *next, at);
                        if touches && reached.insert(*next) {
                            open.push(*next);
                        }
                    }
                }
                let region = regions.of(*start).unwrap();
                prop_assert_eq!(regions.members(region).collect::<BTreeSet<_>>(), reached);
            }
        }
    }
}
