//! The functions of expressions. Each has a result only if all of its arguments have a value.

use super::EvaluateError;
use super::evaluate::{Sum, from_whole, number, order, whole, wrong_type};
use crate::Datum;
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::RangeInclusive;

/// One function.
#[derive(Debug)]
pub(super) struct Function {
    pub(super) name: &'static str,
    /// How many arguments.
    pub(super) takes: RangeInclusive<usize>,
    pub(super) apply: Apply,
}

type Told = Result<Datum, EvaluateError>;

/// The name is for errors.
type Apply = fn(&'static str, &[Datum]) -> Told;

/// For as many arguments as there is room for.
const MANY: usize = usize::MAX;

/// By name.
static FUNCTIONS: [Function; 31] = [
    function("abs", 1..=1, abs),
    function("at", 2..=MANY, at),
    function("avg", 1..=MANY, |name, all| {
        let all = spread(name, all)?;
        let count = Datum::unsigned(all.len() as u64);
        Sum::DividedBy.of(&sum(name, &all)?, &count)
    }),
    function("bit", 2..=2, |name, all| {
        Ok(Datum::Bool(bits(name, &all[0], &all[1], &all[1])? == 1))
    }),
    function("bits", 3..=3, |name, all| bits(name, &all[0], &all[1], &all[2]).map(Datum::unsigned)),
    function("ceil", 1..=1, |name, all| rounded(name, all, f64::ceil)),
    function("clamp", 3..=3, clamp),
    function("contains", 2..=2, |name, all| {
        Ok(Datum::Bool(text(name, &all[0])?.contains(text(name, &all[1])?)))
    }),
    function("cos", 1..=1, |name, all| float(name, all, f64::cos)),
    function("exp", 1..=1, |name, all| float(name, all, f64::exp)),
    function("floor", 1..=1, |name, all| rounded(name, all, f64::floor)),
    function("greatest", 1..=MANY, |name, all| extreme(name, all, Ordering::Greater)),
    function("least", 1..=MANY, |name, all| extreme(name, all, Ordering::Less)),
    function("length", 1..=1, |name, all| {
        Ok(Datum::unsigned(match &all[0] {
            Datum::Array(values) => values.len() as u64,
            other => text(name, other)?.chars().count() as u64,
        }))
    }),
    function("ln", 1..=1, |name, all| float(name, all, f64::ln)),
    function("log10", 1..=1, |name, all| float(name, all, f64::log10)),
    function("lower", 1..=1, |name, all| Ok(Datum::Text(text(name, &all[0])?.to_lowercase()))),
    function("max", 1..=MANY, |name, all| extreme(name, all, Ordering::Greater)),
    function("min", 1..=MANY, |name, all| extreme(name, all, Ordering::Less)),
    function("number", 1..=1, to_number),
    function("pow", 2..=2, |name, all| {
        let power = number(&all[0], name)?.powf(number(&all[1], name)?);
        Datum::float(power).ok_or(EvaluateError::NoNumber(name))
    }),
    function("round", 1..=2, round),
    function("sign", 1..=1, |name, all| {
        let number = number(&all[0], name)?;
        Ok(Datum::Int(i64::from(number > 0.0) - i64::from(number < 0.0)))
    }),
    function("sin", 1..=1, |name, all| float(name, all, f64::sin)),
    function("sqrt", 1..=1, |name, all| float(name, all, f64::sqrt)),
    function("starts_with", 2..=2, |name, all| {
        Ok(Datum::Bool(text(name, &all[0])?.starts_with(text(name, &all[1])?)))
    }),
    function("sum", 1..=MANY, sum),
    function("tan", 1..=1, |name, all| float(name, all, f64::tan)),
    function("text", 1..=1, |_, all| Ok(Datum::Text(all[0].to_string()))),
    function("trim", 1..=1, |name, all| Ok(Datum::Text(text(name, &all[0])?.trim().to_owned()))),
    function("upper", 1..=1, |name, all| Ok(Datum::Text(text(name, &all[0])?.to_uppercase()))),
];

const fn function(name: &'static str, takes: RangeInclusive<usize>, apply: Apply) -> Function {
    Function { name, takes, apply }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Function {
    /// How many arguments it takes, in words.
    pub(super) fn wants(&self) -> String {
        let values =
            |count| if count == 1 { "1 value".to_owned() } else { format!("{count} values") };
        match (*self.takes.start(), *self.takes.end()) {
            (least, MANY) => format!("at least {}", values(least)),
            (least, most) if least == most => values(least),
            (least, most) => format!("{least} to {}", values(most)),
        }
    }
}

/// The function of this name, in small letters.
pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The names of all functions.
pub(super) fn names() -> Vec<&'static str> {
    let lazy = ["coalesce", "if"];
    let mut names: Vec<_> = FUNCTIONS.iter().map(|it| it.name).chain(lazy).collect();
    names.sort_unstable();
    names
}

fn text<'a>(name: &'static str, value: &'a Datum) -> Result<&'a str, EvaluateError> {
    match value {
        Datum::Text(text) => Ok(text),
        other => Err(wrong_type(name, "a text", other)),
    }
}

fn float(name: &'static str, all: &[Datum], apply: fn(f64) -> f64) -> Told {
    let value = apply(number(&all[0], name)?);
    Datum::float(value).ok_or(EvaluateError::NoNumber(name))
}

/// A whole number as near as the rounding says.
fn rounded(name: &'static str, all: &[Datum], round: fn(f64) -> f64) -> Told {
    if whole(&all[0]).is_some() {
        return Ok(all[0].clone());
    }
    let value = round(number(&all[0], name)?);
    // As a whole number where it is exact as one: 2 to the power of 53 is the end of that.
    match value.abs() <= 9_007_199_254_740_992.0 {
        true => from_whole(value as i128).ok_or(EvaluateError::NoNumber(name)),
        false => Ok(Datum::Float(value)),
    }
}

fn round(name: &'static str, all: &[Datum]) -> Told {
    let Some(places) = all.get(1) else { return rounded(name, all, f64::round) };
    let places = whole(places).and_then(|it| i32::try_from(it).ok());
    let places = places.filter(|it| (-15..=15).contains(it));
    let places = places.ok_or_else(|| wrong_type(name, "-15 to 15 places", &all[1]))?;
    let power = 10_f64.powi(places.abs());
    let value = number(&all[0], name)?;
    let value = match places {
        0.. => (value * power).round() / power,
        _ => (value / power).round() * power,
    };
    Datum::float(value).ok_or(EvaluateError::NoNumber(name))
}

fn abs(name: &'static str, all: &[Datum]) -> Told {
    match whole(&all[0]) {
        Some(whole) => from_whole(whole.abs()).ok_or(EvaluateError::NoNumber(name)),
        None => Ok(Datum::Float(number(&all[0], name)?.abs())),
    }
}

/// The part of an array or a structure, and the part of that.
fn at(name: &'static str, all: &[Datum]) -> Told {
    let mut found = all[0].clone();
    for place in &all[1..] {
        let part = match &mut found {
            Datum::Array(values) => {
                let index = whole(place).and_then(|it| usize::try_from(it).ok());
                let index = index.ok_or_else(|| wrong_type(name, "a place from 0", place))?;
                values.get_mut(index)
            }
            Datum::Structure(members) => members.get_mut(text(name, place)?),
            other => return Err(wrong_type(name, "an array or a structure", other)),
        };
        let part = part.and_then(|it| Datum::from_json(it.take()));
        found = part.ok_or_else(|| EvaluateError::NotThere(place.to_string()))?;
    }
    Ok(found)
}

/// The values, with those of an array in its place.
fn spread<'a>(name: &'static str, all: &'a [Datum]) -> Result<Cow<'a, [Datum]>, EvaluateError> {
    if all.iter().all(Datum::is_plain) {
        return Ok(Cow::Borrowed(all));
    }
    let mut values = Vec::new();
    for value in all {
        match value {
            Datum::Array(inner) => {
                let inner = inner.iter().map(Datum::plain).collect::<Option<Vec<_>>>();
                values.extend(inner.ok_or_else(|| wrong_type(name, "an array of values", value))?);
            }
            Datum::Structure(_) => return Err(wrong_type(name, "values", value)),
            plain => values.push(plain.clone()),
        }
    }
    match values.is_empty() {
        true => Err(EvaluateError::NoNumber(name)),
        false => Ok(Cow::Owned(values)),
    }
}

fn sum(name: &'static str, all: &[Datum]) -> Told {
    let mut sum = Datum::Int(0);
    for value in &*spread(name, all)? {
        sum = Sum::Plus.of(&sum, value)?;
    }
    Ok(sum)
}

fn extreme(name: &'static str, all: &[Datum], wanted: Ordering) -> Told {
    let all = spread(name, all)?;
    let mut found = &all[0];
    for value in &all[1..] {
        if order(value, found)? == wanted {
            found = value;
        }
    }
    Ok(found.clone())
}

fn clamp(name: &'static str, all: &[Datum]) -> Told {
    let [value, low, high] = all else { return Err(EvaluateError::NoNumber(name)) };
    if order(low, high)? == Ordering::Greater {
        return Err(EvaluateError::NoNumber(name));
    }
    let value = if order(value, low)? == Ordering::Less { low } else { value };
    Ok(if order(value, high)? == Ordering::Greater { high } else { value }.clone())
}

/// The bits from one to another, of which 0 is the lowest, as a number.
fn bits(
    name: &'static str,
    value: &Datum,
    first: &Datum,
    last: &Datum,
) -> Result<u64, EvaluateError> {
    let word = match *value {
        Datum::Int(it) => it.cast_unsigned(),
        Datum::UInt(it) => it,
        _ => return Err(wrong_type(name, "a whole number", value)),
    };
    let place = |bit: &Datum| {
        let place = whole(bit).and_then(|it| u32::try_from(it).ok()).filter(|it| *it < 64);
        place.ok_or_else(|| wrong_type(name, "bits from 0 to 63", bit))
    };
    let (first_bit, last_bit) = (place(first)?, place(last)?);
    if first_bit > last_bit {
        return Err(wrong_type(name, "the lower bit first", first));
    }
    Ok((word >> first_bit) & (u64::MAX >> (63 - (last_bit - first_bit))))
}

fn to_number(name: &'static str, all: &[Datum]) -> Told {
    match &all[0] {
        Datum::Bool(truth) => Ok(Datum::Int(i64::from(*truth))),
        Datum::Text(text) => {
            let text = text.trim();
            let whole = text.parse().ok().and_then(from_whole);
            let number = whole.or_else(|| text.parse().ok().and_then(Datum::float));
            number.ok_or_else(|| wrong_type(name, "a number in the text", &all[0]))
        }
        number => Ok(number.clone()),
    }
}
