//! The job graph: the plan's operators chained into tasks.
//!
//! Operators joined by a forward edge at equal parallelism run on one thread, called directly. A
//! chain ends where an operator has several inputs, several consumers, or an exchange. At
//! parallelism 1 a hash or global exchange routes everything to the one subtask there is, so it is
//! chained away too.

use crate::ids::{OperatorId, TaskId};
use crate::plan::{OperatorKind, Partitioning, StreamPlan};

/// The tasks of a job, in topological order.
#[derive(Clone, Debug, PartialEq)]
pub struct JobGraph {
    pub tasks: Vec<Task>,
    pub edges: Vec<TaskEdge>,
}

/// A chain of operators.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    pub id: TaskId,
    /// First to last; every operator but the first has the one before it as its only input.
    pub operators: Vec<OperatorId>,
    pub parallelism: u32,
}

/// An exchange between two tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskEdge {
    /// Position in [`JobGraph::edges`].
    pub index: u32,
    pub from: TaskId,
    pub to: TaskId,
    pub partitioning: Partitioning,
}

impl JobGraph {
    /// Chains the operators of a plan.
    pub fn new(plan: &StreamPlan) -> Self {
        let mut consumers = vec![0usize; plan.operators.len()];
        for edge in plan.operators.iter().flat_map(|operator| &operator.inputs) {
            consumers[edge.from.0 as usize] += 1;
        }
        let mut tasks: Vec<Task> = Vec::new();
        let mut task_of = Vec::with_capacity(plan.operators.len());
        let mut edges: Vec<TaskEdge> = Vec::new();
        for operator in &plan.operators {
            let chained = match operator.inputs.as_slice() {
                [edge] if consumers[edge.from.0 as usize] == 1 => {
                    let from = plan.operator(edge.from);
                    let direct = match edge.partitioning {
                        Partitioning::Forward => true,
                        Partitioning::Hash { .. } | Partitioning::Global | Partitioning::Rebalance => {
                            operator.parallelism == 1
                        }
                        Partitioning::Broadcast => false,
                    };
                    (direct && from.parallelism == operator.parallelism).then_some(task_of[edge.from.0 as usize])
                }
                _ => None,
            };
            let task = match chained {
                Some(TaskId(task)) => {
                    tasks[task as usize].operators.push(operator.id);
                    TaskId(task)
                }
                None => {
                    let task = TaskId(tasks.len() as u32);
                    for edge in &operator.inputs {
                        edges.push(TaskEdge {
                            index: edges.len() as u32,
                            from: task_of[edge.from.0 as usize],
                            to: task,
                            partitioning: edge.partitioning.clone(),
                        });
                    }
                    tasks.push(Task { id: task, operators: vec![operator.id], parallelism: operator.parallelism });
                    task
                }
            };
            task_of.push(task);
        }
        Self { tasks, edges }
    }

    /// Exchanges into a task, in the order of its head operator's inputs.
    pub fn inputs(&self, task: TaskId) -> impl Iterator<Item = &TaskEdge> {
        self.edges.iter().filter(move |edge| edge.to == task)
    }

    /// Exchanges out of a task.
    pub fn outputs(&self, task: TaskId) -> impl Iterator<Item = &TaskEdge> {
        self.edges.iter().filter(move |edge| edge.from == task)
    }

    /// Whether the task reads from outside.
    pub fn is_source(&self, plan: &StreamPlan, task: TaskId) -> bool {
        let head = self.tasks[task.0 as usize].operators[0];
        matches!(plan.operator(head).kind, OperatorKind::Source(_))
    }
}
