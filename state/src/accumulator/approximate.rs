//! `APPROX_COUNT_DISTINCT`: HyperLogLog with 2^14 registers (standard error 0.8 %), which start
//! sparse. The estimate is Otmar Ertl's ("New cardinality estimation algorithms for HyperLogLog
//! sketches", 2017), which needs neither bias tables nor a switch between estimators.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array};
use tidemill_common::hash::hash_columns;

use super::Accumulator;
use crate::rows::Rows;

/// Bits of the hash that choose the register.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// Ranks are 1..=51.
const RANK_MAX: usize = (64 - PRECISION) as usize + 1;
/// Entries of a sparse sketch; more make it dense.
const SPARSE_MAX: usize = 2048;

/// Distinct values of one slot.
#[derive(Debug, Clone)]
enum Sketch {
    /// `register << 6 | rank`; sorted up to `sorted`, unsorted behind.
    Sparse(Vec<u32>, usize),
    Dense(Box<[u8; REGISTERS]>),
}

impl Sketch {
    const EMPTY: Sketch = Sketch::Sparse(Vec::new(), 0);

    fn add_hash(&mut self, hash: u64) {
        let register = (hash >> (64 - PRECISION)) as u32;
        let rank = (hash << PRECISION | 1 << (PRECISION - 1)).leading_zeros() + 1;
        self.add(register, rank as u8);
    }

    fn add(&mut self, register: u32, rank: u8) {
        match self {
            Self::Dense(registers) => {
                let current = &mut registers[register as usize];
                *current = (*current).max(rank);
            }
            Self::Sparse(entries, sorted) => {
                entries.push(register << 6 | u32::from(rank));
                if entries.len() - *sorted > 64 + *sorted / 2 {
                    Self::compact(entries);
                    *sorted = entries.len();
                    if entries.len() > SPARSE_MAX {
                        self.densify();
                    }
                }
            }
        }
    }

    /// Sorts, and keeps the highest rank of each register.
    fn compact(entries: &mut Vec<u32>) {
        entries.sort_unstable_by(|a, b| b.cmp(a));
        entries.dedup_by_key(|entry| *entry >> 6);
        entries.reverse();
    }

    fn densify(&mut self) {
        let mut dense = Self::Dense(Box::new([0; REGISTERS]));
        self.for_each(|register, rank| dense.add(register, rank));
        *self = dense;
    }

    fn for_each(&self, mut f: impl FnMut(u32, u8)) {
        match self {
            Self::Sparse(entries, _) => entries.iter().for_each(|entry| f(entry >> 6, (entry & 63) as u8)),
            Self::Dense(registers) => {
                registers.iter().enumerate().filter(|(_, rank)| **rank > 0).for_each(|(i, rank)| f(i as u32, *rank));
            }
        }
    }

    /// How many registers have each rank.
    fn histogram(&self) -> [u32; RANK_MAX + 1] {
        let mut histogram = [0; RANK_MAX + 1];
        let mut filled = 0;
        let mut count = |rank: u8| {
            histogram[usize::from(rank).min(RANK_MAX)] += 1;
            filled += 1;
        };
        match self {
            Self::Sparse(entries, _) => {
                let mut entries = entries.clone();
                Self::compact(&mut entries);
                entries.iter().for_each(|entry| count((entry & 63) as u8));
            }
            Self::Dense(_) => self.for_each(|_, rank| count(rank)),
        }
        histogram[0] = REGISTERS as u32 - filled;
        histogram
    }

    fn estimate(&self) -> i64 {
        let histogram = self.histogram();
        let m = REGISTERS as f64;
        if histogram[0] as usize == REGISTERS {
            return 0;
        }
        let mut z = m * tau(1.0 - f64::from(histogram[RANK_MAX]) / m);
        for count in histogram[1..RANK_MAX].iter().rev() {
            z = 0.5 * (z + f64::from(*count));
        }
        z += m * sigma(f64::from(histogram[0]) / m);
        (m * m / (2.0 * std::f64::consts::LN_2) / z).round() as i64
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Dense(registers) => bytes.extend_from_slice(&registers[..]),
            Self::Sparse(entries, _) => {
                let mut entries = entries.clone();
                Self::compact(&mut entries);
                entries.iter().for_each(|entry| bytes.extend_from_slice(&entry.to_le_bytes()));
            }
        }
        bytes
    }

    /// Adds what [`Sketch::to_bytes`] wrote. Sparse sketches are shorter than dense ones.
    fn add_bytes(&mut self, bytes: &[u8]) {
        if bytes.len() == REGISTERS {
            self.densify();
            for (register, rank) in bytes.iter().enumerate() {
                self.add(register as u32, *rank);
            }
        } else {
            for entry in bytes.chunks_exact(4) {
                let entry = u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]);
                self.add((entry >> 6) & (REGISTERS as u32 - 1), (entry & 63) as u8);
            }
        }
    }
}

/// x + sum of x^(2^k) * 2^(k-1).
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

/// (1 - x - sum of (1 - x^(2^-k))^2 * 2^-k) / 3.
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x).powi(2) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

pub(super) struct ApproximateCount {
    sketches: Vec<Sketch>,
    hashes: Vec<u64>,
}

impl ApproximateCount {
    pub(super) fn new() -> Self {
        Self { sketches: Vec::new(), hashes: Vec::new() }
    }
}

impl Accumulator for ApproximateCount {
    fn resize(&mut self, slots: usize) {
        self.sketches.resize(slots, Sketch::EMPTY);
    }

    fn update(&mut self, slots: &[u32], args: &[ArrayRef], rows: Rows<'_>) {
        hash_columns(&args[..1], args[0].len(), &mut self.hashes);
        let Self { sketches, hashes } = self;
        rows.for_each_slot(slots, |slot, row| {
            if args[0].is_valid(row) {
                sketches[slot].add_hash(hashes[row]);
            }
        });
    }

    fn merge(&mut self, slots: &[u32], state: &[ArrayRef], rows: Rows<'_>) {
        let column = state[0].as_binary::<i32>();
        rows.for_each_slot(slots, |slot, row| {
            if column.is_valid(row) {
                self.sketches[slot].add_bytes(column.value(row));
            }
        });
    }

    fn state(&self, slots: &[u32]) -> Vec<ArrayRef> {
        let mut builder = BinaryBuilder::new();
        slots.iter().for_each(|slot| builder.append_value(self.sketches[*slot as usize].to_bytes()));
        vec![Arc::new(builder.finish())]
    }

    fn emit(&self, slots: &[u32]) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(slots.iter().map(|slot| self.sketches[*slot as usize].estimate())))
    }

    fn clear_slots(&mut self, slots: &[u32]) {
        slots.iter().for_each(|slot| self.sketches[*slot as usize] = Sketch::EMPTY);
    }

    fn reset(&mut self) {
        self.sketches.clear();
    }

    fn memory_bytes(&self) -> usize {
        let sketch = |sketch: &Sketch| match sketch {
            Sketch::Sparse(entries, _) => 32 + entries.capacity() * 4,
            Sketch::Dense(_) => 32 + REGISTERS,
        };
        self.sketches.iter().map(sketch).sum()
    }
}
