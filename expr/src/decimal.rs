//! DECIMAL arithmetic on unscaled 128-bit integers, as Java's BigDecimal rounds: half up (away from
//! zero). Results that need more than their digits are `None`, which SQL shows as NULL.

use arrow::datatypes::i256;

/// Powers of ten up to 10^38, the largest that fits.
const POWERS: [i128; 39] = {
    let mut powers = [1_i128; 39];
    let mut index = 1;
    while index < 39 {
        powers[index] = powers[index - 1] * 10;
        index += 1;
    }
    powers
};

/// 10^exponent, for exponents up to 38.
pub fn power_of_ten(exponent: u8) -> Option<i128> {
    POWERS.get(usize::from(exponent)).copied()
}

/// The value if it has at most `precision` digits.
pub fn fit(unscaled: i128, precision: u8) -> Option<i128> {
    let limit = power_of_ten(precision)?;
    (unscaled < limit && unscaled > -limit).then_some(unscaled)
}

/// Divides by 10^digits, rounding half up.
fn shorten(unscaled: i128, digits: u8) -> i128 {
    let Some(divisor) = power_of_ten(digits) else { return 0 };
    divide_half_up(unscaled, divisor)
}

fn divide_half_up(dividend: i128, divisor: i128) -> i128 {
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let sign = if (dividend < 0) == (divisor < 0) { 1 } else { -1 };
    if rest.unsigned_abs() >= divisor.unsigned_abs() - rest.unsigned_abs() { quotient + sign } else { quotient }
}

/// The value with another precision and scale, rounded half up.
pub fn rescale(unscaled: i128, from_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    let value = if scale >= from_scale {
        unscaled.checked_mul(power_of_ten(scale - from_scale)?)?
    } else {
        shorten(unscaled, from_scale - scale)
    };
    fit(value, precision)
}

/// The value with fewer fractional digits, cut.
pub fn truncate(unscaled: i128, from_scale: u8, scale: u8) -> i128 {
    match power_of_ten(from_scale.saturating_sub(scale)) {
        Some(divisor) => unscaled / divisor,
        None => 0,
    }
}

fn rescale_wide(value: i256, from_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    let value = if scale >= from_scale {
        value.checked_mul(i256::from_i128(power_of_ten(scale - from_scale)?))?
    } else {
        let digits = from_scale - scale;
        // At most 76 digits are cut, in two steps of which only the last rounds.
        let (first, second) = if digits > 38 { (digits - 38, 38) } else { (0, digits) };
        let value = value.checked_div(i256::from_i128(power_of_ten(first)?))?;
        let divisor = i256::from_i128(power_of_ten(second)?);
        let (quotient, rest) = (value.checked_div(divisor)?, value.checked_rem(divisor)?);
        let magnitude = rest.wrapping_abs();
        if magnitude >= divisor.wrapping_sub(magnitude) {
            let sign = if value < i256::ZERO { i256::MINUS_ONE } else { i256::ONE };
            quotient.wrapping_add(sign)
        } else {
            quotient
        }
    };
    fit(value.to_i128()?, precision)
}

/// `left + right`, both unscaled with their scales, as DECIMAL(precision, scale).
pub fn add(left: i128, left_scale: u8, right: i128, right_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    let common = left_scale.max(right_scale);
    let exact = || {
        let left = left.checked_mul(power_of_ten(common - left_scale)?)?;
        let right = right.checked_mul(power_of_ten(common - right_scale)?)?;
        left.checked_add(right)
    };
    if let Some(sum) = exact() {
        return rescale(sum, common, precision, scale);
    }
    let wide =
        |value: i128, from: u8| i256::from_i128(value).checked_mul(i256::from_i128(power_of_ten(common - from)?));
    let sum = wide(left, left_scale)?.checked_add(wide(right, right_scale)?)?;
    rescale_wide(sum, common, precision, scale)
}

/// `left * right` as DECIMAL(precision, scale).
pub fn multiply(left: i128, left_scale: u8, right: i128, right_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    let exact_scale = left_scale + right_scale;
    if exact_scale <= 38
        && let Some(product) = left.checked_mul(right)
    {
        return rescale(product, exact_scale, precision, scale);
    }
    let product = i256::from_i128(left).checked_mul(i256::from_i128(right))?;
    rescale_wide(product, exact_scale, precision, scale)
}

/// `left / right` as DECIMAL(precision, scale); `right` is not zero.
pub fn divide(left: i128, left_scale: u8, right: i128, right_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    // left / 10^ls / (right / 10^rs) * 10^s = left * 10^(s + rs - ls) / right
    let exponent = i32::from(scale) + i32::from(right_scale) - i32::from(left_scale);
    if exponent < 0 {
        let divisor = i256::from_i128(right).checked_mul(i256::from_i128(power_of_ten((-exponent) as u8)?))?;
        return fit(round_quotient(i256::from_i128(left), divisor)?.to_i128()?, precision);
    }
    if exponent <= 38
        && let Some(numerator) = left.checked_mul(power_of_ten(exponent as u8)?)
    {
        return fit(divide_half_up(numerator, right), precision);
    }
    let mut quotient = i256::from_i128(left / right);
    let mut rest = i256::from_i128(left % right);
    let (ten, divisor) = (i256::from_i128(10), i256::from_i128(right));
    for _ in 0..exponent {
        rest = rest.checked_mul(ten)?;
        quotient = quotient.checked_mul(ten)?.checked_add(rest.checked_div(divisor)?)?;
        rest = rest.checked_rem(divisor)?;
    }
    let (magnitude, whole) = (rest.wrapping_abs(), divisor.wrapping_abs());
    if magnitude >= whole.wrapping_sub(magnitude) {
        let sign = if (left < 0) == (right < 0) { i256::ONE } else { i256::MINUS_ONE };
        quotient = quotient.checked_add(sign)?;
    }
    fit(quotient.to_i128()?, precision)
}

fn round_quotient(dividend: i256, divisor: i256) -> Option<i256> {
    let (quotient, rest) = (dividend.checked_div(divisor)?, dividend.checked_rem(divisor)?.wrapping_abs());
    if rest < divisor.wrapping_abs().wrapping_sub(rest) {
        return Some(quotient);
    }
    let same = (dividend < i256::ZERO) == (divisor < i256::ZERO);
    Some(quotient.wrapping_add(if same { i256::ONE } else { i256::MINUS_ONE }))
}

/// The remainder with the sign of `left`, as DECIMAL(precision, scale); `right` is not zero.
pub fn remainder(left: i128, left_scale: u8, right: i128, right_scale: u8, precision: u8, scale: u8) -> Option<i128> {
    let common = left_scale.max(right_scale);
    let wide =
        |value: i128, from: u8| i256::from_i128(value).checked_mul(i256::from_i128(power_of_ten(common - from)?));
    let rest = wide(left, left_scale)?.checked_rem(wide(right, right_scale)?)?;
    rescale_wide(rest, common, precision, scale)
}

/// Compares two values of different scales.
pub fn compare(left: i128, left_scale: u8, right: i128, right_scale: u8) -> std::cmp::Ordering {
    if left_scale == right_scale {
        return left.cmp(&right);
    }
    let common = left_scale.max(right_scale);
    let wide = |value: i128, from: u8| {
        let power = power_of_ten(common - from).unwrap_or(1);
        i256::from_i128(value).wrapping_mul(i256::from_i128(power))
    };
    wide(left, left_scale).cmp(&wide(right, right_scale))
}

/// Rounds to `digits` fractional digits (negative: tens, hundreds, ...), keeping the scale.
pub fn round(unscaled: i128, scale: u8, digits: i64) -> Option<i128> {
    if digits >= i64::from(scale) {
        return Some(unscaled);
    }
    let cut = i64::from(scale) - digits;
    let Some(power) = u8::try_from(cut).ok().and_then(power_of_ten) else { return Some(0) };
    divide_half_up(unscaled, power).checked_mul(power)
}

/// Cuts after `digits` fractional digits, keeping the scale.
pub fn cut(unscaled: i128, scale: u8, digits: i64) -> i128 {
    if digits >= i64::from(scale) {
        return unscaled;
    }
    match u8::try_from(i64::from(scale) - digits).ok().and_then(power_of_ten) {
        Some(power) => unscaled / power * power,
        None => 0,
    }
}

/// The nearest double.
pub fn to_f64(unscaled: i128, scale: u8) -> f64 {
    // Both exact in a double, so that one division rounds once.
    if unscaled.unsigned_abs() <= 1 << 53
        && scale <= 22
        && let Some(power) = power_of_ten(scale)
    {
        return unscaled as f64 / power as f64;
    }
    let mut text = unscaled.to_string();
    text.push_str("e-");
    text.push_str(&scale.to_string());
    text.parse().unwrap_or(f64::NAN)
}

/// The decimal that the double's shortest text says, rounded half up; `None` if it does not fit.
pub fn from_f64(value: f64, precision: u8, scale: u8) -> Option<i128> {
    if !value.is_finite() {
        return None;
    }
    // Values with few digits take the short way.
    let integral = value as i64;
    if integral as f64 == value && integral.unsigned_abs() < 1 << 53 {
        return rescale(i128::from(integral), 0, precision, scale);
    }
    let mut text = String::with_capacity(24);
    crate::format::format_double(value, &mut text);
    parse(&text)?.fit(precision, scale)
}

/// A decimal number of any scale: `digits * 10^-scale`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed {
    digits: i128,
    /// Digits beyond the 38th were cut; they matter only for values that do not fit or round away.
    scale: i64,
    overflow: bool,
}

impl Parsed {
    /// As DECIMAL(precision, scale), rounded half up; `None` if it does not fit.
    pub fn fit(self, precision: u8, scale: u8) -> Option<i128> {
        if self.overflow {
            return None;
        }
        if self.digits == 0 {
            return Some(0);
        }
        let shift = i64::from(scale) - self.scale;
        let value = if shift >= 0 {
            self.digits.checked_mul(power_of_ten(u8::try_from(shift).ok()?)?)?
        } else {
            match u8::try_from(-shift).ok().and_then(power_of_ten) {
                Some(divisor) => divide_half_up(self.digits, divisor),
                None => 0,
            }
        };
        fit(value, precision)
    }
}

/// Parses a number as Java's BigDecimal does: sign, digits, fraction, exponent.
pub fn parse(text: &str) -> Option<Parsed> {
    let bytes = text.as_bytes();
    let (mantissa, exponent) = match bytes.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => {
            let exponent = text.get(at + 1..)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || digits.len() > 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (&bytes[..at], exponent.parse::<i64>().ok()?)
        }
        None => (bytes, 0),
    };
    let (negative, body) = match mantissa.first() {
        Some(b'-') => (true, &mantissa[1..]),
        Some(b'+') => (false, &mantissa[1..]),
        _ => (false, mantissa),
    };
    let (mut digits, mut scale, mut seen, mut point, mut overflow) = (0_i128, 0_i64, false, false, false);
    for byte in body {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                match digits.checked_mul(10).and_then(|value| value.checked_add(i128::from(byte - b'0'))) {
                    Some(value) => {
                        digits = value;
                        scale += i64::from(point);
                    }
                    // A fraction beyond 38 digits does not change what a DECIMAL can hold.
                    None if point => {}
                    None => overflow = true,
                }
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    if !seen {
        return None;
    }
    Some(Parsed { digits: if negative { -digits } else { digits }, scale: scale - exponent, overflow })
}

/// All digits and no exponent: `0.0000100`.
pub fn format_plain(unscaled: i128, scale: u8, out: &mut String) {
    use std::fmt::Write;
    let scale = usize::from(scale);
    if unscaled < 0 {
        out.push('-');
    }
    let magnitude = unscaled.unsigned_abs();
    if scale == 0 {
        let _ = write!(out, "{magnitude}");
        return;
    }
    let mut buffer = [b'0'; 80];
    let mut at = buffer.len();
    let mut rest = magnitude;
    while rest != 0 {
        // Two steps of 64-bit arithmetic are much cheaper than 128-bit divisions digit by digit.
        let chunk = if rest <= u128::from(u64::MAX) {
            let chunk = rest as u64;
            rest = 0;
            chunk
        } else {
            let chunk = (rest % 10_000_000_000_000_000_000) as u64;
            rest /= 10_000_000_000_000_000_000;
            chunk
        };
        let stop = if rest == 0 { 0 } else { at - 19 };
        let mut chunk = chunk;
        while chunk != 0 {
            at -= 1;
            buffer[at] = b'0' + (chunk % 10) as u8;
            chunk /= 10;
        }
        if rest != 0 {
            at = stop;
        }
    }
    let digits = (buffer.len() - at).max(scale + 1);
    let text = &buffer[buffer.len() - digits..];
    for byte in &text[..digits - scale] {
        out.push(char::from(*byte));
    }
    out.push('.');
    for byte in &text[digits - scale..] {
        out.push(char::from(*byte));
    }
}

/// As Java's `BigDecimal.toString`: plain, or with an exponent for small values.
pub fn format_java(unscaled: i128, scale: u8, out: &mut String) {
    let digits = unscaled.unsigned_abs().to_string();
    let adjusted = digits.len() as i64 - 1 - i64::from(scale);
    if adjusted >= -6 {
        return format_plain(unscaled, scale, out);
    }
    format_scientific(unscaled < 0, &digits, adjusted, out);
}

/// As Java's `BigDecimal.stripTrailingZeros().toString()`, which Flink's JSON writes: `5E+2`, `0.5`.
pub fn format_stripped(unscaled: i128, scale: u8, out: &mut String) {
    if unscaled == 0 {
        out.push('0');
        return;
    }
    let (mut value, mut scale) = (unscaled, i64::from(scale));
    while value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    if (0..=38).contains(&scale) {
        return format_java(value, scale as u8, out);
    }
    let digits = value.unsigned_abs().to_string();
    format_scientific(value < 0, &digits, digits.len() as i64 - 1 - scale, out);
}

fn format_scientific(negative: bool, digits: &str, adjusted: i64, out: &mut String) {
    use std::fmt::Write;
    if negative {
        out.push('-');
    }
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    if adjusted != 0 {
        let _ = write!(out, "E{adjusted:+}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(unscaled: i128, scale: u8) -> String {
        let mut out = String::new();
        format_plain(unscaled, scale, &mut out);
        out
    }

    fn stripped(unscaled: i128, scale: u8) -> String {
        let mut out = String::new();
        format_stripped(unscaled, scale, &mut out);
        out
    }

    #[test]
    fn texts() {
        assert_eq!(plain(100, 7), "0.0000100");
        assert_eq!(plain(-5, 2), "-0.05");
        assert_eq!(plain(0, 2), "0.00");
        assert_eq!(plain(12345678901234567890123456789012345678, 10), "1234567890123456789012345678.9012345678");
        assert_eq!(plain(100_000_000_000_000_000_000_000, 2), "1000000000000000000000.00");
        assert_eq!(stripped(50000, 2), "5E+2");
        assert_eq!(stripped(81, 9), "8.1E-8");
        assert_eq!(stripped(81000518, 11), "0.00081000518");
        assert_eq!(stripped(110000, 2), "1.1E+3");
        assert_eq!(stripped(-100, 2), "-1");
        assert_eq!(stripped(0, 2), "0");
    }

    #[test]
    fn quotients() {
        // 1.00 / 3 as DECIMAL(21, 13), 1 / 99999999.99 as DECIMAL(23, 11)
        assert_eq!(divide(100, 2, 3, 0, 21, 13), Some(3_333_333_333_333));
        assert_eq!(divide(1, 0, 9_999_999_999, 2, 23, 11), Some(1000));
        assert_eq!(divide(10_i128.pow(37), 2, 3, 0, 38, 6), None);
        assert_eq!(divide(-7, 0, 2, 0, 10, 0), Some(-4));
    }

    #[test]
    fn doubles() {
        assert_eq!(from_f64(0.3333333333333333, 38, 18), Some(333_333_333_333_333_300));
        assert_eq!(from_f64(f64::from(123456.79_f32), 10, 4), Some(1_234_567_891));
        assert_eq!(from_f64(1e21, 38, 18), None);
        assert_eq!(from_f64(4.35, 10, 2), Some(435));
        assert_eq!(to_f64(333, 2), 3.33);
    }

    proptest! {
        #[test]
        fn parses_what_it_prints(unscaled in any::<i64>(), scale in 0_u8..20) {
            let text = plain(i128::from(unscaled), scale);
            prop_assert_eq!(parse(&text).and_then(|parsed| parsed.fit(38, scale)), Some(i128::from(unscaled)));
            let text = stripped(i128::from(unscaled), scale);
            prop_assert_eq!(parse(&text).and_then(|parsed| parsed.fit(38, scale)), Some(i128::from(unscaled)));
        }

        #[test]
        fn long_division_agrees_with_short(left in any::<i64>(), right in any::<i32>().prop_filter("zero", |r| *r != 0), scale in 0_u8..10) {
            let (left, right) = (i128::from(left), i128::from(right));
            let expected = divide_half_up(left * 10_i128.pow(u32::from(scale)), right);
            prop_assert_eq!(divide(left, 0, right, 0, 38, scale), Some(expected));
            // 38 more digits above and below force the digit-by-digit way.
            let wide = divide(left * 10_i128.pow(18), 18, right, 0, 38, scale);
            prop_assert_eq!(wide, Some(expected));
        }
    }
}
