//! What an expression amounts to.

use super::functions::Function;
use super::{EvaluateError, Names};
use crate::Datum;
use std::cmp::Ordering;

/// A part of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Literal(Datum),
    Null,
    Name(usize),
    Or(Box<[Node]>),
    Xor(Box<[Node]>),
    And(Box<[Node]>),
    Not(Box<Node>),
    Compare(Compare, Box<[Node; 2]>),
    IsNull(Box<Node>),
    /// Whether the first is from the second to the third.
    Between(Box<[Node; 3]>),
    /// Whether the first is one of the others.
    In(Box<[Node]>),
    Join(Box<[Node]>),
    Chain(Box<Node>, Box<[(Sum, Node)]>),
    Minus(Box<Node>),
    /// Conditions, what holds if one does, and what holds if none does.
    Case(Box<[[Node; 2]]>, Box<Node>),
    Coalesce(Box<[Node]>),
    Call(&'static Function, Box<[Node]>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sum {
    Plus,
    Minus,
    Times,
    DividedBy,
    Remainder,
}

type Result<T> = std::result::Result<T, EvaluateError>;

impl Node {
    pub(super) fn evaluate(&self, names: &impl Names) -> Result<Option<Datum>> {
        match self {
            Self::Literal(value) => Ok(Some(value.clone())),
            Self::Null => Ok(None),
            Self::Name(place) => Ok(names.value(*place)),
            Self::Or(parts) => Self::settled(parts, names, "or", true),
            Self::And(parts) => Self::settled(parts, names, "and", false),
            Self::Xor(parts) => Self::is_odd(parts, names),
            Self::Not(inner) => Ok(inner.truth(names, "not")?.map(|it| Datum::Bool(!it))),
            Self::Compare(compare, sides) => {
                let [left, right] = &**sides;
                let both = left.evaluate(names)?.zip(right.evaluate(names)?);
                let held = both.map(|(left, right)| compare.holds(&left, &right)).transpose()?;
                Ok(held.map(Datum::Bool))
            }
            Self::IsNull(inner) => Ok(Some(Datum::Bool(inner.evaluate(names)?.is_none()))),
            Self::Between(three) => Self::is_between(three, names),
            Self::In(list) => Self::is_in(list, names),
            Self::Join(parts) => {
                let mut joined = String::new();
                for part in parts {
                    let Some(part) = part.evaluate(names)? else { return Ok(None) };
                    joined.push_str(&part.to_string());
                }
                Ok(Some(Datum::Text(joined)))
            }
            Self::Chain(first, rest) => {
                let Some(mut value) = first.evaluate(names)? else { return Ok(None) };
                for (sum, operand) in rest {
                    let Some(operand) = operand.evaluate(names)? else { return Ok(None) };
                    value = sum.of(&value, &operand)?;
                }
                Ok(Some(value))
            }
            Self::Minus(inner) => {
                let zero = Datum::Int(0);
                let value = inner.evaluate(names)?;
                value.map(|value| Sum::Minus.of(&zero, &value)).transpose()
            }
            Self::Case(arms, other) => {
                for [condition, then] in arms {
                    if condition.truth(names, "a condition")? == Some(true) {
                        return then.evaluate(names);
                    }
                }
                other.evaluate(names)
            }
            Self::Coalesce(parts) => {
                for part in parts {
                    if let Some(value) = part.evaluate(names)? {
                        return Ok(Some(value));
                    }
                }
                Ok(None)
            }
            Self::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                for argument in arguments {
                    let Some(value) = argument.evaluate(names)? else { return Ok(None) };
                    values.push(value);
                }
                (function.apply)(function.name, &values).map(Some)
            }
        }
    }

    fn truth(&self, names: &impl Names, needs: &'static str) -> Result<Option<bool>> {
        self.evaluate(names)?.map(|value| truth(&value, needs)).transpose()
    }

    /// What settles the matter wherever it stands; else whether all are known.
    fn settled(
        parts: &[Self],
        names: &impl Names,
        needs: &'static str,
        settles: bool,
    ) -> Result<Option<Datum>> {
        let mut is_known = true;
        for part in parts {
            match part.truth(names, needs)? {
                Some(truth) if truth == settles => return Ok(Some(Datum::Bool(settles))),
                truth => is_known &= truth.is_some(),
            }
        }
        Ok(is_known.then_some(Datum::Bool(!settles)))
    }

    /// Whether an odd number of them holds.
    fn is_odd(parts: &[Self], names: &impl Names) -> Result<Option<Datum>> {
        let mut is_odd = Some(false);
        for part in parts {
            let truth = part.truth(names, "xor")?;
            is_odd = is_odd.zip(truth).map(|(odd, truth)| odd != truth);
        }
        Ok(is_odd.map(Datum::Bool))
    }

    fn is_between(three: &[Self; 3], names: &impl Names) -> Result<Option<Datum>> {
        let [value, low, high] = three;
        let Some(value) = value.evaluate(names)? else { return Ok(None) };
        let bounds = low.evaluate(names)?.zip(high.evaluate(names)?);
        let Some((low, high)) = bounds else { return Ok(None) };
        let is_above = Compare::GreaterOrEqual.holds(&value, &low)?;
        let is_below = Compare::LessOrEqual.holds(&value, &high)?;
        Ok(Some(Datum::Bool(is_above && is_below)))
    }

    fn is_in(list: &[Self], names: &impl Names) -> Result<Option<Datum>> {
        let Some((value, list)) = list.split_first() else { return Ok(None) };
        let Some(value) = value.evaluate(names)? else { return Ok(None) };
        let mut is_known = true;
        for other in list {
            match other.evaluate(names)? {
                Some(other) if is_equal(&value, &other) => return Ok(Some(Datum::Bool(true))),
                other => is_known &= other.is_some(),
            }
        }
        Ok(is_known.then_some(Datum::Bool(false)))
    }
}

impl Compare {
    fn holds(self, left: &Datum, right: &Datum) -> Result<bool> {
        match self {
            Self::Equal => Ok(is_equal(left, right)),
            Self::Unequal => Ok(!is_equal(left, right)),
            Self::Less => Ok(order(left, right)? == Ordering::Less),
            Self::LessOrEqual => Ok(order(left, right)? != Ordering::Greater),
            Self::Greater => Ok(order(left, right)? == Ordering::Greater),
            Self::GreaterOrEqual => Ok(order(left, right)? != Ordering::Less),
        }
    }
}

/// Values of different kinds are different.
fn is_equal(left: &Datum, right: &Datum) -> bool {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => left == right,
        _ => match (left.as_f64(), right.as_f64()) {
            (Some(left), Some(right)) => left == right,
            _ => left == right,
        },
    }
}

/// Which of two numbers is larger, or of two texts comes later.
pub(super) fn order(left: &Datum, right: &Datum) -> Result<Ordering> {
    if let (Datum::Text(left), Datum::Text(right)) = (left, right) {
        return Ok(left.cmp(right));
    }
    if let (Some(left), Some(right)) = (whole(left), whole(right)) {
        return Ok(left.cmp(&right));
    }
    let (left, right) = (number(left, "a comparison")?, number(right, "a comparison")?);
    // Neither is NaN.
    Ok(left.partial_cmp(&right).unwrap_or(Ordering::Equal))
}

impl Sum {
    const fn sign(self) -> &'static str {
        match self {
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::DividedBy => "/",
            Self::Remainder => "%",
        }
    }

    pub(super) fn of(self, left: &Datum, right: &Datum) -> Result<Datum> {
        let sign = self.sign();
        if let (Some(left), Some(right)) = (whole(left), whole(right))
            && self != Self::DividedBy
        {
            // Of two numbers of 64 bits, so that 128 hold all but the largest products.
            let exact = match self {
                Self::Plus => left.checked_add(right),
                Self::Minus => left.checked_sub(right),
                Self::Times => left.checked_mul(right),
                _ if right == 0 => return Err(EvaluateError::DivisionByZero),
                _ => left.checked_rem(right),
            };
            if let Some(exact) = exact.and_then(from_whole) {
                return Ok(exact);
            }
        }
        let (left, right) = (number(left, sign)?, number(right, sign)?);
        let value = match self {
            Self::Plus => left + right,
            Self::Minus => left - right,
            Self::Times => left * right,
            _ if right == 0.0 => return Err(EvaluateError::DivisionByZero),
            Self::DividedBy => left / right,
            Self::Remainder => left % right,
        };
        Datum::float(value).ok_or(EvaluateError::NoNumber(sign))
    }
}

/// The value as a whole number, if it is one.
pub(super) fn whole(value: &Datum) -> Option<i128> {
    match *value {
        Datum::Int(it) => Some(it.into()),
        Datum::UInt(it) => Some(it.into()),
        _ => None,
    }
}

/// A whole number of 64 bits.
pub(super) fn from_whole(value: i128) -> Option<Datum> {
    let signed = i64::try_from(value).ok().map(Datum::Int);
    signed.or_else(|| u64::try_from(value).ok().map(Datum::unsigned))
}

/// The value as a number.
pub(super) fn number(value: &Datum, needs: &'static str) -> Result<f64> {
    value.as_f64().ok_or_else(|| wrong_type(needs, "numbers", value))
}

fn truth(value: &Datum, needs: &'static str) -> Result<bool> {
    match value {
        Datum::Bool(truth) => Ok(*truth),
        other => Err(wrong_type(needs, "true or false", other)),
    }
}

/// The refusal of a value.
pub(super) fn wrong_type(needs: &'static str, kind: &'static str, got: &Datum) -> EvaluateError {
    let got = match got {
        Datum::Text(text) => format!("the text {text:.40?}"),
        Datum::Array(values) => format!("an array of {} values", values.len()),
        Datum::Structure(_) => "a structure".to_owned(),
        other => other.to_string(),
    };
    EvaluateError::WrongType { needs, kind, got }
}
