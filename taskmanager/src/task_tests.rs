//! Tasks under backpressure: a source that never waits, a task that hands on, and one that takes a batch
//! only when it is allowed to.

use std::sync::mpsc as std_mpsc;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::Int64Type;
use parking_lot::Mutex;
use tidemill_common::batch::Batch;
use tidemill_common::checkpoint::{OperatorSnapshot, SubtaskSnapshot};
use tidemill_common::ids::{AttemptId, JobId, OperatorId, SubtaskId, SubtaskIndex, TaskId};
use tidemill_common::limits::{CHANNEL_CAPACITY_ELEMENTS, EXCHANGE_BATCH_ROWS};
use tidemill_common::plan::Partitioning;
use tidemill_common::types::{Field, LogicalType, Schema};
use tokio::sync::mpsc;

use super::*;
use crate::chain::Stage;
use crate::executor::ExecutorEvent;
use crate::memory::MemoryBudget;
use crate::operator::{Operator, Output};
use crate::shuffle::{Exchange, Outputs, Router, Target, Urgency};

const WAIT: Duration = Duration::from_secs(20);
/// Rows of a batch: so many that the exchange sends each at once.
const ROWS: i64 = EXCHANGE_BATCH_ROWS as i64;

fn schema() -> Schema {
    Schema::new(vec![Field::new("n", LogicalType::BigInt.not_null())])
}

/// The `number`th batch.
fn batch(number: i64) -> Batch {
    let column = Int64Array::from_iter_values(number * ROWS..(number + 1) * ROWS);
    Batch::insert(RecordBatch::try_new(schema().to_arrow(), vec![Arc::new(column)]).unwrap())
}

/// Hands batches on, each when it gets leave; remembers how many.
struct Gated {
    leave: Option<std_mpsc::Receiver<()>>,
    taken: Arc<Mutex<Vec<i64>>>,
}

impl Operator for Gated {
    fn process_batch(&mut self, _input: usize, batch: Batch, output: &mut dyn Output) -> Result<(), OperatorError> {
        if let Some(leave) = &self.leave {
            leave.recv().map_err(|_| OperatorError::Cancelled)?;
        }
        self.taken.lock().extend(batch.records.column(0).as_primitive::<Int64Type>().values().iter());
        output.emit(batch)
    }

    fn snapshot(&mut self, snapshot: &mut Snapshot) -> Result<(), OperatorError> {
        snapshot.put_i64("taken", self.taken.lock().len() as i64);
        Ok(())
    }
}

fn id(task: u32) -> SubtaskId {
    SubtaskId { task: TaskId(task), index: SubtaskIndex(0) }
}

/// How barriers of a test are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Aligned,
    Overtaking(Duration),
}

impl Way {
    fn inbox(self, channels: usize) -> Arc<Inbox> {
        Arc::new(match self {
            Self::Aligned => Inbox::new(channels),
            Self::Overtaking(after) => Inbox::overtaking(Overtaking::new(after, vec![true; channels])),
        })
    }
}

fn outputs(inbox: &Inbox, target: Option<Target>, cancelled: &Arc<AtomicBool>) -> Outputs {
    let metrics = Arc::new(TaskMetrics::new("j".into(), AttemptId(1), id(0), []));
    let exchange = target.map(|target| Exchange::new(Router::new(&Partitioning::Forward, 0, 1, 128), vec![target]));
    let urgency = inbox.overtakes().map_or_else(Arc::<Urgency>::default, |overtaking| overtaking.urgency.clone());
    Outputs::new(exchange.into_iter().collect(), cancelled.clone(), metrics, urgency)
}

/// Two tasks, one behind the other; the first has two inputs.
struct Pipeline {
    io: tokio::runtime::Runtime,
    place: tempfile::TempDir,
    events: mpsc::Receiver<ExecutorEvent>,
    cancelled: Arc<AtomicBool>,
    leave: std_mpsc::Sender<()>,
    taken: Arc<Mutex<Vec<i64>>>,
    /// Of the first task.
    inbox: Arc<Inbox>,
    threads: Vec<std::thread::JoinHandle<Result<(), TaskError>>>,
    way: Way,
    given: usize,
    answers: Vec<(SubtaskId, CheckpointId, SubtaskSnapshot)>,
}

impl Pipeline {
    fn start(way: Way, sources: usize) -> Self {
        let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let place = tempfile::tempdir().unwrap();
        let (sender, events) = mpsc::channel(64);
        let (leave, gate) = std_mpsc::channel();
        let cancelled = Arc::new(AtomicBool::new(false));
        let (first, last) = (way.inbox(sources), way.inbox(1));
        let taken = Arc::new(Mutex::new(Vec::new()));
        let gated = Gated { leave: Some(gate), taken: taken.clone() };
        let passing = Gated { leave: None, taken: Arc::default() };
        let target = Target::Local { inbox: last.clone(), channel: 0 };
        let mut threads = Vec::new();
        for (task, operator, inbox, target) in [(2, gated, last, None), (1, passing, first.clone(), Some(target))] {
            let metrics = Arc::new(TaskMetrics::new("j".into(), AttemptId(1), id(task), [OperatorId(task)]));
            let stage = Stage {
                operator: Box::new(operator),
                uid: format!("uid-{task}"),
                metrics: metrics.operators[0].clone(),
            };
            let chain = Chain::new(vec![stage], outputs(&inbox, target, &cancelled));
            let url = format!("file://{}", place.path().display());
            let ids = (JobId::from("j"), AttemptId(1), id(task));
            let handle = io.handle().clone();
            let checkpoints = Checkpoints::new(ids, Some(&url), Default::default(), handle, sender.clone()).unwrap();
            let channels = if task == 1 { sources } else { 1 };
            let channel = |index: usize| {
                let from = SubtaskId { task: TaskId(task - 1), index: SubtaskIndex(index as u32) };
                (InputChannel { edge: task - 1, input: 0, from }, Decoder::new(schema().to_arrow()))
            };
            let aligner = match way {
                Way::Aligned => BarrierAligner::new(channels),
                Way::Overtaking(_) => BarrierAligner::overtaking(vec![true; channels]),
            };
            let input = InFlightInput { from: format!("uid-{}", task - 1), schema: schema() };
            let gate =
                Gate::new((0..channels).map(channel).collect(), aligner, vec![input], MemoryBudget::of_machine());
            let runtime = Runtime::new(chain, inbox, cancelled.clone(), metrics, checkpoints);
            let run = move || Task { head: Head::Inputs(Box::new(gate)), runtime, replays: Vec::new() }.run();
            threads.push(std::thread::spawn(run));
        }
        Self { io, place, events, cancelled, leave, taken, inbox: first, threads, way, given: 0, answers: Vec::new() }
    }

    /// A source that sends batches without end, and barriers when it is told to. Gives them, how many rows
    /// were before each and what tells it.
    fn source(&self, channel: usize) -> Source {
        let (trigger, triggered) = std_mpsc::channel::<Barrier>();
        let own = self.way.inbox(0);
        let target = Target::Local { inbox: self.inbox.clone(), channel };
        let mut outputs = outputs(&own, Some(target), &self.cancelled);
        let before = Arc::new(Mutex::new(Vec::new()));
        let (positions, inbox) = (before.clone(), own.clone());
        let thread = std::thread::spawn(move || {
            // Batches of several sources are told apart.
            let (first, mut sent) = (channel as i64 * 1_000_000, 0);
            loop {
                if let Ok(barrier) = triggered.try_recv() {
                    positions.lock().push((barrier.checkpoint, first * ROWS, sent * ROWS));
                    outputs.barrier(barrier)?;
                    inbox.overtakes().inspect(|overtaking| overtaking.urgency.plan(None));
                }
                outputs.emit(batch(first + sent))?;
                sent += 1;
            }
        });
        Source { trigger, own, before, thread }
    }

    /// Waits until nothing moves any more.
    fn stall(&self) {
        let mut before = usize::MAX;
        loop {
            std::thread::sleep(Duration::from_millis(150));
            let now = self.taken.lock().len();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// The tasks that answer within a time.
    fn answers(&mut self, within: Duration) -> &[(SubtaskId, CheckpointId, SubtaskSnapshot)] {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            match self.events.try_recv() {
                Ok(ExecutorEvent::Checkpointed { subtask, checkpoint, result, .. }) => {
                    self.answers.push((subtask, checkpoint, *result.unwrap()));
                }
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        &self.answers
    }

    /// Lets batches be taken, one after the other, until both tasks have answered. Gives how many it took.
    fn until_answered(&mut self) -> usize {
        let begun = Instant::now();
        let given = self.given;
        while self.answers(Duration::from_millis(150)).len() < 2 {
            assert!(begun.elapsed() < WAIT, "the checkpoint is not complete");
            self.leave.send(()).unwrap();
            self.given += 1;
        }
        self.given - given
    }

    fn state(&self, task: u32) -> &OperatorSnapshot {
        let (.., snapshot) = self.answers.iter().find(|(subtask, ..)| *subtask == id(task)).unwrap();
        &snapshot.operators.iter().find(|(operator, _)| *operator == OperatorId(task)).unwrap().1
    }

    /// Rows in flight to a task, by channel.
    fn in_flight(&self, task: u32, channels: usize) -> Vec<Vec<i64>> {
        let mut rows = vec![Vec::new(); channels];
        let Some(in_flight) = &self.state(task).in_flight else { return rows };
        let content = match &in_flight.file.inline {
            Some(blob) => blob.0.clone(),
            None => std::fs::read(in_flight.file.location.trim_start_matches("file://")).unwrap(),
        };
        for (header, body) in crate::in_flight::frames(&Buffer::from(content.as_slice()), channels).unwrap() {
            let element = Decoder::new(schema().to_arrow()).decode(&header, body).unwrap();
            if let StreamElement::Batch(batch) = element {
                rows[header.channel as usize].extend(batch.records.column(0).as_primitive::<Int64Type>().values());
            }
        }
        rows
    }

    fn end(self, sources: Vec<Source>) {
        self.cancelled.store(true, Ordering::Relaxed);
        self.inbox.mail(Mail::Cancel);
        drop(self.leave);
        for thread in self.threads {
            assert!(thread.join().unwrap().is_err());
        }
        for source in sources {
            assert!(source.thread.join().unwrap().is_err());
        }
        drop(self.io);
        drop(self.place);
    }
}

struct Source {
    trigger: std_mpsc::Sender<Barrier>,
    /// Its own inbox.
    own: Arc<Inbox>,
    /// Checkpoints, the first row, and how many rows were before the barrier.
    before: Arc<Mutex<Vec<(CheckpointId, i64, i64)>>>,
    thread: std::thread::JoinHandle<Result<(), OperatorError>>,
}

impl Source {
    fn trigger(&self, checkpoint: u64) {
        let barrier = Barrier { checkpoint: CheckpointId(checkpoint), timestamp_ms: system_clock(), savepoint: None };
        if let Some(overtaking) = self.own.overtakes() {
            // As its inbox does when the trigger comes by mail.
            overtaking.urgency.plan(Some(overtaking.due_ms(&barrier, system_clock())));
        }
        self.trigger.send(barrier).unwrap();
    }

    /// The rows before the barrier.
    fn rows(&self) -> Vec<i64> {
        let before = self.before.lock();
        let (_, first, count) = before[0];
        (first..first + count).collect()
    }
}

/// What the checkpoint holds of the last task's rows: taken, or in flight to one task or the other.
fn held(pipeline: &Pipeline, channels: usize) -> Vec<Vec<i64>> {
    let taken = pipeline.taken.lock();
    let counted = RestoredCount::of(pipeline.state(2));
    let before = [&taken[..counted], &pipeline.in_flight(2, 1)[0]].concat();
    (0..channels)
        .map(|channel| {
            let of_channel = |row: &&i64| **row / ROWS / 1_000_000 == channel as i64;
            let mut rows: Vec<i64> = before.iter().filter(of_channel).copied().collect();
            rows.extend(&pipeline.in_flight(1, channels)[channel]);
            rows
        })
        .collect()
}

struct RestoredCount;

impl RestoredCount {
    fn of(state: &OperatorSnapshot) -> usize {
        crate::snapshot::RestoredState::i64_of(&state.values, "taken").unwrap() as usize
    }
}

#[test]
fn an_unaligned_checkpoint_is_complete_under_backpressure_while_an_aligned_one_waits() {
    let mut waited = Vec::new();
    for way in [Way::Aligned, Way::Overtaking(Duration::ZERO)] {
        let mut pipeline = Pipeline::start(way, 1);
        let source = pipeline.source(0);
        pipeline.stall();
        source.trigger(1);
        let at_once = pipeline.answers(Duration::from_millis(500)).len();
        // The last task stands in the middle of a batch.
        assert_eq!(at_once, usize::from(way != Way::Aligned), "{way:?}");
        waited.push(pipeline.until_answered());
        assert_eq!(held(&pipeline, 1), [source.rows()], "{way:?}: every row once, in order");
        let bytes: u64 = pipeline.answers.iter().map(|(.., snapshot)| snapshot.stats.bytes_in_flight).sum();
        assert_eq!(bytes > 0, way != Way::Aligned);
        pipeline.end(vec![source]);
    }
    assert!(waited[0] >= 2 * CHANNEL_CAPACITY_ELEMENTS, "an aligned one waits for what is queued: {waited:?}");
    assert_eq!(waited[1], 1, "an unaligned one waits for the batch in hand");
}

#[test]
fn bug_12_one_input_without_a_barrier_holds_up_nobody() {
    let mut pipeline = Pipeline::start(Way::Overtaking(Duration::ZERO), 2);
    let sources = vec![pipeline.source(0), pipeline.source(1)];
    pipeline.stall();
    sources[0].trigger(1);
    // The second source's barrier comes much later: meanwhile both are read, and its rows are recorded.
    pipeline.answers(Duration::from_millis(200));
    for _ in 0..10 {
        pipeline.leave.send(()).unwrap();
    }
    pipeline.answers(Duration::from_millis(300));
    sources[1].trigger(1);
    pipeline.until_answered();
    let expected: Vec<Vec<i64>> = sources.iter().map(Source::rows).collect();
    assert_eq!(held(&pipeline, 2), expected, "every row once, in order");
    pipeline.end(sources);
}

#[test]
fn a_barrier_overtakes_only_when_its_time_has_come() {
    let mut pipeline = Pipeline::start(Way::Overtaking(Duration::from_millis(700)), 1);
    let source = pipeline.source(0);
    pipeline.stall();
    source.trigger(1);
    assert_eq!(pipeline.answers(Duration::from_millis(400)).len(), 0, "it is still aligned");
    assert_eq!(pipeline.answers(Duration::from_millis(900)).len(), 1);
    assert_eq!(pipeline.until_answered(), 1);
    assert_eq!(held(&pipeline, 1), [source.rows()]);
    pipeline.end(vec![source]);
}
