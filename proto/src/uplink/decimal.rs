//! Decimal numbers as they are written, without rounding: `21.50` is 2150 at two places.

use std::io::Write;

/// The most digits: any number of them fits an `i64`.
const DIGITS_MAX: usize = 18;

/// A number as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) mantissa: i64,
    /// Digits after the point.
    pub(super) places: u8,
}

impl Decimal {
    /// The number in a text, if writing it gives that text again.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, digits) = match text.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let point = digits.iter().position(|byte| *byte == b'.');
        let (whole, fraction) = match point {
            Some(at) => (&digits[..at], &digits[at + 1..]),
            None => (digits, &digits[..0]),
        };
        let is_odd = whole.is_empty()
            || (whole.len() > 1 && whole[0] == b'0')
            || (point.is_some() && fraction.is_empty())
            || whole.len() + fraction.len() > DIGITS_MAX;
        if is_odd {
            return None;
        }
        let mut mantissa = 0_i64;
        for digit in whole.iter().chain(fraction) {
            let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
            mantissa = mantissa * 10 + i64::from(digit);
        }
        // There is no negative nought among the whole numbers.
        if is_negative && mantissa == 0 {
            return None;
        }
        let places = u8::try_from(fraction.len()).ok()?;
        Some(Self { mantissa: if is_negative { -mantissa } else { mantissa }, places })
    }

    /// Writes the number; of one that no text gave it may be another text.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        // A vector takes all of it.
        let mut digits = [0_u8; 40];
        let mut rest = &mut digits[..];
        let width = usize::from(self.places).min(DIGITS_MAX) + 1;
        let _ = write!(rest, "{:0width$}", self.mantissa.unsigned_abs());
        let left = rest.len();
        let digits = &digits[..40 - left];
        if self.mantissa < 0 {
            out.push(b'-');
        }
        let (whole, fraction) = digits.split_at(digits.len() + 1 - width);
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(decimal: Decimal) -> String {
        let mut out = Vec::new();
        decimal.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_not_written_the_same_again_is_no_decimal() {
        let bad =
            ["", "-", "-0", "-0.0", "01", "1.", ".5", "1e3", "+1", "1234567890123456789", "NaN"];
        for text in bad {
            assert_eq!(Decimal::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Decimal::parse(b"21.50"), Some(Decimal { mantissa: 2150, places: 2 }));
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(text in "-?[0-9]{1,12}(\\.[0-9]{1,8})?") {
            if let Some(decimal) = Decimal::parse(text.as_bytes()) {
                prop_assert_eq!(written(decimal), text);
            }
        }

        #[test]
        fn no_decimal_cannot_be_written(mantissa: i64, places: u8) {
            let text = written(Decimal { mantissa, places });
            prop_assert!(!text.is_empty());
        }
    }
}
