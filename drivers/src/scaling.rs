//! From what a machine stores to what a tag shows, and back: scale, offset, precision, labels. The same for every
//! protocol.
//!
//! Whole numbers without a scale stay whole and exact over all 64 bits. Scaled numbers are floats of 15 significant
//! digits, so that a raw 3 at scale 0.1 shows 0.3 and not 0.30000000000000004. Whatever does not fit is an error;
//! nothing wraps or saturates.

use crate::config::TagConfig;
use proto::Datum;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Why a value has no form in the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// A text for a number, a fraction for a whole number, and the like.
    WrongType,
    /// The right kind, but it does not fit.
    OutOfRange,
}

/// What an operator said about the meaning of a raw value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scaling {
    /// What one raw unit is worth; finite and not 0.
    pub(crate) scale: f64,
    /// What a raw 0 is worth; finite.
    pub(crate) offset: f64,
    /// How many decimal places are shown.
    pub(crate) precision: Option<u8>,
    /// What whole numbers are called.
    pub(crate) labels: BTreeMap<i64, String>,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { scale: 1.0, offset: 0.0, precision: None, labels: BTreeMap::new() }
    }
}

impl Scaling {
    /// That of a tag.
    pub(crate) fn of(tag: &TagConfig) -> Self {
        let TagConfig { scale, offset, precision, ref labels, .. } = *tag;
        Self { scale, offset, precision, labels: labels.clone() }
    }

    fn is_scaled(&self) -> bool {
        self.scale != 1.0 || self.offset != 0.0
    }

    /// A raw whole number as the tag shows it.
    pub(crate) fn show_whole(&self, raw: i128) -> Result<Datum, &'static str> {
        if !self.labels.is_empty() {
            let label = i64::try_from(raw).ok().and_then(|raw| self.labels.get(&raw));
            return label.cloned().map(Datum::Text).ok_or("the number has no label");
        }
        if self.is_scaled() {
            return self.show_float(raw as f64);
        }
        match (i64::try_from(raw), u64::try_from(raw)) {
            (Ok(signed), _) => Ok(Datum::Int(signed)),
            (_, Ok(unsigned)) => Ok(Datum::unsigned(unsigned)),
            _ => Err("not a number of 64 bits"),
        }
    }

    /// A raw float as the tag shows it.
    pub(crate) fn show_float(&self, raw: f64) -> Result<Datum, &'static str> {
        if raw.is_nan() {
            return Err("the machine says NaN");
        }
        if raw.is_infinite() {
            return Err("the machine says infinity");
        }
        let value =
            if self.is_scaled() { round_to_15_digits(raw * self.scale + self.offset) } else { raw };
        let value = match self.precision {
            Some(places) => round_to_places(value, places),
            None => value,
        };
        Datum::float(value).ok_or("the scaled number is too large")
    }

    /// The raw float of a shown value, before rounding.
    pub(crate) fn raw_float(&self, value: &Datum) -> Result<f64, Unfit> {
        let value = value.as_f64().ok_or(Unfit::WrongType)?;
        let raw = if self.is_scaled() { (value - self.offset) / self.scale } else { value };
        if raw.is_finite() { Ok(raw) } else { Err(Unfit::OutOfRange) }
    }

    /// The raw whole number of a shown value: the nearest one if it is scaled.
    pub(crate) fn raw_whole(
        &self,
        value: &Datum,
        range: &RangeInclusive<i128>,
    ) -> Result<i128, Unfit> {
        let raw = match value {
            Datum::Text(label) if !self.labels.is_empty() => {
                let known = self.labels.iter().find(|(_, it)| *it == label);
                known.map(|(raw, _)| i128::from(*raw)).ok_or(Unfit::OutOfRange)?
            }
            Datum::Int(it) if !self.is_scaled() => i128::from(*it),
            Datum::UInt(it) if !self.is_scaled() => i128::from(*it),
            _ => self.nearest(value)?,
        };
        if range.contains(&raw) { Ok(raw) } else { Err(Unfit::OutOfRange) }
    }

    /// The nearest raw number of a scaled value; without a scale only a float that is whole.
    fn nearest(&self, value: &Datum) -> Result<i128, Unfit> {
        let raw = self.raw_float(value)?;
        if !self.is_scaled() && raw.fract() != 0.0 {
            return Err(Unfit::WrongType);
        }
        // A float beyond 128 bits becomes the nearest number of 128 bits, which is out of any range.
        Ok(raw.round() as i128)
    }
}

/// What is written to a bit: a truth value, or 1 or 0, as many applications say it.
pub(crate) fn truth(value: &Datum) -> Result<bool, Unfit> {
    match value {
        Datum::Bool(it) => Ok(*it),
        Datum::Int(0) => Ok(false),
        Datum::Int(1) => Ok(true),
        Datum::Int(_) | Datum::UInt(_) => Err(Unfit::OutOfRange),
        _ => Err(Unfit::WrongType),
    }
}

/// The shortest decimal that names this `f32`, as a float: 0.1 and not 0.10000000149011612.
pub(crate) fn shortest(raw: f32) -> f64 {
    format!("{raw:e}").parse().unwrap_or_else(|_| f64::from(raw))
}

fn round_to_15_digits(value: f64) -> f64 {
    format!("{value:.14e}").parse().unwrap_or(value)
}

/// A float with so many decimal places.
pub(crate) fn round_to_places(value: f64, places: u8) -> f64 {
    format!("{value:.*}", usize::from(places)).parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_rounds_what_is_shown_only() {
        let scaling = Scaling { scale: 0.001, precision: Some(1), ..Scaling::default() };
        assert_eq!(scaling.show_whole(21_449), Ok(Datum::Float(21.4)));
        assert_eq!(scaling.show_float(21_451.0), Ok(Datum::Float(21.5)));
        assert_eq!(scaling.raw_whole(&Datum::Float(21.449), &(0..=65_535)), Ok(21_449));
    }

    #[test]
    fn labels_name_whole_numbers_both_ways() {
        let labels = [(0, "stopped"), (1, "running")];
        let labels = labels.into_iter().map(|(raw, label)| (raw, label.to_owned())).collect();
        let scaling = Scaling { labels, ..Scaling::default() };
        let range = 0..=65_535;
        assert_eq!(scaling.show_whole(1), Ok(Datum::Text("running".into())));
        assert!(scaling.show_whole(2).is_err());
        assert_eq!(scaling.raw_whole(&Datum::Text("stopped".into()), &range), Ok(0));
        assert_eq!(scaling.raw_whole(&Datum::Int(1), &range), Ok(1));
        let unknown = scaling.raw_whole(&Datum::Text("burning".into()), &range);
        assert_eq!(unknown, Err(Unfit::OutOfRange));
    }

    #[test]
    fn what_is_no_number_is_told() {
        let scaling = Scaling::default();
        for raw in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert!(scaling.show_float(raw).is_err(), "{raw}");
        }
        let huge = Scaling { scale: 1e300, ..Scaling::default() };
        assert!(huge.show_float(1e300).is_err());
        assert_eq!(scaling.raw_whole(&Datum::Float(0.5), &(0..=9)), Err(Unfit::WrongType));
        assert_eq!(scaling.raw_whole(&Datum::Float(1e300), &(0..=9)), Err(Unfit::OutOfRange));
    }
}
