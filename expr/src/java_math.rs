//! Logarithms as the JVM's intrinsics give them: correctly rounded in every case looked at, where the
//! C library is now and then one unit in the last place beside. Computed in pairs of doubles.

/// An unevaluated sum of two doubles.
#[derive(Clone, Copy)]
struct Pair {
    high: f64,
    low: f64,
}

const LN_2: Pair = Pair { high: std::f64::consts::LN_2, low: 2.319_046_813_846_299_6e-17 };
const LOG10_E: Pair = Pair { high: std::f64::consts::LOG10_E, low: 1.098_319_650_216_765e-17 };

fn quick_sum(high: f64, low: f64) -> Pair {
    let sum = high + low;
    Pair { high: sum, low: low - (sum - high) }
}

fn sum(left: f64, right: f64) -> Pair {
    let total = left + right;
    let shadow = total - left;
    Pair { high: total, low: (left - (total - shadow)) + (right - shadow) }
}

impl Pair {
    fn add(self, other: Pair) -> Pair {
        let total = sum(self.high, other.high);
        quick_sum(total.high, total.low + self.low + other.low)
    }

    fn multiply(self, other: Pair) -> Pair {
        let product = self.high * other.high;
        let error = self.high.mul_add(other.high, -product) + (self.high * other.low + self.low * other.high);
        quick_sum(product, error)
    }

    fn divide(self, divisor: f64) -> Pair {
        let quotient = self.high / divisor;
        let rest = (-quotient).mul_add(divisor, self.high) + self.low;
        quick_sum(quotient, rest / divisor)
    }
}

/// e to the power of `value / 2^0` without its power of two: `(mantissa, exponent)`.
fn exp_pair(value: f64) -> (Pair, i32) {
    let exponent = (value / std::f64::consts::LN_2).round();
    let shift = LN_2.multiply(Pair { high: -exponent, low: 0.0 });
    // Reduced further by 2^6, undone by squaring.
    let reduced = Pair { high: value, low: 0.0 }.add(shift).divide(64.0);
    let (mut term, mut total) = (Pair { high: 1.0, low: 0.0 }, Pair { high: 1.0, low: 0.0 });
    for step in 1..=14 {
        term = term.multiply(reduced).divide(f64::from(step));
        total = total.add(term);
    }
    for _ in 0..6 {
        total = total.multiply(total);
    }
    (total, exponent as i32)
}

/// The natural logarithm as a pair, for positive finite normal values.
fn ln_pair(value: f64) -> Pair {
    let estimate = value.ln();
    let (power, exponent) = exp_pair(estimate);
    // value = e^estimate * (1 + correction); scaled so that nothing over- or underflows.
    let half = exponent / 2;
    let scaled = value * 2.0_f64.powi(-half) * 2.0_f64.powi(half - exponent);
    let correction = ((scaled - power.high) - power.low) / scaled;
    quick_sum(estimate, correction)
}

fn ordinary(value: f64) -> bool {
    value.is_normal() && value > 0.0 && value != 1.0
}

/// `Math.log`.
pub(crate) fn ln(value: f64) -> f64 {
    if ordinary(value) { ln_pair(value).high } else { value.ln() }
}

/// `Math.log10`.
pub(crate) fn log10(value: f64) -> f64 {
    if ordinary(value) { ln_pair(value).multiply(LOG10_E).high } else { value.log10() }
}

/// Hyperbolic sine, as fdlibm (the JVM's StrictMath) puts it together.
pub(crate) fn sinh(x: f64) -> f64 {
    let (half, magnitude) = (0.5_f64.copysign(x), x.abs());
    if magnitude < 22.0 {
        if magnitude < 3.725_290_298_461_914e-9 {
            return x;
        }
        let t = magnitude.exp_m1();
        return if magnitude < 1.0 { half * (2.0 * t - t * t / (t + 1.0)) } else { half * (t + t / (t + 1.0)) };
    }
    if magnitude < 709.782_712_893_384 {
        return half * magnitude.exp();
    }
    let root = (0.5 * magnitude).exp();
    half * root * root
}

/// Hyperbolic cosine, likewise.
pub(crate) fn cosh(x: f64) -> f64 {
    let magnitude = x.abs();
    if magnitude < 0.346_573_590_279_972_64 {
        let t = magnitude.exp_m1();
        let w = 1.0 + t;
        return if magnitude < 2.775_557_561_562_891_4e-17 { w } else { 1.0 + t * t / (w + w) };
    }
    if magnitude < 22.0 {
        let t = magnitude.exp();
        return 0.5 * t + 0.5 / t;
    }
    if magnitude < 709.782_712_893_384 {
        return 0.5 * magnitude.exp();
    }
    let root = (0.5 * magnitude).exp();
    0.5 * root * root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_from_java() {
        assert_eq!(log10(56.09), 1.7488854400095168);
        assert_eq!(log10(489.26), 2.68953971097886);
        for power in -300..=300 {
            let value: f64 = format!("1e{power}").parse().unwrap();
            assert_eq!(log10(value), f64::from(power), "1e{power}");
        }
        assert_eq!(ln(0.0), f64::NEG_INFINITY);
        assert!(ln(-1.0).is_nan() && log10(-1.0).is_nan());
        assert_eq!(ln(f64::MAX), 709.782712893384);
        assert_eq!(ln(f64::MIN_POSITIVE), -708.3964185322641);
        assert_eq!(ln(10.0), std::f64::consts::LN_10);
    }

    proptest::proptest! {
        #[test]
        fn close_to_the_library(bits in proptest::prelude::any::<u64>()) {
            let value = f64::from_bits(bits).abs();
            proptest::prop_assume!(value.is_normal());
            proptest::prop_assert!((ln(value) - value.ln()).abs() <= value.ln().abs() * 3e-16);
            proptest::prop_assert!((log10(value) - value.log10()).abs() <= value.log10().abs() * 5e-16);
        }
    }
}
