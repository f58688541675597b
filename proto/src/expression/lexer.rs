//! The words of an expression.

use super::Fault;
use crate::Datum;

/// One word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A number or a text.
    Literal(Datum),
    /// A word of the language, in small letters.
    Keyword(&'static str),
    /// A name without quotes; before a parenthesis that of a function.
    Word(String),
    /// A name in quotes.
    Quoted(String),
    /// An operator, a comma or a parenthesis.
    Sign(&'static str),
}

const KEYWORDS: [&str; 15] = [
    "and", "between", "case", "else", "end", "false", "in", "is", "not", "null", "or", "then",
    "true", "when", "xor",
];

/// The longer ones first.
const SIGNS: [&str; 17] =
    ["<=", ">=", "<>", "!=", "==", "||", "+", "-", "*", "/", "%", "=", "<", ">", "(", ")", ","];

/// The words of a text, each with the byte where it begins.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Fault> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (token, length) = token(&text[at..], first).map_err(|reason| Fault::new(at, reason))?;
        tokens.push((at, token));
        at += length;
    }
    Ok(tokens)
}

fn token(rest: &str, first: char) -> Result<(Token, usize), String> {
    match first {
        '\'' => {
            let (text, length) = quoted(rest, '\'').ok_or("a text has no closing '")?;
            Ok((Token::Literal(Datum::Text(text)), length))
        }
        '"' => {
            let (name, length) = quoted(rest, '"').ok_or("a name has no closing \"")?;
            Ok((Token::Quoted(name), length))
        }
        '0'..='9' | '.' => number(rest),
        _ if is_in_name(first) => {
            let length = rest.find(|c| !is_in_name(c)).unwrap_or(rest.len());
            let word = &rest[..length];
            let keyword = KEYWORDS.into_iter().find(|it| it.eq_ignore_ascii_case(word));
            Ok((keyword.map_or_else(|| Token::Word(word.to_owned()), Token::Keyword), length))
        }
        _ => {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign.ok_or_else(|| format!("{first:?} means nothing here"))?;
            Ok((Token::Sign(sign), sign.len()))
        }
    }
}

/// Whether a name without quotes may hold a character.
fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | ':' | '@')
}

/// What stands between two quotes, of which two stand for one within, and how long it is with them.
fn quoted(rest: &str, quote: char) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => drop(chars.next()),
                _ => return Some((text, at + c.len_utf8())),
            }
        }
        text.push(c);
    }
    None
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let mut length = 0;
    let mut before = ' ';
    for c in rest.chars() {
        let is_sign_of_exponent = matches!(c, '+' | '-') && matches!(before, 'e' | 'E');
        if !is_in_name(c) && !is_sign_of_exponent {
            break;
        }
        length += c.len_utf8();
        before = c;
    }
    let text = &rest[..length];
    let whole = text.parse::<u64>().ok().map(Datum::unsigned);
    // What Rust reads beside numbers are words for infinity, which begin with a letter.
    let number = whole.or_else(|| text.parse().ok().and_then(Datum::float));
    let number = number.ok_or_else(|| format!("{text} is no number"))?;
    Ok((Token::Literal(number), length))
}
