//! Random numbers; with a seed those of Java's `Random`.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::Float64Array;
use arrow::datatypes::Int32Type;
use rand::Rng;

use crate::eval::value::{Primitives, try_primitives_by_row};
use crate::eval::{CompileError, EvalError};
use crate::registry::{CallSite, Category, Function, Kernel, Param, Volatility, returns};

pub(super) const FUNCTIONS: &[Function] = &[
    Function::new("RAND", Category::Arithmetic, &[Param::Int], returns::double, random)
        .optional_after(0)
        .never_null()
        .volatile(Volatility::Row)
        .doc("RAND()\nRAND(seed)", "A random number from 0 to below 1; equal seeds give equal sequences."),
    Function::new("RAND_INTEGER", Category::Arithmetic, &[Param::Int, Param::Int], returns::int, random_integer)
        .optional_after(1)
        .volatile(Volatility::Row)
        .can_fail()
        .doc(
            "RAND_INTEGER(n)\nRAND_INTEGER(seed, n)",
            "A random integer from 0 to below n; equal seeds give equal sequences.",
        ),
];

/// `java.util.Random`.
#[derive(Clone, Copy)]
struct JavaRandom(u64);

impl JavaRandom {
    const MASK: u64 = (1 << 48) - 1;

    fn new(seed: i64) -> Self {
        Self((seed as u64 ^ 0x5_DEEC_E66D) & Self::MASK)
    }

    fn bits(&mut self, bits: u32) -> i32 {
        self.0 = self.0.wrapping_mul(0x5_DEEC_E66D).wrapping_add(0xB) & Self::MASK;
        (self.0 >> (48 - bits)) as i32
    }

    fn double(&mut self) -> f64 {
        let high = i64::from(self.bits(26)) << 27;
        (high + i64::from(self.bits(27))) as f64 / (1_i64 << 53) as f64
    }

    /// `bound` is positive.
    fn below(&mut self, bound: i32) -> i32 {
        if bound & (bound - 1) == 0 {
            return ((i64::from(bound) * i64::from(self.bits(31))) >> 31) as i32;
        }
        loop {
            let bits = self.bits(31);
            let value = bits % bound;
            if bits.wrapping_sub(value).wrapping_add(bound - 1) >= 0 {
                return value;
            }
        }
    }
}

/// A generator that goes on from batch to batch where the seed is a constant, and begins anew for every row
/// where it is not, as in Flink.
struct Seeded {
    constant: Option<Mutex<JavaRandom>>,
}

impl Seeded {
    fn new(site: &CallSite<'_>) -> Self {
        let seed = crate::bind::literal_integer(&site.args[0]);
        Self { constant: seed.map(|seed| Mutex::new(JavaRandom::new(seed))) }
    }

    /// Calls `f` with the generator of a row; `None` where the seed is NULL.
    fn with<R>(
        &self,
        seeds: &Primitives<'_, Int32Type>,
        row: usize,
        f: impl FnOnce(&mut JavaRandom) -> R,
    ) -> Option<R> {
        match &self.constant {
            Some(random) => Some(f(&mut random.lock().unwrap_or_else(PoisonError::into_inner))),
            None => Some(f(&mut JavaRandom::new(i64::from(seeds.get(row)?)))),
        }
    }
}

fn random(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    if site.args.is_empty() {
        return Ok(Box::new(|_, frame| {
            let mut rng = rand::rng();
            Ok(Arc::new((0..frame.rows).map(|_| rng.random::<f64>()).collect::<Float64Array>()))
        }));
    }
    let seeded = Seeded::new(site);
    Ok(Box::new(move |args, frame| {
        let seeds = args[0].primitives::<Int32Type>()?;
        let values = (0..frame.rows).map(|row| seeded.with(&seeds, row, JavaRandom::double));
        Ok(Arc::new(values.collect::<Float64Array>()))
    }))
}

fn checked(bound: i32) -> Result<i32, EvalError> {
    if bound > 0 {
        return Ok(bound);
    }
    Err(EvalError::new(format!("the bound of RAND_INTEGER must be positive, not {bound}")))
}

fn random_integer(site: &CallSite<'_>) -> Result<Kernel, CompileError> {
    if site.args.len() == 1 {
        return Ok(Box::new(|args, frame| {
            let bounds = args[0].primitives::<Int32Type>()?;
            let mut rng = rand::rng();
            try_primitives_by_row::<Int32Type>(frame.rows, |row| {
                bounds.get(row).map(|bound| Ok(rng.random_range(0..checked(bound)?))).transpose()
            })
        }));
    }
    let seeded = Seeded::new(site);
    Ok(Box::new(move |args, frame| {
        let (seeds, bounds) = (args[0].primitives::<Int32Type>()?, args[1].primitives::<Int32Type>()?);
        try_primitives_by_row::<Int32Type>(frame.rows, |row| {
            let Some(bound) = bounds.get(row) else { return Ok(None) };
            let bound = checked(bound)?;
            Ok(seeded.with(&seeds, row, |random| random.below(bound)))
        })
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_numbers_are_those_of_java() {
        let mut random = JavaRandom::new(42);
        assert_eq!(random.double(), 0.727_563_680_032_868_1);
        let mut random = JavaRandom::new(42);
        assert_eq!([random.below(10), random.below(10)], [0, 3]);
    }
}
