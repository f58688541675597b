//! From words to a tree, by the usual precedence: `or`, `xor`, `and`, `not`, comparisons, `||`, sums, products, signs.

use super::evaluate::{Compare, Node, Sum};
use super::functions;
use super::lexer::{Token, tokens};
use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, Fault};
use crate::Datum;

/// The tree of an expression, and the names in it.
pub(super) fn parse(text: &str) -> Result<(Node, Vec<String>), Fault> {
    if text.len() > EXPRESSION_BYTES_MAX {
        let reason = format!("an expression has at most {EXPRESSION_BYTES_MAX} bytes");
        return Err(Fault::new(0, reason));
    }
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens, next: 0, end: text.len(), depth: 0, names: Vec::new() };
    let root = parser.expression()?;
    match parser.tokens.get(parser.next) {
        None => Ok((root, parser.names)),
        Some((at, _)) => Err(Fault::new(*at, "an operator is missing")),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    end: usize,
    depth: usize,
    names: Vec<String>,
}

type Parsed = Result<Node, Fault>;

impl Parser {
    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn fault(&self, reason: impl std::fmt::Display) -> Fault {
        Fault::new(self.at(), reason)
    }

    fn takes(&mut self, token: &Token) -> bool {
        let is_it = self.tokens.get(self.next).is_some_and(|(_, it)| it == token);
        self.next += usize::from(is_it);
        is_it
    }

    fn takes_word(&mut self, word: &'static str) -> bool {
        self.takes(&Token::Keyword(word))
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        self.takes(&Token::Sign(sign))
    }

    fn must_word(&mut self, word: &'static str) -> Result<(), Fault> {
        if self.takes_word(word) { Ok(()) } else { Err(self.fault(format!("{word} is missing"))) }
    }

    fn must_sign(&mut self, sign: &'static str) -> Result<(), Fault> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.fault(format!("{sign} is missing"))) }
    }

    /// What stands within something else, so deep and not deeper: the tree is walked by recursion.
    fn deeper(&mut self, inner: impl FnOnce(&mut Self) -> Parsed) -> Parsed {
        if self.depth >= DEPTH_MAX {
            return Err(self.fault(format!("more than {DEPTH_MAX} levels")));
        }
        self.depth += 1;
        let node = inner(self);
        self.depth -= 1;
        node
    }

    fn expression(&mut self) -> Parsed {
        self.deeper(Self::any_of)
    }

    fn any_of(&mut self) -> Parsed {
        let mut parts = vec![self.one_of()?];
        while self.takes_word("or") {
            parts.push(self.one_of()?);
        }
        Ok(single(parts, Node::Or))
    }

    fn one_of(&mut self) -> Parsed {
        let mut parts = vec![self.all_of()?];
        while self.takes_word("xor") {
            parts.push(self.all_of()?);
        }
        Ok(single(parts, Node::Xor))
    }

    fn all_of(&mut self) -> Parsed {
        let mut parts = vec![self.negation()?];
        while self.takes_word("and") {
            parts.push(self.negation()?);
        }
        Ok(single(parts, Node::And))
    }

    fn negation(&mut self) -> Parsed {
        if self.takes_word("not") {
            let inner = self.deeper(Self::negation)?;
            return Ok(Node::Not(inner.into()));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed {
        let left = self.joined()?;
        const COMPARES: [(&str, Compare); 8] = [
            ("=", Compare::Equal),
            ("==", Compare::Equal),
            ("!=", Compare::Unequal),
            ("<>", Compare::Unequal),
            ("<", Compare::Less),
            ("<=", Compare::LessOrEqual),
            (">", Compare::Greater),
            (">=", Compare::GreaterOrEqual),
        ];
        for (sign, compare) in COMPARES {
            if self.takes_sign(sign) {
                let right = self.joined()?;
                return Ok(Node::Compare(compare, [left, right].into()));
            }
        }
        if self.takes_word("is") {
            let is_not = self.takes_word("not");
            self.must_word("null")?;
            return Ok(negated(Node::IsNull(left.into()), is_not));
        }
        let is_not = self.takes_word("not");
        if self.takes_word("between") {
            let low = self.joined()?;
            self.must_word("and")?;
            let high = self.joined()?;
            return Ok(negated(Node::Between([left, low, high].into()), is_not));
        }
        if self.takes_word("in") {
            self.must_sign("(")?;
            let mut list = vec![left];
            list.extend(self.list()?);
            return Ok(negated(Node::In(list.into()), is_not));
        }
        if is_not {
            return Err(self.fault("between or in is missing after not"));
        }
        Ok(left)
    }

    fn joined(&mut self) -> Parsed {
        let mut parts = vec![self.sum()?];
        while self.takes_sign("||") {
            parts.push(self.sum()?);
        }
        Ok(single(parts, Node::Join))
    }

    fn sum(&mut self) -> Parsed {
        const SUMS: [(&str, Sum); 2] = [("+", Sum::Plus), ("-", Sum::Minus)];
        self.chain(&SUMS, Self::product)
    }

    fn product(&mut self) -> Parsed {
        const PRODUCTS: [(&str, Sum); 3] =
            [("*", Sum::Times), ("/", Sum::DividedBy), ("%", Sum::Remainder)];
        self.chain(&PRODUCTS, Self::sign)
    }

    /// Operators of one rank, from the left.
    fn chain(&mut self, signs: &[(&'static str, Sum)], operand: fn(&mut Self) -> Parsed) -> Parsed {
        let first = operand(self)?;
        let mut rest = Vec::new();
        while let Some((_, sum)) = signs.iter().find(|(sign, _)| self.takes_sign(sign)) {
            rest.push((*sum, operand(self)?));
        }
        Ok(if rest.is_empty() { first } else { Node::Chain(first.into(), rest.into()) })
    }

    fn sign(&mut self) -> Parsed {
        if self.takes_sign("-") {
            return Ok(Node::Minus(self.deeper(Self::sign)?.into()));
        }
        if self.takes_sign("+") {
            return self.deeper(Self::sign);
        }
        self.primary()
    }

    fn primary(&mut self) -> Parsed {
        let fault = self.fault("a value is missing");
        let (_, token) = self.tokens.get(self.next).cloned().ok_or(fault)?;
        let here = self.next;
        self.next += 1;
        match token {
            Token::Literal(value) => Ok(Node::Literal(value)),
            Token::Keyword("true") => Ok(Node::Literal(Datum::Bool(true))),
            Token::Keyword("false") => Ok(Node::Literal(Datum::Bool(false))),
            Token::Keyword("null") => Ok(Node::Null),
            Token::Keyword("case") => self.case(),
            Token::Sign("(") => {
                let inner = self.expression()?;
                self.must_sign(")")?;
                Ok(inner)
            }
            Token::Word(word) if self.takes_sign("(") => self.call(here, &word),
            Token::Word(name) | Token::Quoted(name) => Ok(Node::Name(self.place(name))),
            Token::Keyword(_) | Token::Sign(_) => {
                self.next = here;
                Err(self.fault("a value is missing"))
            }
        }
    }

    /// Where a name is among the names.
    fn place(&mut self, name: String) -> usize {
        if let Some(place) = self.names.iter().position(|it| *it == name) {
            return place;
        }
        self.names.push(name);
        self.names.len() - 1
    }

    /// What stands after `case`.
    fn case(&mut self) -> Parsed {
        let mut arms = Vec::new();
        self.must_word("when")?;
        loop {
            let condition = self.expression()?;
            self.must_word("then")?;
            arms.push([condition, self.expression()?]);
            if !self.takes_word("when") {
                break;
            }
        }
        let other = if self.takes_word("else") { self.expression()? } else { Node::Null };
        self.must_word("end")?;
        Ok(Node::Case(arms.into(), other.into()))
    }

    /// Values up to a closing parenthesis.
    fn list(&mut self) -> Result<Vec<Node>, Fault> {
        let mut list = Vec::new();
        if self.takes_sign(")") {
            return Ok(list);
        }
        loop {
            list.push(self.expression()?);
            if self.takes_sign(")") {
                return Ok(list);
            }
            if !self.takes_sign(",") {
                return Err(self.fault(", or ) is missing"));
            }
        }
    }

    /// What stands after the name of a function and the opening parenthesis.
    fn call(&mut self, here: usize, word: &str) -> Parsed {
        let at = self.tokens[here].0;
        let name = word.to_ascii_lowercase();
        let arguments = self.list()?;
        let count = arguments.len();
        let wrong = |wants: &str| Fault::new(at, format!("{name} takes {wants}, and not {count}"));
        match name.as_str() {
            "coalesce" if count == 0 => Err(wrong("at least one value")),
            "coalesce" => Ok(Node::Coalesce(arguments.into())),
            "if" => {
                let [condition, then, other] = <[Node; 3]>::try_from(arguments)
                    .map_err(|_| wrong("a condition and two values"))?;
                Ok(Node::Case([[condition, then]].into(), other.into()))
            }
            _ => {
                let function = functions::find(&name).ok_or_else(|| {
                    let known = functions::names().join(", ");
                    Fault::new(at, format!("there is no function {word}, only {known}"))
                })?;
                if !function.takes.contains(&count) {
                    return Err(wrong(&function.wants()));
                }
                Ok(Node::Call(function, arguments.into()))
            }
        }
    }
}

fn single(mut parts: Vec<Node>, all: fn(Box<[Node]>) -> Node) -> Node {
    match parts.len() {
        1 => parts.remove(0),
        _ => all(parts.into()),
    }
}

fn negated(node: Node, is_not: bool) -> Node {
    if is_not { Node::Not(node.into()) } else { node }
}
