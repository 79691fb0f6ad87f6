//! The rules of aligned and attached windows: which have fired, which still take rows.

use arrow::array::{ArrayRef, BooleanArray};
use tidemill_common::time::TimestampMs;
use tidemill_state::Rows;

use super::assigner::{Assigner, Window};
use super::keyed::Progress;
use super::layout::Prepared;
use super::zone::WindowZone;

/// How rows get their slice.
pub(super) enum Slicing {
    /// By a row-time column.
    RowTime { column: usize, assigner: Assigner },
    /// By the clock.
    ProcessingTime { assigner: Assigner },
    /// By the last column, which a local phase wrote.
    SliceEnd { assigner: Assigner },
    /// By columns that carry the window.
    Attached { start: usize, end: usize },
    /// All rows are in [`WHOLE`].
    Whole,
}

/// The one window of a whole input. It ends before event time does, so that its end can be reckoned with.
pub(super) const WHOLE: Window = Window { end: TimestampMs::MAX / 2, start: TimestampMs::MAX / 2 - 1 };

/// The rules of windows and lateness.
pub(super) struct Windows {
    pub slicing: Slicing,
    pub zone: WindowZone,
    pub lateness: i64,
    /// Of event time, or of the clock.
    pub progress: Progress,
}

impl Windows {
    /// `None` for attached windows and whole inputs, where slice and window are the same.
    pub fn assigner(&self) -> Option<&Assigner> {
        match &self.slicing {
            Slicing::RowTime { assigner, .. }
            | Slicing::ProcessingTime { assigner }
            | Slicing::SliceEnd { assigner } => Some(assigner),
            Slicing::Attached { .. } | Slicing::Whole => None,
        }
    }

    /// Where the window of a slice with this end starts; attached windows, which say so themselves, aside.
    pub fn start_of(&self, slice_end: TimestampMs) -> TimestampMs {
        match &self.slicing {
            Slicing::Whole => WHOLE.start,
            _ => self.assigner().map_or(slice_end, |assigner| assigner.window_start(slice_end)),
        }
    }

    /// Whether a window fires at this watermark.
    pub fn is_fired_at(&self, window_end: TimestampMs, watermark: TimestampMs) -> bool {
        watermark >= self.zone.to_timer(window_end - 1)
    }

    /// Whether it has fired.
    pub fn is_fired(&self, window_end: TimestampMs) -> bool {
        self.is_fired_at(window_end, self.progress.watermark)
    }

    /// Whether a fired window takes no more rows either.
    pub fn is_over_at(&self, window_end: TimestampMs, watermark: TimestampMs) -> bool {
        self.is_fired_at(window_end.saturating_add(self.lateness), watermark)
    }

    /// Whether it takes no more rows now.
    pub fn is_over(&self, window_end: TimestampMs) -> bool {
        self.is_over_at(window_end, self.progress.watermark)
    }

    /// End of the last window that a slice is in.
    pub fn last_window_end(&self, slice_end: TimestampMs) -> TimestampMs {
        self.assigner().map_or(slice_end, |assigner| assigner.last_window_end(slice_end))
    }

    /// The rows of a slice that are not late, if the answer is not the same for all keys.
    pub fn punctual(&self, slice_end: TimestampMs, prepared: &Prepared, rows: Rows<'_>) -> Option<Vec<u32>> {
        let last = self.last_window_end(slice_end);
        if matches!(self.slicing, Slicing::ProcessingTime { .. }) || !self.is_over_at(last, self.progress.furthest()) {
            return None;
        }
        let progress = self.progress.of_keys(&prepared.key_columns, prepared.rows)?;
        let mut selected = Vec::with_capacity(rows.len());
        rows.for_each(|row| {
            if !self.is_over_at(last, progress[row]) {
                selected.push(row as u32);
            }
        });
        Some(selected)
    }

    /// Whether a window took no more rows before, key by key. Slices of it may be gone for those keys.
    pub fn over_before(&self, window: Window, keys: &[ArrayRef], rows: usize) -> BooleanArray {
        let progress = self.progress.of_keys(keys, rows).unwrap_or_else(|| vec![self.progress.watermark; rows]);
        progress.iter().map(|progress| Some(self.is_over_at(window.end, *progress))).collect()
    }

    /// Whether a window has fired already, key by key; `None` if it has for none.
    pub fn fired_before(&self, window: Window, keys: &[ArrayRef], rows: usize) -> Option<BooleanArray> {
        if !self.is_fired_at(window.end, self.progress.furthest()) {
            return None;
        }
        let progress = self.progress.of_keys(keys, rows)?;
        Some(progress.iter().map(|progress| Some(self.is_fired_at(window.end, *progress))).collect())
    }

    /// The first window of a slice that comes after `fired` and has not fired before.
    pub fn next_window(&self, slice: Window, fired: Option<Window>) -> Option<Window> {
        let Some(assigner) = self.assigner() else {
            return (fired.is_none_or(|fired| slice > fired) && !self.is_fired(slice.end)).then_some(slice);
        };
        let (length, last) = (assigner.slice_length(), assigner.last_window_end(slice.end));
        let mut end = slice.end;
        if let Some(fired) = fired
            && end <= fired.end
        {
            end += ((fired.end - end) / length + 1) * length;
        }
        while end <= last && self.is_fired(end) {
            end += length;
        }
        (end <= last).then(|| assigner.window(end))
    }
}
