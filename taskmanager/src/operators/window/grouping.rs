//! The rows of a batch by slice, as selections.

use tidemill_common::time::TimestampMs;
use tidemill_state::Rows;

use super::assigner::Assigner;

/// Slices up to which rows are counted into place; batches with more are sorted.
const COUNTED_SLICES_MAX: i64 = 4096;
/// Slices up to which comparing with every bound beats a division.
const COMPARED_SLICES_MAX: i64 = 8;

/// The last grouping; reused from batch to batch.
#[derive(Debug, Default)]
pub(crate) struct Grouping {
    rows: usize,
    /// Row numbers, slice by slice, if there are several slices.
    order: Vec<u32>,
    /// Slice ends, ascending, and where their rows end in `order`.
    slices: Vec<(TimestampMs, usize)>,
    places: Vec<u32>,
    sorted: Vec<(TimestampMs, u32)>,
}

impl Grouping {
    /// Groups rows with these (local) times.
    pub fn assign(&mut self, assigner: &Assigner, times: &[TimestampMs]) {
        self.rows = times.len();
        self.order.clear();
        self.slices.clear();
        let Some(&first) = times.first() else { return };
        let (least, greatest) =
            times.iter().fold((first, first), |(least, greatest), time| (least.min(*time), greatest.max(*time)));
        let (least, greatest) = (assigner.slice_end(least), assigner.slice_end(greatest));
        let length = assigner.slice_length();
        if least == greatest {
            self.slices.push((least, times.len()));
            return;
        }
        let slices = (greatest.saturating_sub(least) / length).saturating_add(1);
        if slices > COUNTED_SLICES_MAX.min(4 * times.len() as i64) {
            self.sort(assigner, times);
        } else if slices <= COMPARED_SLICES_MAX {
            // A slice ends where the next one begins.
            let bounds: Vec<i64> = (0..slices - 1).map(|slice| least + slice * length).collect();
            self.places.clear();
            self.places
                .extend(times.iter().map(|time| bounds.iter().map(|bound| u32::from(time >= bound)).sum::<u32>()));
            self.count(least, length, slices as usize);
        } else {
            let base = least - length;
            self.places.clear();
            self.places.extend(times.iter().map(|time| ((time - base) as u64 / length as u64) as u32));
            self.count(least, length, slices as usize);
        }
    }

    /// Puts all rows into one slice.
    pub fn assign_all(&mut self, slice_end: TimestampMs, rows: usize) {
        self.rows = rows;
        self.order.clear();
        self.slices.clear();
        if rows > 0 {
            self.slices.push((slice_end, rows));
        }
    }

    /// Counting sort of the rows by `places`, the number of the slice of each.
    fn count(&mut self, first_end: TimestampMs, length: i64, slices: usize) {
        let mut starts = vec![0usize; slices + 1];
        self.places.iter().for_each(|place| starts[*place as usize + 1] += 1);
        for slice in 0..slices {
            starts[slice + 1] += starts[slice];
            if starts[slice + 1] > starts[slice] {
                self.slices.push((first_end + slice as i64 * length, starts[slice + 1]));
            }
        }
        self.order.resize(self.places.len(), 0);
        for (row, place) in self.places.iter().enumerate() {
            let at = &mut starts[*place as usize];
            self.order[*at] = row as u32;
            *at += 1;
        }
    }

    fn sort(&mut self, assigner: &Assigner, times: &[TimestampMs]) {
        self.sorted.clear();
        self.sorted.extend(times.iter().enumerate().map(|(row, time)| (assigner.slice_end(*time), row as u32)));
        self.sorted.sort_unstable();
        for (end, row) in &self.sorted {
            match self.slices.last_mut() {
                Some((last, rows)) if last == end => *rows += 1,
                _ => self.slices.push((*end, self.order.len() + 1)),
            }
            self.order.push(*row);
        }
    }

    /// Number of slices that have rows.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// End and rows of one of them, in ascending order of ends.
    pub fn slice(&self, index: usize) -> (TimestampMs, Rows<'_>) {
        let (end, to) = self.slices[index];
        if self.order.is_empty() {
            return (end, Rows::All(self.rows));
        }
        let from = if index == 0 { 0 } else { self.slices[index - 1].1 };
        (end, Rows::Selected(&self.order[from..to]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_its_slice_in_order() {
        let assigner = Assigner::Tumble { size: 10, offset: 3 };
        for spread in [5, 15, 60, 500, 100_000, 1_000_000_000] {
            let times: Vec<i64> =
                (0..1000i64).map(|row| (row * 7919 + row * row * 31).rem_euclid(spread) - spread / 2).collect();
            let mut grouping = Grouping::default();
            grouping.assign(&assigner, &times);
            let (mut seen, mut last_end) = (0, i64::MIN);
            for index in 0..grouping.len() {
                let (end, rows) = grouping.slice(index);
                assert!(end > last_end);
                last_end = end;
                let mut last_row = None;
                rows.for_each(|row| {
                    assert_eq!(assigner.slice_end(times[row]), end, "spread {spread} row {row}");
                    assert!(last_row < Some(row));
                    last_row = Some(row);
                    seen += 1;
                });
            }
            assert_eq!(seen, times.len());
        }
    }
}
