//! `Double.toString` and `Float.toString` of the Java versions Flink runs on (11 and 17). They do not
//! always give the shortest text that reads back (that came with Java 19): 2^-44 is
//! `5.684341886080802E-14` there and here. The algorithm is Steele and White's with the JDK's estimates
//! and stopping rules (`jdk.internal.math.FloatingDecimal`), on integers of 128 bits where they suffice.

use std::cmp::Ordering;

/// The digits of a positive number: `0.d1d2d3... * 10^exponent`.
struct Digits {
    digits: [u8; 32],
    count: usize,
    exponent: i32,
}

const EXPONENT_SHIFT: i32 = 52;
const HIDDEN_BIT: u64 = 1 << 52;

/// Bits of 5^n.
const BITS_OF_5: [i32; 27] =
    [0, 3, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28, 31, 33, 35, 38, 40, 42, 45, 47, 49, 52, 54, 56, 59, 61];

/// As Java's `Double.toString`, of a finite positive number.
pub(crate) fn push_double(value: f64, out: &mut String) {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 52) & 0x7FF) as i32;
    let mut fraction = bits & (HIDDEN_BIT - 1);
    let significant;
    if exponent == 0 {
        let shift = fraction.leading_zeros() as i32 - (63 - EXPONENT_SHIFT);
        fraction <<= shift;
        exponent = 1 - shift;
        significant = 64 - (fraction.leading_zeros() as i32) - shift;
    } else {
        fraction |= HIDDEN_BIT;
        significant = EXPONENT_SHIFT + 1;
    }
    develop(exponent - 1023, fraction, significant).push(out);
}

/// As Java's `Float.toString`, of a finite positive number.
pub(crate) fn push_float(value: f32, out: &mut String) {
    let bits = value.to_bits();
    let mut exponent = ((bits >> 23) & 0xFF) as i32;
    let mut fraction = bits & 0x7F_FFFF;
    let significant;
    if exponent == 0 {
        let zeros = fraction.leading_zeros() as i32;
        let shift = zeros - 8;
        fraction <<= shift;
        exponent = 1 - shift;
        significant = 32 - zeros;
    } else {
        fraction |= 1 << 23;
        significant = 24;
    }
    develop(exponent - 127, u64::from(fraction) << 29, significant).push(out);
}

/// Digits that an integer of so many bits beyond its significant ones does not have.
fn insignificant_digits(bits: i32) -> u32 {
    // floor(bits * log10(2)) within the table of the JDK.
    if bits > 1 && bits < 64 { (bits as f64 * std::f64::consts::LOG10_2) as u32 } else { 0 }
}

fn develop(exponent: i32, fraction: u64, significant: i32) -> Digits {
    let tail_zeros = fraction.trailing_zeros() as i32;
    let fraction_bits = EXPONENT_SHIFT + 1 - tail_zeros;
    let tiny_bits = (fraction_bits - exponent - 1).max(0);
    // A whole number that fits in 64 bits.
    if (-21..=62).contains(&exponent) && tiny_bits == 0 && fraction_bits < 64 {
        let insignificant = if exponent > significant { insignificant_digits(exponent - significant - 1) } else { 0 };
        let whole = if exponent >= EXPONENT_SHIFT {
            fraction << (exponent - EXPONENT_SHIFT)
        } else {
            fraction >> (EXPONENT_SHIFT - exponent)
        };
        return Digits::of_integer(whole, insignificant);
    }
    let decimal = estimate_exponent(fraction, exponent);
    // d = B / S * 10^decimal, M is half the distance to the next number; all as 2^x * 5^y * n.
    let b5 = (-decimal).max(0);
    let mut b2 = b5 + tiny_bits + exponent;
    let s5 = decimal.max(0);
    let mut s2 = s5 + tiny_bits;
    let m5 = b5;
    let mut m2 = b2 - significant;
    let fraction = fraction >> tail_zeros;
    b2 -= fraction_bits - 1;
    let common = b2.min(s2);
    b2 -= common;
    s2 -= common;
    m2 -= common;
    // Below a power of two numbers lie twice as close.
    if fraction_bits == 1 {
        m2 -= 1;
    }
    if m2 < 0 {
        b2 -= m2;
        s2 -= m2;
        m2 = 0;
    }
    let bits_of_5 = |n: i32| BITS_OF_5.get(n as usize).copied().unwrap_or(n * 3);
    let b_bits = fraction_bits + b2 + bits_of_5(b5);
    let s_bits = s2 + 1 + bits_of_5(s5 + 1);
    let small = b_bits < 64 && s_bits < 64;
    let narrow = b_bits < 32 && s_bits < 32;
    let shape = Shape { fraction, b2, b5, s2, s5, m2, m5, decimal };
    if small {
        return generate_small(&shape, narrow);
    }
    // Room for B * 10 and 10 * S + M on top of the estimates.
    if b_bits.max(s_bits) < 118 { generate::<u128>(&shape) } else { generate::<Big>(&shape) }
}

/// The JDK's estimate of the decimal exponent, with its own digits of log10(2).
#[allow(clippy::approx_constant)]
fn estimate_exponent(fraction: u64, exponent: i32) -> i32 {
    let mantissa = f64::from_bits(0x3FF0_0000_0000_0000 | (fraction & (HIDDEN_BIT - 1)));
    let estimate = (mantissa - 1.5) * 0.289529654 + 0.176091259 + f64::from(exponent) * 0.301029995663981;
    estimate.floor() as i32
}

struct Shape {
    fraction: u64,
    b2: i32,
    b5: i32,
    s2: i32,
    s5: i32,
    m2: i32,
    m5: i32,
    decimal: i32,
}

trait Number: Clone {
    fn scaled(value: u64, power_of_2: i32, power_of_5: i32) -> Self;
    /// Divides by `divisor`, keeps ten times the rest and gives the quotient, below 10.
    fn next_digit(&mut self, divisor: &Self) -> u8;
    fn times_ten(&mut self);
    fn compare(&self, other: &Self) -> Ordering;
    fn plus(&self, other: &Self) -> Self;
}

impl Number for u128 {
    fn scaled(value: u64, power_of_2: i32, power_of_5: i32) -> Self {
        (u128::from(value) * 5_u128.pow(power_of_5 as u32)) << power_of_2
    }

    fn next_digit(&mut self, divisor: &Self) -> u8 {
        let digit = *self / divisor;
        *self = (*self % divisor) * 10;
        digit as u8
    }

    fn times_ten(&mut self) {
        *self *= 10;
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.cmp(other)
    }

    fn plus(&self, other: &Self) -> Self {
        self + other
    }
}

/// A large positive integer, least significant word first, without leading zero words.
#[derive(Clone)]
struct Big(Vec<u32>);

impl Big {
    fn multiply(&mut self, factor: u32) {
        let mut carry = 0_u64;
        for word in &mut self.0 {
            let product = u64::from(*word) * u64::from(factor) + carry;
            *word = product as u32;
            carry = product >> 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Subtracts something not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = 0_i64;
        for (index, word) in self.0.iter_mut().enumerate() {
            let difference = i64::from(*word) - i64::from(other.0.get(index).copied().unwrap_or(0)) + borrow;
            *word = difference as u32;
            borrow = difference >> 32;
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

impl Number for Big {
    fn scaled(value: u64, power_of_2: i32, power_of_5: i32) -> Self {
        let mut big = Self(vec![value as u32, (value >> 32) as u32]);
        let mut rest = power_of_5;
        while rest > 0 {
            let step = rest.min(13);
            big.multiply(5_u32.pow(step as u32));
            rest -= step;
        }
        big.multiply(1 << (power_of_2 % 32));
        let mut words = vec![0; power_of_2 as usize / 32];
        words.append(&mut big.0);
        while words.last() == Some(&0) {
            words.pop();
        }
        Self(words)
    }

    fn next_digit(&mut self, divisor: &Self) -> u8 {
        let mut digit = 0;
        while self.compare(divisor) != Ordering::Less {
            self.subtract(divisor);
            digit += 1;
        }
        self.multiply(10);
        digit
    }

    fn times_ten(&mut self) {
        self.multiply(10);
    }

    fn compare(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    fn plus(&self, other: &Self) -> Self {
        let mut words = Vec::with_capacity(self.0.len().max(other.0.len()) + 1);
        let mut carry = 0_u64;
        for index in 0..self.0.len().max(other.0.len()) {
            let word = |number: &Big| u64::from(number.0.get(index).copied().unwrap_or(0));
            let total = word(self) + word(other) + carry;
            words.push(total as u32);
            carry = total >> 32;
        }
        if carry > 0 {
            words.push(carry as u32);
        }
        Self(words)
    }
}

/// What the JDK computes in 64 bits, or 32 if `narrow`: its test for the upper bound is stricter here,
/// and when M overflows it stops, which is why some large FLOATs show an inexact last digit.
fn generate_small(shape: &Shape, narrow: bool) -> Digits {
    let wrap = |value: i64| if narrow { i64::from(value as i32) } else { value };
    let scaled = |value: i64, power_of_2: i32, power_of_5: i32| {
        wrap(value.wrapping_mul(5_i64.wrapping_pow(power_of_5 as u32)).wrapping_shl(power_of_2 as u32))
    };
    let mut b = scaled(shape.fraction as i64, shape.b2, shape.b5);
    let s = scaled(1, shape.s2, shape.s5);
    let mut m = scaled(1, shape.m2, shape.m5);
    let ten_s = wrap(s.wrapping_mul(10));
    if s <= 0 || b < 0 {
        // The bounds above make both positive; the exact way answers in any case.
        return generate::<Big>(shape);
    }
    let mut digits = Digits { digits: [0; 32], count: 0, exponent: shape.decimal };
    let first = (b / s) as u8;
    b = wrap(10 * (b % s));
    m = wrap(m.wrapping_mul(10));
    let mut low = b < m;
    let mut high = wrap(b.wrapping_add(m)) > ten_s;
    if first == 0 && !high {
        digits.exponent -= 1;
    } else {
        digits.add(first);
    }
    if digits.exponent < -3 || digits.exponent >= 8 {
        low = false;
        high = false;
    }
    while !low && !high && digits.count < 30 {
        let digit = (b / s) as u8;
        b = wrap(10 * (b % s));
        m = wrap(m.wrapping_mul(10));
        if m > 0 {
            low = b < m;
            high = wrap(b.wrapping_add(m)) > ten_s;
        } else {
            low = true;
            high = true;
        }
        digits.add(digit);
    }
    digits.exponent += 1;
    // The difference fits although 2 * B may not.
    let doubled = wrap(b.wrapping_mul(2).wrapping_sub(ten_s)).cmp(&0);
    digits.finish(low, high, doubled);
    digits
}

fn generate<N: Number>(shape: &Shape) -> Digits {
    let mut b = N::scaled(shape.fraction, shape.b2, shape.b5);
    let s = N::scaled(1, shape.s2, shape.s5);
    let mut m = N::scaled(1, shape.m2, shape.m5);
    let mut ten_s = s.clone();
    ten_s.times_ten();
    let reaches = |b: &N, m: &N| match b.plus(m).compare(&ten_s) {
        Ordering::Greater => true,
        Ordering::Equal => true,
        Ordering::Less => false,
    };
    let mut digits = Digits { digits: [0; 32], count: 0, exponent: shape.decimal };
    let first = b.next_digit(&s);
    m.times_ten();
    let mut low = b.compare(&m) == Ordering::Less;
    let mut high = reaches(&b, &m);
    if first == 0 && !high {
        digits.exponent -= 1;
    } else {
        digits.add(first);
    }
    // With an exponent there is always a digit behind the point.
    if digits.exponent < -3 || digits.exponent >= 8 {
        low = false;
        high = false;
    }
    while !low && !high && digits.count < 30 {
        digits.add(b.next_digit(&s));
        m.times_ten();
        low = b.compare(&m) == Ordering::Less;
        high = reaches(&b, &m);
    }
    digits.exponent += 1;
    let doubled = if high && low { b.plus(&b).compare(&ten_s) } else { Ordering::Equal };
    digits.finish(low, high, doubled);
    digits
}

impl Digits {
    fn add(&mut self, digit: u8) {
        self.digits[self.count] = digit;
        self.count += 1;
    }

    /// Rounds the last digit by how the generation stopped; `doubled` is 2 * B against 10 * S.
    fn finish(&mut self, low: bool, high: bool, doubled: Ordering) {
        let odd = self.digits[self.count.saturating_sub(1)] % 2 == 1;
        let up = high && (!low || doubled == Ordering::Greater || (doubled == Ordering::Equal && odd));
        if up {
            self.round_up();
        }
    }

    fn round_up(&mut self) {
        for digit in self.digits[..self.count].iter_mut().rev() {
            if *digit < 9 {
                *digit += 1;
                return;
            }
            *digit = 0;
        }
        self.digits[0] = 1;
        self.exponent += 1;
    }

    fn of_integer(mut value: u64, insignificant: u32) -> Self {
        let mut exponent = 0;
        if insignificant > 0 {
            let power = 10_u64.pow(insignificant);
            let rest = value % power;
            value /= power;
            exponent += insignificant as i32;
            if rest >= power / 2 {
                value += 1;
            }
        }
        while value != 0 && value.is_multiple_of(10) {
            value /= 10;
            exponent += 1;
        }
        let mut digits = Self { digits: [0; 32], count: 0, exponent: 0 };
        let mut text = [0; 20];
        let mut count = 0;
        while value != 0 {
            text[count] = (value % 10) as u8;
            value /= 10;
            count += 1;
        }
        for digit in text[..count].iter().rev() {
            digits.add(*digit);
        }
        digits.exponent = exponent + count as i32;
        digits
    }

    fn push(&self, out: &mut String) {
        let digit = |index: usize| char::from(b'0' + self.digits[index]);
        let exponent = self.exponent;
        if exponent > 0 && exponent < 8 {
            let whole = exponent as usize;
            for index in 0..whole {
                out.push(if index < self.count { digit(index) } else { '0' });
            }
            out.push('.');
            if whole < self.count {
                (whole..self.count).for_each(|index| out.push(digit(index)));
            } else {
                out.push('0');
            }
        } else if exponent <= 0 && exponent > -3 {
            out.push_str("0.");
            (0..-exponent).for_each(|_| out.push('0'));
            (0..self.count).for_each(|index| out.push(digit(index)));
        } else {
            use std::fmt::Write;
            out.push(digit(0));
            out.push('.');
            if self.count > 1 {
                (1..self.count).for_each(|index| out.push(digit(index)));
            } else {
                out.push('0');
            }
            let _ = write!(out, "E{}", exponent - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = String::new();
        push_double(value, &mut out);
        out
    }

    fn float(value: f32) -> String {
        let mut out = String::new();
        push_float(value, &mut out);
        out
    }

    #[test]
    fn recorded_from_java_17() {
        for (value, text) in include!("java_double_samples.in") {
            assert_eq!(double(f64::from_bits(value)), text);
        }
        for (value, text) in include!("java_float_samples.in") {
            assert_eq!(float(f32::from_bits(value)), text);
        }
    }

    proptest! {
        #[test]
        fn doubles_read_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits).abs();
            prop_assume!(value.is_finite() && value > 0.0);
            prop_assert_eq!(double(value).parse::<f64>().unwrap(), value);
        }

        #[test]
        fn floats_read_back(bits in any::<u32>()) {
            let value = f32::from_bits(bits).abs();
            prop_assume!(value.is_finite() && value > 0.0);
            prop_assert_eq!(float(value).parse::<f32>().unwrap(), value);
        }

        #[test]
        fn both_widths_agree(mantissa in 1_u64..1 << 53, exponent in -20_i32..20) {
            let value = mantissa as f64 * 2_f64.powi(exponent - 40);
            let bits = value.to_bits();
            let fraction = bits & (HIDDEN_BIT - 1) | HIDDEN_BIT;
            prop_assume!(fraction.trailing_zeros() < 20);
            let text = double(value);
            prop_assert_eq!(text.parse::<f64>().unwrap(), value);
        }
    }
}
