//! A subtask: one thread that serves its mail, reads its input and drives its chain.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidemill_common::batch::{Barrier, StreamElement};
use tidemill_common::checkpoint::InFlightInput;
use tidemill_common::ids::CheckpointId;
use tidemill_common::limits::EXCHANGE_LINGER_MS;
use tidemill_common::time::Watermark;
use tidemill_connectors::api::ConnectorError;
use tokio::sync::oneshot;

use crate::aligner::{AlignAction, BarrierAligner};
use crate::chain::Chain;
use crate::checkpoint::{Checkpoints, Collecting, OperatorPart};
use crate::in_flight::{Collected, Replay, Replayed};
use crate::memory::MemoryBudget;
use crate::metrics::{TaskMetrics, Wait};
use crate::operator::OperatorError;
use crate::operators::window::system_clock;
use crate::shuffle::{Decoder, Delivery, Inbox, InputChannel, Mail, Overtaking, Received};
use crate::snapshot::Snapshot;
use crate::source::{Source, Step};
use crate::watermark::{MergeEvent, WatermarkMerger};

const LINGER: Duration = Duration::from_millis(EXCHANGE_LINGER_MS);
/// A subtask whose neighbour has ended early waits this long to be cancelled before it fails itself,
/// so that the neighbour's failure is told and not its own.
const NEIGHBOUR_GRACE: Duration = Duration::from_secs(10);

/// Why a subtask ended before its input did.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Operator(#[from] OperatorError),
    /// What it depends on is gone.
    #[error("{0}")]
    Dependency(String),
}

impl TaskError {
    /// Whether it was told to end.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::Operator(OperatorError::Cancelled | OperatorError::Connector(ConnectorError::Cancelled)))
    }
}

/// An input channel: which input it feeds, and how its frames are read.
pub struct Channel {
    pub channel: InputChannel,
    /// Reads batches that come over the network.
    pub decoder: Decoder,
    ended: bool,
}

/// The input channels of a subtask.
pub struct Gate {
    channels: Vec<Channel>,
    merger: WatermarkMerger,
    aligner: BarrierAligner,
    data_open: usize,
    open: usize,
    drain: bool,
    /// Whether a complete checkpoint covers the end of the input.
    covered: bool,
    /// When the first barrier of the checkpoint that is aligned came.
    aligning_since: Option<(CheckpointId, Instant)>,
    /// When the barrier that waits overtakes.
    overtake_at: Option<Instant>,
    /// What is in flight to the operator, while it is collected.
    in_flight: Option<InFlightCollector>,
    /// Inputs of the operator, as checkpoints know them.
    inputs: Arc<[InFlightInput]>,
    memory: MemoryBudget,
}

/// Collects what a barrier has overtaken.
struct InFlightCollector {
    collected: Collected,
    /// Channels of which everything that is read is in flight.
    recording: Vec<bool>,
    done: oneshot::Sender<Result<Collected, String>>,
}

impl Gate {
    /// A gate over the channels of an inbox, in its order. `aligner` has as many.
    pub fn new(
        channels: Vec<(InputChannel, Decoder)>,
        aligner: BarrierAligner,
        inputs: Vec<InFlightInput>,
        memory: MemoryBudget,
    ) -> Self {
        let count = channels.len();
        Self {
            inputs: inputs.into(),
            memory,
            overtake_at: None,
            in_flight: None,
            channels: channels
                .into_iter()
                .map(|(channel, decoder)| Channel { channel, decoder, ended: false })
                .collect(),
            merger: WatermarkMerger::new(count),
            aligner,
            data_open: count,
            open: count,
            drain: true,
            covered: false,
            aligning_since: None,
        }
    }
}

/// Where a subtask's rows come from.
pub enum Head {
    Source(Box<Source>),
    Inputs(Box<Gate>),
}

/// All that a subtask's thread works with.
pub struct Task {
    pub head: Head,
    pub runtime: Runtime,
    /// What was in flight to its operators when the checkpoint it starts from was taken, the last operator
    /// first.
    pub replays: Vec<Replay>,
}

/// What does not depend on the kind of head.
pub struct Runtime {
    pub chain: Chain,
    pub inbox: Arc<Inbox>,
    pub cancelled: Arc<AtomicBool>,
    pub metrics: Arc<TaskMetrics>,
    pub checkpoints: Checkpoints,
    /// Since when something may wait in the chain.
    dirty_since: Option<Instant>,
}

impl Runtime {
    pub fn new(
        chain: Chain,
        inbox: Arc<Inbox>,
        cancelled: Arc<AtomicBool>,
        metrics: Arc<TaskMetrics>,
        checkpoints: Checkpoints,
    ) -> Self {
        Self { chain, inbox, cancelled, metrics, checkpoints, dirty_since: None }
    }

    fn check_cancelled(&self) -> Result<(), TaskError> {
        if self.cancelled.load(Ordering::Relaxed) { Err(OperatorError::Cancelled.into()) } else { Ok(()) }
    }

    /// When to wake up: for a timer, or to hand on what lingers.
    fn deadline(&mut self) -> Option<Instant> {
        // Of a timer, or a watermark that came without rows.
        if self.dirty_since.is_none() && self.chain.has_pending() {
            self.dirty_since = Some(Instant::now());
        }
        let timer = self.chain.next_processing_timer().map(|due| {
            let wait = due.saturating_sub(system_clock()).max(0) as u64;
            Instant::now() + Duration::from_millis(wait)
        });
        let linger = self.dirty_since.map(|since| since + LINGER);
        [timer, linger].into_iter().flatten().min()
    }

    fn received(&mut self, deadline: Option<Instant>) -> Received {
        let Self { inbox, metrics, .. } = self;
        inbox.next(deadline, |wait| metrics.waiting(Wait::Idle, wait))
    }

    fn fire_timers(&mut self) -> Result<(), TaskError> {
        let now = system_clock();
        if self.chain.next_processing_timer().is_some_and(|due| due <= now) {
            self.chain.on_processing_time(now)?;
        }
        Ok(())
    }

    /// After rows: what waits in the outputs does not wait longer than the linger.
    fn linger(&mut self) -> Result<(), TaskError> {
        let now = Instant::now();
        let since = *self.dirty_since.get_or_insert(now);
        if now >= since + LINGER && self.chain.has_pending() {
            self.chain.flush_outputs()?;
            self.dirty_since = Some(now);
        }
        Ok(())
    }

    /// There was nothing to do: what waits may wait for the rest of the linger.
    fn rest(&mut self) -> Result<(), TaskError> {
        if self.dirty_since.is_some_and(|since| since.elapsed() >= LINGER) { self.settle() } else { Ok(()) }
    }

    /// The input is not hot: nothing waits any longer.
    fn settle(&mut self) -> Result<(), TaskError> {
        if self.dirty_since.take().is_some() {
            self.chain.flush()?;
        }
        Ok(())
    }

    /// How barriers of this subtask overtake, if they do.
    fn overtaking(&self) -> Option<&Overtaking> {
        self.inbox.overtakes()
    }

    /// The subtask's part of a checkpoint: everything the rows before the barrier have changed, and those
    /// that are still being collected.
    fn checkpoint(
        &mut self,
        barrier: Barrier,
        source: Option<&Source>,
        alignment: Duration,
        collecting: Option<Collecting>,
    ) -> Result<(), TaskError> {
        let begun = Instant::now();
        // Once its time has come, what goes out before the barrier waits for no room.
        let overtaking = self.overtaking().filter(|_| barrier.savepoint.is_none()).cloned();
        if let Some(overtaking) = &overtaking {
            let waited = alignment.as_millis() as i64;
            overtaking.urgency.plan(Some(overtaking.due_ms(&barrier, system_clock() - waited)));
        }
        let mut parts = Vec::new();
        if let Some(source) = source {
            let mut snapshot = Snapshot::new(barrier.checkpoint, barrier.savepoint.is_some());
            let splits = source.snapshot(&mut snapshot);
            parts.push(OperatorPart { operator: source.operator(), uid: source.uid().to_owned(), snapshot, splits });
        }
        parts.extend(self.chain.barrier(barrier.clone())?);
        if let Some(overtaking) = &overtaking {
            overtaking.urgency.plan(None);
        }
        self.checkpoints.take(&barrier, parts, (alignment, begun.elapsed()), collecting);
        Ok(())
    }

    /// Takes rows that were in flight; gives how far event time has come among them.
    fn replay(&mut self, mut replay: Replay) -> Result<Watermark, TaskError> {
        while let Some(next) = replay.next()? {
            self.check_cancelled()?;
            match next {
                Replayed::Batch { input, batch } => self.chain.batch_at(replay.stage, input, batch)?,
                Replayed::Watermark(watermark) => {
                    self.metrics.set_watermark(watermark);
                    self.chain.watermark(watermark)?;
                }
            }
            self.linger()?;
        }
        self.settle()?;
        Ok(replay.watermark())
    }

    /// A neighbour has ended early. Whoever ended it will cancel this subtask too.
    fn await_cancellation(&self, error: OperatorError) -> TaskError {
        let deadline = Instant::now() + NEIGHBOUR_GRACE;
        loop {
            if self.cancelled.load(Ordering::Relaxed) {
                return OperatorError::Cancelled.into();
            }
            match self.inbox.next(Some(deadline), |wait| wait()) {
                Received::Mail(Mail::Cancel) => return OperatorError::Cancelled.into(),
                Received::Mail(Mail::Fail { cause }) => return TaskError::Dependency(cause),
                Received::Mail(_) | Received::Element { .. } | Received::Announced { .. } => {}
                Received::Nothing => return error.into(),
            }
        }
    }
}

impl Task {
    /// Runs to the end of the input.
    ///
    /// # Errors
    /// If an operator fails, the subtask is cancelled, or what it depends on is gone.
    pub fn run(&mut self) -> Result<(), TaskError> {
        let Self { head, runtime, replays } = self;
        let replayed = std::mem::take(replays)
            .into_iter()
            .try_fold(Watermark::MIN, |watermark, replay| Ok::<_, TaskError>(runtime.replay(replay)?.max(watermark)));
        let ended = replayed.and_then(|watermark| match head {
            Head::Source(source) => run_source(source, runtime),
            Head::Inputs(gate) => {
                gate.merger = WatermarkMerger::starting_at(gate.channels.len(), watermark);
                gate.run(runtime)
            }
        });
        match ended {
            Err(TaskError::Operator(error @ OperatorError::ExchangeClosed)) => Err(runtime.await_cancellation(error)),
            ended => ended,
        }
    }
}

fn run_source(source: &mut Source, runtime: &mut Runtime) -> Result<(), TaskError> {
    let mut needs_mail = false;
    // Once the input has ended: stays for the checkpoint that publishes the tail.
    let mut ended = false;
    loop {
        let mail = if needs_mail || ended {
            runtime.settle()?;
            // Wakes up now and then, for idleness and timers.
            let latest = Instant::now() + Duration::from_millis(200);
            let deadline = runtime.deadline().map_or(latest, |deadline| deadline.min(latest));
            match runtime.received(Some(deadline)) {
                Received::Mail(mail) => Some(mail),
                Received::Element { .. } | Received::Announced { .. } | Received::Nothing => None,
            }
        } else {
            runtime.inbox.try_mail()
        };
        needs_mail = false;
        runtime.check_cancelled()?;
        match mail {
            Some(Mail::Cancel) => return Err(OperatorError::Cancelled.into()),
            Some(Mail::Fail { cause }) => return Err(TaskError::Dependency(cause)),
            Some(Mail::StopSources { drain }) if !ended => {
                ended = true;
                end_of_input(runtime, drain)?;
                if !runtime.checkpoints.are_taken() {
                    return Ok(runtime.chain.end()?);
                }
            }
            Some(Mail::StopSources { .. }) => {}
            Some(Mail::AssignSplits { splits, no_more, .. }) => source.assign(splits, no_more, &mut runtime.chain)?,
            Some(Mail::Alignment { group, max_watermark }) => source.align(&group, max_watermark),
            Some(Mail::TriggerCheckpoint { barrier, stop }) => {
                if let Some(drain) = stop
                    && !std::mem::replace(&mut ended, true)
                {
                    end_of_input(runtime, drain)?;
                }
                runtime.checkpoint(barrier, Some(source), Duration::ZERO, None)?;
            }
            Some(Mail::CheckpointComplete(checkpoint)) => {
                runtime.chain.checkpoint_complete(checkpoint)?;
                if let Some(positions) = runtime.checkpoints.complete(checkpoint) {
                    source.checkpoint_complete(&positions);
                }
                if runtime.checkpoints.covers_the_end(checkpoint) {
                    return Ok(runtime.chain.end()?);
                }
            }
            Some(Mail::CheckpointAborted(checkpoint)) => runtime.chain.checkpoint_aborted(checkpoint),
            None => {}
        }
        if ended {
            continue;
        }
        runtime.fire_timers()?;
        let timeout =
            runtime.deadline().map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        match source.step(timeout, &mut runtime.chain)? {
            Step::Rows => runtime.linger()?,
            Step::Pending => runtime.rest()?,
            Step::NeedsMail => needs_mail = true,
            Step::Ended => {
                ended = true;
                end_of_input(runtime, true)?;
                if !runtime.checkpoints.are_taken() {
                    return Ok(runtime.chain.end()?);
                }
            }
        }
    }
}

fn end_of_input(runtime: &mut Runtime, drain: bool) -> Result<(), TaskError> {
    if drain {
        runtime.metrics.set_watermark(Watermark::MAX);
        runtime.chain.watermark(Watermark::MAX)?;
    }
    runtime.chain.finish(drain)?;
    runtime.checkpoints.input_ended();
    Ok(())
}

impl Gate {
    fn run(&mut self, runtime: &mut Runtime) -> Result<(), TaskError> {
        while self.open > 0 || (runtime.checkpoints.are_taken() && !self.covered) {
            let deadline = [runtime.deadline(), self.overtake_at].into_iter().flatten().min();
            match runtime.received(deadline) {
                Received::Mail(Mail::Cancel) => return Err(OperatorError::Cancelled.into()),
                Received::Mail(Mail::Fail { cause }) => return Err(TaskError::Dependency(cause)),
                Received::Mail(Mail::CheckpointComplete(checkpoint)) => {
                    runtime.chain.checkpoint_complete(checkpoint)?;
                    runtime.checkpoints.complete(checkpoint);
                    self.covered |= runtime.checkpoints.covers_the_end(checkpoint);
                }
                Received::Mail(Mail::CheckpointAborted(checkpoint)) => {
                    runtime.chain.checkpoint_aborted(checkpoint);
                    let actions = self.aligner.abort(checkpoint);
                    self.align(actions, runtime)?;
                }
                // For sources only.
                Received::Mail(
                    Mail::AssignSplits { .. }
                    | Mail::StopSources { .. }
                    | Mail::Alignment { .. }
                    | Mail::TriggerCheckpoint { .. },
                ) => {}
                Received::Element { channel, delivery } => {
                    runtime.check_cancelled()?;
                    self.delivery(channel, delivery, runtime)?;
                    runtime.linger()?;
                }
                Received::Announced { channel, barrier } => {
                    let actions = self.aligner.announced(channel, barrier);
                    self.align(actions, runtime)?;
                }
                Received::Nothing => runtime.rest()?,
            }
            if self.overtake_at.is_some_and(|at| at <= Instant::now()) {
                let actions = self.aligner.overtake();
                self.align(actions, runtime)?;
            }
            if self.data_open > 0 {
                runtime.fire_timers()?;
            }
        }
        Ok(runtime.chain.end()?)
    }

    fn delivery(&mut self, channel: usize, delivery: Delivery, runtime: &mut Runtime) -> Result<(), TaskError> {
        if self.in_flight.as_ref().is_some_and(|in_flight| in_flight.recording[channel]) {
            self.collect(channel, [delivery.clone()]);
        }
        let element = match delivery {
            Delivery::Element(element) => element,
            Delivery::Frame { header, body } => {
                let decoded = self.channels[channel].decoder.decode(&header, body);
                decoded.map_err(|error| {
                    TaskError::Dependency(format!(
                        "what subtask {} sent cannot be read: {error}",
                        self.channels[channel].channel.from
                    ))
                })?
            }
            Delivery::Aborted => return Err(OperatorError::ExchangeClosed.into()),
        };
        match element {
            StreamElement::Batch(batch) => runtime.chain.batch(self.channels[channel].channel.input, batch)?,
            StreamElement::Watermark(watermark) => {
                let event = self.merger.watermark(channel, watermark);
                self.merged(event, runtime)?;
            }
            StreamElement::Idle(idle) => {
                let events = self.merger.idle(channel, idle);
                self.merged(events, runtime)?;
            }
            StreamElement::Barrier(barrier) => {
                let actions = self.aligner.barrier(channel, barrier);
                self.align(actions, runtime)?;
            }
            StreamElement::EndOfData { drain } => self.end_of_data(channel, drain, runtime)?,
            StreamElement::EndOfPartition => {
                self.end_of_data(channel, self.drain, runtime)?;
                let actions = self.aligner.finish(channel);
                self.align(actions, runtime)?;
                self.open -= 1;
            }
        }
        Ok(())
    }

    fn end_of_data(&mut self, channel: usize, drain: bool, runtime: &mut Runtime) -> Result<(), TaskError> {
        if std::mem::replace(&mut self.channels[channel].ended, true) {
            return Ok(());
        }
        self.drain &= drain;
        if drain {
            let events = self.merger.finish(channel);
            self.merged(events, runtime)?;
        }
        // Else the channel goes on when the job does, with rows that must not be late then: it holds the
        // watermark.
        self.data_open -= 1;
        if self.data_open == 0 {
            runtime.chain.finish(self.drain)?;
            runtime.checkpoints.input_ended();
        }
        Ok(())
    }

    fn align(&mut self, actions: Vec<AlignAction>, runtime: &mut Runtime) -> Result<(), TaskError> {
        for action in actions {
            match action {
                AlignAction::Block(channel) => runtime.inbox.set_blocked(channel, true),
                AlignAction::Pass(barrier) => {
                    let alignment = self.alignment(barrier.checkpoint);
                    runtime.checkpoint(barrier, None, alignment, None)?;
                }
                AlignAction::UnblockAll => {
                    (0..self.channels.len()).for_each(|channel| runtime.inbox.set_blocked(channel, false));
                }
                AlignAction::Overtake(barrier) => self.overtaken(barrier, runtime)?,
                AlignAction::Capture(channel, checkpoint) => {
                    self.record(channel, false);
                    match runtime.inbox.capture(channel, checkpoint) {
                        Some(waiting) => self.collect(channel, waiting),
                        None => self.cannot_collect(format!("the barrier of channel {channel} is not where it was")),
                    }
                }
                AlignAction::Record(channel) => self.record(channel, true),
                AlignAction::StopRecording(channel) => self.record(channel, false),
                AlignAction::Collected(_) => {
                    if let Some(InFlightCollector { collected, done, .. }) = self.in_flight.take() {
                        // Nobody waits if the checkpoint could not be written anyway.
                        drop(done.send(Ok(collected)));
                    }
                }
                AlignAction::GiveUp(_) => self.in_flight = None,
            }
        }
        self.plan_overtaking(runtime);
        Ok(())
    }

    /// How long a checkpoint was aligned.
    fn alignment(&self, checkpoint: CheckpointId) -> Duration {
        let since = self.aligning_since.filter(|(aligning, _)| *aligning == checkpoint);
        since.map_or(Duration::ZERO, |(_, since)| since.elapsed())
    }

    /// When the barrier that waits now overtakes.
    fn plan_overtaking(&mut self, runtime: &Runtime) {
        let now = Instant::now();
        let aligning = self.aligner.aligning();
        if let Some(checkpoint) = aligning
            && self.aligning_since.is_none_or(|(known, _)| known != checkpoint)
        {
            self.aligning_since = Some((checkpoint, now));
        }
        let Some(overtaking) = runtime.overtaking() else { return };
        let due_ms = self.aligner.may_overtake().map(|barrier| {
            let seen_ms = system_clock() - self.alignment(barrier.checkpoint).as_millis() as i64;
            overtaking.due_ms(barrier, seen_ms)
        });
        self.overtake_at = due_ms.and_then(|due_ms| {
            let wait = due_ms.saturating_sub(system_clock()).max(0) as u64;
            now.checked_add(Duration::from_millis(wait))
        });
        overtaking.urgency.plan(due_ms);
    }

    /// A barrier overtakes what has not been read: the operators' part is taken, and what is in flight will
    /// be collected.
    fn overtaken(&mut self, barrier: Barrier, runtime: &mut Runtime) -> Result<(), TaskError> {
        let alignment = self.alignment(barrier.checkpoint);
        let (done, receiver) = oneshot::channel();
        let inputs = self.channels.iter().map(|channel| channel.channel.input);
        let collected = Collected::new(self.inputs.clone(), inputs, &self.merger, self.memory.in_flight());
        self.in_flight = Some(InFlightCollector { collected, recording: vec![false; self.channels.len()], done });
        let head = runtime.chain.head();
        let collecting = head.map(|operator| Collecting { operator, collected: receiver });
        runtime.checkpoint(barrier, None, alignment, collecting)
    }

    fn record(&mut self, channel: usize, recording: bool) {
        if let Some(in_flight) = &mut self.in_flight {
            in_flight.recording[channel] = recording;
        }
    }

    fn collect(&mut self, channel: usize, waiting: impl IntoIterator<Item = Delivery>) {
        let Some(in_flight) = &mut self.in_flight else { return };
        let added = waiting.into_iter().try_for_each(|delivery| in_flight.collected.add(channel, delivery));
        if let Err(reason) = added {
            self.cannot_collect(reason);
        }
    }

    /// The checkpoint is declined.
    fn cannot_collect(&mut self, reason: String) {
        if let Some(InFlightCollector { done, .. }) = self.in_flight.take() {
            drop(done.send(Err(reason)));
        }
    }

    fn merged(&mut self, events: impl IntoIterator<Item = MergeEvent>, runtime: &mut Runtime) -> Result<(), TaskError> {
        for event in events {
            match event {
                MergeEvent::Advanced(watermark) => {
                    runtime.metrics.set_watermark(watermark);
                    runtime.chain.watermark(watermark)?;
                }
                MergeEvent::Idle(idle) => runtime.chain.idle(idle)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "task_tests.rs"]
mod tests;
