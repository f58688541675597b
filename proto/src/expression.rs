//! Expressions over values by their names: `flow * 3.6`, `case when level > 90 then 'full' else 'filling' end`.
//!
//! The language is that of SQL's scalar expressions, without types to declare. [`Expression::parse`] checks all that
//! can be checked without values; [`Expression::evaluate`] then ends in a time that follows from the length of the
//! text, since there are no loops.
//!
//! - **Numbers** are whole and exact while they are whole, as `+`, `-`, `*` and `%` of whole numbers are; `/` and what
//!   does not fit 64 bits give a fraction.
//! - **No value** is a value too, as in SQL: a name that has none just now, and what is made of it, have none. `and`,
//!   `or`, `case`, `if` and `coalesce` look only at what they need, so that `coalesce(a, b)` is `b` while `a` has none.
//! - **Names** of letters, digits, `_`, `.`, `:` and `@` stand as they are, others and words of the language in double
//!   quotes; texts stand in single quotes.

use crate::Datum;
use evaluate::Node;
use std::fmt;

mod evaluate;
mod functions;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

/// The longest expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 1024;

/// The most levels of one within another.
pub const DEPTH_MAX: usize = 32;

/// An expression that is well formed.
#[derive(Debug, Clone, PartialEq)]
pub struct Expression {
    root: Node,
    names: Vec<String>,
}

/// Where the names of an expression get their values from.
pub trait Names {
    /// What the name has at this place of [`Expression::names`]; `None` if it has no value now.
    fn value(&self, place: usize) -> Option<Datum>;
}

impl<F: Fn(usize) -> Option<Datum>> Names for F {
    fn value(&self, place: usize) -> Option<Datum> {
        self(place)
    }
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}, at character {at}")]
pub struct ExpressionError {
    /// The character where it goes wrong, from 1.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

/// Why an expression has no result with these values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluateError {
    /// A text is multiplied, or the like.
    #[error("{needs} needs {kind}, and not {got}")]
    WrongType {
        /// The operator or function.
        needs: &'static str,
        /// What it works on.
        kind: &'static str,
        /// What it was given.
        got: String,
    },
    /// Something divided by 0.
    #[error("division by zero")]
    DivisionByZero,
    /// The root of a negative number, a number too large, and the like.
    #[error("{0} has no result with these numbers")]
    NoNumber(&'static str),
    /// An array is shorter, or a structure has no such member.
    #[error("there is no {0} in it")]
    NotThere(String),
}

impl Expression {
    /// Reads an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let (root, names) = parser::parse(text).map_err(|fault| fault.within(text))?;
        Ok(Self { root, names })
    }

    /// The names in it, each once, in the order of their first use.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Its result; `None` if it has none, since a name that it needs has no value.
    pub fn evaluate(&self, names: &impl Names) -> Result<Option<Datum>, EvaluateError> {
        self.root.evaluate(names)
    }
}

/// What is wrong at a byte of the text.
#[derive(Debug)]
struct Fault {
    at: usize,
    reason: String,
}

impl Fault {
    fn new(at: usize, reason: impl fmt::Display) -> Self {
        Self { at, reason: reason.to_string() }
    }

    fn within(self, text: &str) -> ExpressionError {
        let before = text.char_indices().take_while(|(at, _)| *at < self.at).count();
        ExpressionError { at: before + 1, reason: self.reason }
    }
}
