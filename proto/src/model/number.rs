//! Numbers of JSON compared as what they are: whole ones exactly, fractions by their shortest decimal form, so that 0.3
//! is a multiple of 0.1.

use serde_json::Number;
use std::cmp::Ordering;
use std::fmt;

/// A number of JSON.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Num {
    /// In the range of `i64` or `u64`.
    Int(i128),
    /// Any other; finite.
    Float(f64),
}

/// A number as digits and a power of ten: `digits * 10^exponent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    digits: u128,
    exponent: i32,
}

impl Num {
    /// The number of a JSON value.
    pub(super) fn of(number: &Number) -> Self {
        match (number.as_i64(), number.as_u64()) {
            (Some(it), _) => Self::Int(it.into()),
            (_, Some(it)) => Self::Int(it.into()),
            // What serde_json reads is finite.
            _ => Self::Float(number.as_f64().unwrap_or_default()),
        }
    }

    /// Whether it has no fraction: 1.0 is a whole number (JSON Schema 2020-12, core 4.2.3).
    pub(super) fn is_whole(self) -> bool {
        match self {
            Self::Int(_) => true,
            Self::Float(it) => it.fract() == 0.0,
        }
    }

    /// Which of two is larger, without rounding either.
    pub(super) fn compare(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(&b),
            (Self::Float(a), Self::Float(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            (Self::Int(a), Self::Float(b)) => compare_mixed(a, b),
            (Self::Float(a), Self::Int(b)) => compare_mixed(b, a).reverse(),
        }
    }

    /// Whether it is so many times `divisor`, which is above zero.
    pub(super) fn is_multiple_of(self, divisor: Self) -> bool {
        if let (Self::Int(a), Self::Int(b)) = (self, divisor) {
            return b != 0 && a % b == 0;
        }
        match (self.decimal(), divisor.decimal()) {
            (Some(a), Some(b)) => a.is_multiple_of(b),
            _ => false,
        }
    }

    /// The shortest digits that read back as this number, without its sign.
    fn decimal(self) -> Option<Decimal> {
        let value = match self {
            Self::Int(it) => return Some(Decimal { digits: it.unsigned_abs(), exponent: 0 }),
            Self::Float(it) => it,
        };
        let text = format!("{:e}", value.abs());
        let (mantissa, exponent) = text.split_once('e')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = [whole, fraction].concat().parse().ok()?;
        let places = i32::try_from(fraction.len()).ok()?;
        Some(Decimal { digits, exponent: exponent.parse::<i32>().ok()? - places })
    }
}

fn compare_mixed(whole: i128, float: f64) -> Ordering {
    let floor = float.floor();
    // Beyond the range of i128 this saturates, which is beyond every number of JSON that is whole.
    match whole.cmp(&(floor as i128)) {
        Ordering::Equal if float > floor => Ordering::Less,
        ordering => ordering,
    }
}

impl Decimal {
    fn is_multiple_of(self, divisor: Self) -> bool {
        if self.digits == 0 || divisor.digits == 0 {
            return divisor.digits != 0;
        }
        let shift = i64::from(self.exponent) - i64::from(divisor.exponent);
        if shift >= 0 {
            // The digits have at most 20 places, so a product of two remainders fits.
            let mut rest = self.digits % divisor.digits;
            for _ in 0..shift {
                rest = rest * 10 % divisor.digits;
                if rest == 0 {
                    return true;
                }
            }
            return rest == 0;
        }
        let scale = u32::try_from(-shift).ok().and_then(|shift| 10_u128.checked_pow(shift));
        match scale.and_then(|scale| divisor.digits.checked_mul(scale)) {
            Some(divisor) => self.digits.is_multiple_of(divisor),
            // Larger than any digits.
            None => false,
        }
    }
}

impl fmt::Display for Num {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(it) => it.fmt(f),
            Self::Float(it) if (1e-6..1e17).contains(&it.abs()) || *it == 0.0 => it.fmt(f),
            Self::Float(it) => write!(f, "{it:e}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn num(text: &str) -> Num {
        Num::of(&serde_json::from_str(text).unwrap())
    }

    #[test]
    fn whole_numbers_and_fractions_are_compared_without_rounding() {
        let cases = [
            ("9007199254740993", "9007199254740992.0", Ordering::Greater),
            ("18446744073709551615", "18446744073709551616.0", Ordering::Less),
            ("1", "1.0", Ordering::Equal),
            ("-1", "-1.5", Ordering::Greater),
            ("-2", "-1.5", Ordering::Less),
            ("5", "1e300", Ordering::Less),
            ("5", "-1e300", Ordering::Greater),
            ("0.5", "0.25", Ordering::Greater),
        ];
        for (a, b, ordering) in cases {
            assert_eq!(num(a).compare(num(b)), ordering, "{a} {b}");
            assert_eq!(num(b).compare(num(a)), ordering.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn multiples_are_those_of_the_decimal_forms() {
        for (a, b) in [("0.3", "0.1"), ("-0.3", "0.1"), ("7", "0.5"), ("1e300", "3e-5"), ("0", "7")]
        {
            let is_multiple = (a, b) != ("1e300", "3e-5");
            assert_eq!(num(a).is_multiple_of(num(b)), is_multiple, "{a} {b}");
        }
        for (a, b) in [("0.35", "0.1"), ("7", "2"), ("1e-300", "1"), ("10", "3.0")] {
            assert!(!num(a).is_multiple_of(num(b)), "{a} {b}");
        }
        assert_eq!(
            (num("1e300").to_string(), num("1.50").to_string()),
            ("1e300".into(), "1.5".into())
        );
        assert!(num("4.0").is_multiple_of(num("2")) && num("1e20").is_multiple_of(num("0.25")));
    }
}
