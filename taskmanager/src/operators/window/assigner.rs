//! Which slice a time falls into and which windows a slice belongs to.
//!
//! Windows are sliced into panes: a row is added to one slice, and windows that overlap share it. A
//! slice is known by its end.

use tidemill_common::plan::WindowKind;
use tidemill_common::time::TimestampMs;

/// Aligned windows. All times are local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assigner {
    Tumble { size: i64, offset: i64 },
    Hop { size: i64, slide: i64, offset: i64 },
    Cumulate { max_size: i64, step: i64, offset: i64 },
}

/// A window, local.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Window {
    // The end comes first: windows fire in its order.
    pub end: TimestampMs,
    pub start: TimestampMs,
}

/// Start of the span of `size` that `time` is in.
#[inline(always)]
fn floor(time: i64, offset: i64, size: i64) -> i64 {
    time.saturating_sub(time.saturating_sub(offset).rem_euclid(size))
}

impl Assigner {
    /// The assigner of a kind of aligned windows, or why there is none.
    pub fn new(kind: &WindowKind) -> Result<Self, String> {
        let positive = |what: &str, length: i64| {
            if length > 0 { Ok(()) } else { Err(format!("{what} must be positive, but is {length} ms")) }
        };
        let multiple = |what: &str, whole: i64, part: i64| {
            let count = whole / part;
            if whole % part != 0 {
                Err(format!("{what}: {whole} ms is not a multiple of {part} ms"))
            } else if count > tidemill_common::limits::WINDOWS_PER_ROW_MAX {
                Err(format!("{what}: a row would be in {count} windows"))
            } else {
                Ok(())
            }
        };
        match *kind {
            WindowKind::Tumble { size_ms: size, offset_ms: offset } => {
                positive("the size of a tumbling window", size)?;
                Ok(Self::Tumble { size, offset })
            }
            WindowKind::Hop { size_ms: size, slide_ms: slide, offset_ms: offset } => {
                positive("the size of a hopping window", size)?;
                positive("the slide of a hopping window", slide)?;
                multiple("the size of a hopping window must be a multiple of its slide", size, slide)?;
                Ok(Self::Hop { size, slide, offset })
            }
            WindowKind::Cumulate { max_size_ms: max_size, step_ms: step, offset_ms: offset } => {
                positive("the size of a cumulating window", max_size)?;
                positive("the step of a cumulating window", step)?;
                multiple("the size of a cumulating window must be a multiple of its step", max_size, step)?;
                Ok(Self::Cumulate { max_size, step, offset })
            }
            WindowKind::Session { .. } | WindowKind::Attached { .. } | WindowKind::Whole => {
                Err("these windows are not aligned".to_owned())
            }
        }
    }

    /// Length of a slice, which is also the distance between window ends.
    #[inline(always)]
    pub fn slice_length(&self) -> i64 {
        match *self {
            Self::Tumble { size, .. } => size,
            Self::Hop { slide, .. } => slide,
            Self::Cumulate { step, .. } => step,
        }
    }

    fn offset(&self) -> i64 {
        match *self {
            Self::Tumble { offset, .. } | Self::Hop { offset, .. } | Self::Cumulate { offset, .. } => offset,
        }
    }

    /// End of the slice that a time is in.
    #[inline(always)]
    pub fn slice_end(&self, time: TimestampMs) -> TimestampMs {
        let length = self.slice_length();
        floor(time, self.offset(), length).saturating_add(length)
    }

    /// End of the last window that a slice is in. The first one's is the slice's own end.
    pub fn last_window_end(&self, slice_end: TimestampMs) -> TimestampMs {
        match *self {
            Self::Tumble { .. } => slice_end,
            Self::Hop { size, slide, .. } => slice_end.saturating_add(size - slide),
            Self::Cumulate { max_size, .. } => self.window_start(slice_end).saturating_add(max_size),
        }
    }

    /// Start of the window with this end.
    pub fn window_start(&self, window_end: TimestampMs) -> TimestampMs {
        match *self {
            Self::Tumble { size, .. } | Self::Hop { size, .. } => window_end.saturating_sub(size),
            Self::Cumulate { max_size, offset, .. } => floor(window_end.saturating_sub(1), offset, max_size),
        }
    }

    /// The window with this end.
    pub fn window(&self, end: TimestampMs) -> Window {
        Window { end, start: self.window_start(end) }
    }

    /// Calls `f` with every window of a time, in the order in which Flink emits a row's windows.
    pub fn for_each_window(&self, time: TimestampMs, mut f: impl FnMut(Window)) {
        let first = self.slice_end(time);
        let last = self.last_window_end(first);
        let length = self.slice_length();
        let windows = (last - first) / length + 1;
        match self {
            Self::Hop { .. } => (0..windows).rev().for_each(|i| f(self.window(first + i * length))),
            _ => (0..windows).for_each(|i| f(self.window(first + i * length))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows by definition: all [start, end) that hold the time.
    fn naive(kind: &WindowKind, time: i64) -> Vec<Window> {
        let mut windows = Vec::new();
        for start in time - 100..=time {
            let mut add = |end: i64| {
                if start <= time && time < end {
                    windows.push(Window { end, start });
                }
            };
            match *kind {
                WindowKind::Tumble { size_ms, offset_ms } if (start - offset_ms) % size_ms == 0 => add(start + size_ms),
                WindowKind::Hop { size_ms, slide_ms, offset_ms } if (start - offset_ms) % slide_ms == 0 => {
                    add(start + size_ms);
                }
                WindowKind::Cumulate { max_size_ms, step_ms, offset_ms } if (start - offset_ms) % max_size_ms == 0 => {
                    (1..=max_size_ms / step_ms).for_each(|steps| add(start + steps * step_ms));
                }
                _ => {}
            }
        }
        windows.sort_unstable();
        windows
    }

    #[test]
    fn windows_are_those_that_hold_the_time() {
        let mut kinds = Vec::new();
        for part_ms in 1..=4 {
            for offset_ms in -4..=4 {
                kinds.push(WindowKind::Tumble { size_ms: part_ms, offset_ms });
                for count in 1..=4 {
                    kinds.push(WindowKind::Hop { size_ms: part_ms * count, slide_ms: part_ms, offset_ms });
                    kinds.push(WindowKind::Cumulate { max_size_ms: part_ms * count, step_ms: part_ms, offset_ms });
                }
            }
        }
        for kind in &kinds {
            let assigner = Assigner::new(kind).unwrap();
            for time in -20..=20 {
                let mut windows = Vec::new();
                assigner.for_each_window(time, |window| windows.push(window));
                windows.sort_unstable();
                assert_eq!(windows, naive(kind, time), "{kind:?} at {time}");
                let slice_end = assigner.slice_end(time);
                assert_eq!(windows.first().map(|window| window.end), Some(slice_end), "{kind:?} at {time}");
                assert_eq!(windows.last().map(|window| window.end), Some(assigner.last_window_end(slice_end)));
            }
        }
    }
}
