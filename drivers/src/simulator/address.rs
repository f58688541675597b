//! What a tag of a simulated machine holds: `kind` or `kind?name=value&…`.

use crate::config::ConfigError;
use std::collections::BTreeMap;
use std::f64::consts::TAU;

/// What a point holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Source {
    /// A wave between two values.
    Wave { shape: Shape, min: f64, max: f64, period_ms: u64, phase: f64 },
    /// Anything between two values, another each `hold_ms`.
    Noise { min: f64, max: f64, hold_ms: u64 },
    /// Rises by so much each second, and begins anew at a bound.
    Counter { per_sec: f64, start: f64, wrap: f64 },
    /// What was written last; at first this.
    Memory { start: f64 },
    /// Rows of a table, one after the other, again and again.
    Table { file: String },
    /// Nothing: the machine has no such point.
    Missing,
}

/// The shape of a wave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Sine,
    Triangle,
    Sawtooth,
    Square,
}

/// The longest period, in seconds: a year.
const SECS_MAX: f64 = 366.0 * 86_400.0;

/// The longest name of a table, in bytes.
const FILE_BYTES_MAX: usize = 64;

impl Source {
    /// Reads an address.
    pub(super) fn parse(address: &str) -> Result<Self, ConfigError> {
        let (kind, rest) = address.split_once('?').unwrap_or((address, ""));
        let mut fields = Fields::parse(rest)?;
        let source = match kind {
            "sine" => wave(Shape::Sine, &mut fields)?,
            "triangle" => wave(Shape::Triangle, &mut fields)?,
            "sawtooth" => wave(Shape::Sawtooth, &mut fields)?,
            "square" => wave(Shape::Square, &mut fields)?,
            "noise" => {
                let (min, max) = fields.bounds()?;
                Self::Noise { min, max, hold_ms: fields.ms("hold_s", 0.0)? }
            }
            "counter" => {
                let per_sec = fields.number("per_s", 1.0)?;
                let start = fields.number("start", 0.0)?;
                let wrap = fields.number("wrap", 1e15)?;
                if wrap <= start {
                    return Err(refused("`wrap` must be more than `start`"));
                }
                Self::Counter { per_sec, start, wrap }
            }
            "memory" => Self::Memory { start: fields.number("start", 0.0)? },
            "table" => Self::Table { file: fields.file()? },
            "missing" => Self::Missing,
            other => {
                let kinds =
                    "sine, triangle, sawtooth, square, noise, counter, memory, table, missing";
                return Err(refused(format!("`{other}` is none of {kinds}")));
            }
        };
        fields.end()?;
        Ok(source)
    }

    /// What it holds so many milliseconds after the start, if that follows from the time. `chance` is a number of the
    /// point's own.
    pub(super) fn at(&self, elapsed_ms: u64, chance: u64) -> Option<f64> {
        match *self {
            Self::Wave { shape, min, max, period_ms, phase } => {
                let turn = (elapsed_ms % period_ms) as f64 / period_ms as f64 + phase;
                Some(min + (max - min) * shape.at(turn.fract()))
            }
            Self::Noise { min, max, hold_ms } => {
                let step = elapsed_ms / hold_ms.max(1);
                Some(min + (max - min) * fraction(chance ^ step))
            }
            Self::Counter { per_sec, start, wrap } => {
                let risen = (elapsed_ms as f64 / 1000.0 * per_sec).floor();
                Some(start + risen.rem_euclid(wrap - start))
            }
            Self::Memory { .. } | Self::Table { .. } | Self::Missing => None,
        }
    }
}

impl Shape {
    /// From 0 to 1, at a place between 0 and 1.
    fn at(self, turn: f64) -> f64 {
        match self {
            Self::Sine => 0.5 + 0.5 * (turn * TAU).sin(),
            Self::Triangle => 1.0 - (2.0 * turn - 1.0).abs(),
            Self::Sawtooth => turn,
            Self::Square => f64::from(u8::from(turn >= 0.5)),
        }
    }
}

fn wave(shape: Shape, fields: &mut Fields<'_>) -> Result<Source, ConfigError> {
    let (min, max) = fields.bounds()?;
    let period_ms = fields.ms("period_s", 60.0)?;
    let phase = fields.number("phase", 0.0)?;
    if period_ms == 0 {
        return Err(refused("`period_s` must be more than 0"));
    }
    if !(0.0..1.0).contains(&phase) {
        return Err(refused("`phase` must be from 0 to less than 1"));
    }
    Ok(Source::Wave { shape, min, max, period_ms, phase })
}

/// A number from 0 to less than 1 that follows from another one (SplitMix64).
pub(super) fn fraction(seed: u64) -> f64 {
    let mut it = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    it = (it ^ (it >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    it = (it ^ (it >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((it ^ (it >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn refused(reason: impl Into<String>) -> ConfigError {
    ConfigError::new("address", reason)
}

/// The fields of an address.
struct Fields<'a>(BTreeMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, ConfigError> {
        let mut fields = BTreeMap::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let Some((name, value)) = part.split_once('=') else {
                return Err(refused(format!("`{part}` must read name=value")));
            };
            if fields.insert(name, value).is_some() {
                return Err(refused(format!("`{name}` is there twice")));
            }
        }
        Ok(Self(fields))
    }

    fn number(&mut self, name: &str, default: f64) -> Result<f64, ConfigError> {
        let Some(text) = self.0.remove(name) else { return Ok(default) };
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => Err(refused(format!("`{name}` is no number: `{text}`"))),
        }
    }

    fn bounds(&mut self) -> Result<(f64, f64), ConfigError> {
        let (min, max) = (self.number("min", 0.0)?, self.number("max", 100.0)?);
        match min <= max && (max - min).is_finite() {
            true => Ok((min, max)),
            false => Err(refused("`min` must not be more than `max`")),
        }
    }

    fn ms(&mut self, name: &str, default_secs: f64) -> Result<u64, ConfigError> {
        let secs = self.number(name, default_secs)?;
        match (0.0..=SECS_MAX).contains(&secs) {
            true => Ok((secs * 1000.0).round() as u64),
            false => Err(refused(format!("`{name}` must be from 0 to {SECS_MAX} seconds"))),
        }
    }

    /// The plain name of a file.
    fn file(&mut self) -> Result<String, ConfigError> {
        let file = self.0.remove("file").unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_good = (1..=FILE_BYTES_MAX).contains(&file.len())
            && file.chars().all(is_plain)
            && !file.starts_with('.');
        match is_good {
            true => Ok(file.to_owned()),
            false => {
                Err(refused("`file` must be a plain name of letters, digits, `-`, `_` and `.`"))
            }
        }
    }

    fn end(self) -> Result<(), ConfigError> {
        match self.0.keys().next() {
            Some(name) => Err(refused(format!("`{name}` means nothing here"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str, elapsed_ms: u64) -> f64 {
        Source::parse(address).unwrap().at(elapsed_ms, 7).unwrap()
    }

    #[test]
    fn waves_have_their_values_at_their_places() {
        assert_eq!(at("sawtooth?period_s=10&min=0&max=10", 2_500), 2.5);
        assert_eq!(at("sawtooth?period_s=10&min=0&max=10", 12_500), 2.5);
        assert_eq!(at("triangle?period_s=10&max=10", 5_000), 10.0);
        assert_eq!(at("triangle?period_s=10&max=10", 7_500), 5.0);
        assert_eq!(
            (at("square?period_s=10", 4_999), at("square?period_s=10", 5_000)),
            (0.0, 100.0)
        );
        assert_eq!(at("sine?period_s=4&min=-1&max=1", 0), 0.0);
        assert_eq!(at("sine?period_s=4&min=-1&max=1", 1_000), 1.0);
        assert_eq!(at("sine?period_s=4&min=-1&max=1&phase=0.25", 0), 1.0);
    }

    #[test]
    fn a_counter_rises_and_begins_anew() {
        assert_eq!(at("counter", 3_999), 3.0);
        assert_eq!(at("counter?per_s=10&start=5&wrap=10", 700), 7.0);
    }

    #[test]
    fn noise_is_the_same_for_the_same_seed_and_stays_within_its_bounds() {
        let values: Vec<f64> = (0..1000).map(|ms| at("noise?min=2&max=3", ms)).collect();
        assert!(values.iter().all(|it| (2.0..3.0).contains(it)));
        assert_eq!(at("noise?min=2&max=3", 17), values[17]);
        let mean = values.iter().sum::<f64>() / 1000.0;
        assert!((2.4..2.6).contains(&mean), "{mean}");
        assert_eq!(at("noise?hold_s=1", 1_000), at("noise?hold_s=1", 1_999));
    }

    #[test]
    fn bad_addresses_are_refused_with_the_reason() {
        let bad = [
            ("cosine", "none of"),
            ("sine?period_s=0", "period_s"),
            ("sine?phase=1", "phase"),
            ("sine?min=2&max=1", "min"),
            ("sine?max=inf", "no number"),
            ("sine?colour=red", "means nothing"),
            ("sine?min", "name=value"),
            ("sine?min=1&min=2", "twice"),
            ("counter?start=5&wrap=5", "wrap"),
            ("table", "plain name"),
            ("table?file=../secret", "plain name"),
            ("table?file=.hidden", "plain name"),
            ("noise?hold_s=1e12", "seconds"),
        ];
        for (address, part) in bad {
            let error = Source::parse(address).unwrap_err();
            assert!(error.field == "address" && error.reason.contains(part), "{address}: {error}");
        }
    }
}
