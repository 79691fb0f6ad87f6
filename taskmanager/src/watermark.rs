//! Merging of the watermarks of several channels (or splits), as a pure rule.

use tidemill_common::checkpoint::ChannelStanding;
use tidemill_common::time::Watermark;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Idle,
    Finished,
}

/// What the merge tells its task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MergeEvent {
    /// The merged watermark has risen to this.
    Advanced(Watermark),
    /// All inputs that are not finished became idle (`true`), or one of them is active again.
    Idle(bool),
}

/// The minimum over the inputs that are active. Idle and finished inputs are set aside; the merged
/// watermark never falls, also when an input becomes active again behind it.
///
/// When the last active input becomes idle, the watermark rises to the highest of the idle inputs
/// before the merge is idle itself, as in Flink's `StatusWatermarkValve`: otherwise the result would
/// depend on the order in which they fell silent.
#[derive(Clone, Debug)]
pub struct WatermarkMerger {
    inputs: Vec<(State, Watermark)>,
    merged: Watermark,
    idle: bool,
}

impl WatermarkMerger {
    /// A merge of `inputs` inputs, all active, none with a watermark yet.
    pub fn new(inputs: usize) -> Self {
        Self { inputs: vec![(State::Active, Watermark::MIN); inputs], merged: Watermark::MIN, idle: false }
    }

    /// A merge of `inputs` inputs that goes on after one that had come to `merged`.
    pub fn starting_at(inputs: usize, merged: Watermark) -> Self {
        Self { merged, ..Self::new(inputs) }
    }

    /// A merge as it stood: its inputs and its watermark.
    pub fn restored(inputs: impl IntoIterator<Item = (ChannelStanding, Watermark)>, merged: Watermark) -> Self {
        let state = |(standing, watermark)| {
            let state = match standing {
                ChannelStanding::Active => State::Active,
                ChannelStanding::Idle => State::Idle,
                ChannelStanding::Finished => State::Finished,
            };
            (state, watermark)
        };
        let inputs: Vec<_> = inputs.into_iter().map(state).collect();
        let mut unfinished = inputs.iter().filter(|(state, _)| *state != State::Finished).peekable();
        let idle = unfinished.peek().is_some() && unfinished.all(|(state, _)| *state == State::Idle);
        Self { inputs, merged, idle }
    }

    /// How each input stands, and its watermark.
    pub fn inputs(&self) -> impl Iterator<Item = (ChannelStanding, Watermark)> {
        self.inputs.iter().map(|(state, watermark)| {
            let standing = match state {
                State::Active => ChannelStanding::Active,
                State::Idle => ChannelStanding::Idle,
                State::Finished => ChannelStanding::Finished,
            };
            (standing, *watermark)
        })
    }

    /// An input's watermark. One that is not higher than the one before changes nothing.
    pub fn watermark(&mut self, input: usize, watermark: Watermark) -> Option<MergeEvent> {
        let slot = &mut self.inputs[input].1;
        *slot = (*slot).max(watermark);
        self.advance()
    }

    /// An input became idle or active. Both events may come of it, in the order in which they are to be
    /// handed on.
    pub fn idle(&mut self, input: usize, idle: bool) -> Vec<MergeEvent> {
        if self.inputs[input].0 == State::Finished {
            return Vec::new();
        }
        self.inputs[input].0 = if idle { State::Idle } else { State::Active };
        self.changed()
    }

    /// An input has ended: it holds the watermark no more.
    pub fn finish(&mut self, input: usize) -> Vec<MergeEvent> {
        self.inputs[input].0 = State::Finished;
        self.changed()
    }

    /// The merged watermark.
    pub fn merged(&self) -> Watermark {
        self.merged
    }

    fn changed(&mut self) -> Vec<MergeEvent> {
        let mut events = Vec::new();
        let unfinished = || self.inputs.iter().filter(|(state, _)| *state != State::Finished);
        let idle = unfinished().next().is_some() && unfinished().all(|(state, _)| *state == State::Idle);
        if idle && !self.idle {
            let highest = unfinished().map(|(_, watermark)| *watermark).max().unwrap_or(Watermark::MIN);
            events.extend(self.rise(highest));
        }
        if idle != self.idle {
            self.idle = idle;
            events.push(MergeEvent::Idle(idle));
        }
        events.extend(self.advance());
        events
    }

    fn advance(&mut self) -> Option<MergeEvent> {
        let active = self.inputs.iter().filter(|(state, _)| *state == State::Active);
        let lowest = active.map(|(_, watermark)| *watermark).min()?;
        self.rise(lowest)
    }

    fn rise(&mut self, watermark: Watermark) -> Option<MergeEvent> {
        (watermark > self.merged).then(|| {
            self.merged = watermark;
            MergeEvent::Advanced(watermark)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every sequence of `depth` steps over three inputs, each step one of: a watermark, idle, active,
    /// finished, at any input.
    fn every_sequence(depth: usize, merger: &WatermarkMerger, highest: i64, seen: &mut usize) {
        *seen += 1;
        check_invariants(merger);
        if depth == 0 {
            return;
        }
        for input in 0..3 {
            for step in 0..5 {
                let mut next = merger.clone();
                let events = match step {
                    0 | 1 => next.watermark(input, Watermark(highest + step)).into_iter().collect(),
                    2 => next.idle(input, true),
                    3 => next.idle(input, false),
                    _ => next.finish(input),
                };
                assert!(next.merged() >= merger.merged(), "a watermark fell");
                let advanced = events.iter().any(|event| matches!(event, MergeEvent::Advanced(_)));
                assert_eq!(advanced, next.merged() > merger.merged(), "every rise is told, and nothing else");
                let idle_told = events.iter().any(|event| matches!(event, MergeEvent::Idle(_)));
                assert_eq!(idle_told, next.idle != merger.idle, "every change of idleness is told once");
                every_sequence(depth - 1, &next, highest + 1, seen);
            }
        }
    }

    fn check_invariants(merger: &WatermarkMerger) {
        let active: Vec<Watermark> =
            merger.inputs.iter().filter(|input| input.0 == State::Active).map(|input| input.1).collect();
        if let Some(lowest) = active.iter().min() {
            assert!(!merger.idle, "an active input keeps the merge active");
            assert!(merger.merged() >= *lowest, "the merge lags behind its inputs");
        }
        if merger.inputs.iter().all(|input| input.0 == State::Finished) {
            assert!(!merger.idle, "what has ended is not idle");
        }
    }

    #[test]
    fn a_merge_goes_on_as_it_stood() {
        let mut merger = WatermarkMerger::new(3);
        merger.watermark(0, Watermark(10));
        merger.watermark(1, Watermark(30));
        merger.idle(1, true);
        merger.finish(2);
        let mut again = WatermarkMerger::restored(merger.inputs(), merger.merged());
        assert_eq!((again.merged(), again.idle), (Watermark(10), false));
        assert_eq!(again.watermark(0, Watermark(20)), merger.watermark(0, Watermark(20)));
        assert_eq!(again.idle(0, true), merger.idle(0, true));
        let mut later = WatermarkMerger::starting_at(2, again.merged());
        assert_eq!(later.watermark(0, Watermark(20)), None);
        assert_eq!(later.watermark(1, Watermark(25)), None, "it does not fall");
        assert_eq!(later.watermark(0, Watermark(40)), None);
        assert_eq!(later.watermark(1, Watermark(50)), Some(MergeEvent::Advanced(Watermark(40))));
    }

    #[test]
    fn all_permutations_of_states_keep_the_rules() {
        let mut seen = 0;
        every_sequence(4, &WatermarkMerger::new(3), 1, &mut seen);
        assert!(seen > 50_000, "only {seen} states were visited");
    }

    /// Classic bug 24 (FLINK-18934): an idle or finished input holds the watermark, or makes it jump.
    #[test]
    fn bug_24_the_order_in_which_inputs_fall_silent_does_not_matter() {
        for order in [[0, 1], [1, 0]] {
            let mut merger = WatermarkMerger::new(2);
            merger.watermark(0, Watermark(10));
            merger.watermark(1, Watermark(30));
            let events: Vec<MergeEvent> = order.into_iter().flat_map(|input| merger.idle(input, true)).collect();
            assert_eq!(merger.merged(), Watermark(30), "{order:?}");
            let [before @ .., MergeEvent::Idle(true)] = events.as_slice() else { panic!("{events:?}") };
            assert!(
                before.contains(&MergeEvent::Advanced(Watermark(30))),
                "the rise comes before idleness: {events:?}"
            );
        }
    }

    #[test]
    fn the_slowest_active_input_holds_the_rest() {
        let mut merger = WatermarkMerger::new(3);
        assert_eq!(merger.watermark(0, Watermark(10)), None);
        assert_eq!(merger.watermark(1, Watermark(20)), None);
        assert_eq!(merger.idle(2, true), [MergeEvent::Advanced(Watermark(10))]);
        assert_eq!(merger.finish(0), [MergeEvent::Advanced(Watermark(20))]);
        assert_eq!(merger.idle(1, true), [MergeEvent::Idle(true)]);
        // An input that comes back behind the merge does not pull it back, but holds it again.
        assert_eq!(merger.idle(2, false), [MergeEvent::Idle(false)]);
        assert_eq!(merger.watermark(2, Watermark(5)), None);
        assert_eq!(merger.idle(1, false), []);
        assert_eq!(merger.watermark(1, Watermark(40)), None);
        assert_eq!(merger.watermark(2, Watermark(30)), Some(MergeEvent::Advanced(Watermark(30))));
        assert_eq!(merger.merged(), Watermark(30));
    }
}
