//! An aggregate function with an accumulator of fixed size.

use serde::{Deserialize, Serialize};
use tidemill::Aggregate;

/// The average of values that count as often as their weights say.
pub struct WeightedAverage;

/// What is kept of a group.
#[derive(Default, Serialize, Deserialize)]
pub struct Sums {
    weighted: i64,
    weights: i64,
}

impl Aggregate for WeightedAverage {
    type Input = (i64, i64);
    type Accumulator = Sums;
    type Output = Option<f64>;

    fn accumulate(&self, sums: &mut Sums, (value, weight): (i64, i64)) {
        sums.weighted += value * weight;
        sums.weights += weight;
    }

    fn merge(&self, sums: &mut Sums, other: &Sums) {
        sums.weighted += other.weighted;
        sums.weights += other.weights;
    }

    fn result(&self, sums: &Sums) -> Option<f64> {
        (sums.weights != 0).then(|| sums.weighted as f64 / sums.weights as f64)
    }
}
