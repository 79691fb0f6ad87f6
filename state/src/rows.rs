//! Which rows of a batch to work on.

/// Rows of a batch: all of them, or a selection in ascending order.
#[derive(Clone, Copy, Debug)]
pub enum Rows<'a> {
    /// The rows `0..n`.
    All(usize),
    /// These rows.
    Selected(&'a [u32]),
}

impl Rows<'_> {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::All(rows) => *rows,
            Self::Selected(rows) => rows.len(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row at this place.
    #[inline(always)]
    pub fn get(&self, at: usize) -> usize {
        match self {
            Self::All(_) => at,
            Self::Selected(rows) => rows[at] as usize,
        }
    }

    /// Calls `f` with each row, in order.
    #[inline(always)]
    pub fn for_each(self, mut f: impl FnMut(usize)) {
        match self {
            Self::All(rows) => (0..rows).for_each(f),
            Self::Selected(rows) => rows.iter().for_each(|row| f(*row as usize)),
        }
    }

    /// Calls `f` with the slot of each row and the row.
    #[inline(always)]
    pub fn for_each_slot(self, slots: &[u32], mut f: impl FnMut(usize, usize)) {
        match self {
            Self::All(rows) => slots[..rows].iter().enumerate().for_each(|(row, slot)| f(*slot as usize, row)),
            Self::Selected(rows) => slots.iter().zip(rows).for_each(|(slot, row)| f(*slot as usize, *row as usize)),
        }
    }
}
