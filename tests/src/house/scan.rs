//! Rust text with its comments and literals told apart from its code.
//!
//! Not a parser: it knows comments (nested), strings (escaped, raw, bytes), characters and lifetimes,
//! which is what a rule needs in order not to take a word in a comment for a call. Line breaks are
//! kept, so that positions in the code are positions in the file.

/// A string literal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Counted from 1.
    pub line: usize,
    /// Between the quotes, as written.
    pub text: String,
}

/// What [`scan`] tells apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned {
    /// The text with comments and the insides of literals blanked.
    pub code: String,
    /// The comments alone, everything else blanked.
    pub comments: String,
    /// The string literals in order.
    pub literals: Vec<Literal>,
}

/// Tells code, comments and literals apart.
pub fn scan(text: &str) -> Scanned {
    let mut scanner = Scanner { rest: text, line: 1, out: Scanned::default() };
    while !scanner.rest.is_empty() {
        scanner.step();
    }
    scanner.out
}

/// Where a piece of text goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Code,
    Comment,
    Inside,
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    out: Scanned,
}

impl Scanner<'_> {
    fn step(&mut self) {
        let rest = self.rest;
        if rest.starts_with("//") {
            self.take(rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
        } else if rest.starts_with("/*") {
            self.take(block_comment(rest), Kind::Comment);
        } else if let Some(hashes) = raw_string(rest) {
            let open = rest.find('"').map_or(0, |quote| quote + 1);
            let close = format!("\"{}", "#".repeat(hashes));
            let inside = rest[open..].find(&close).unwrap_or(rest.len() - open);
            self.literal(open, inside, close.len());
        } else if let Some(inside) = rest.strip_prefix('"') {
            self.literal(1, escaped(inside, '"'), 1);
        } else if let Some(inside) = character(rest) {
            self.take(1, Kind::Code);
            self.take(inside, Kind::Inside);
            self.take(1, Kind::Code);
        } else {
            self.take(word(rest), Kind::Code);
        }
    }

    fn literal(&mut self, open: usize, inside: usize, close: usize) {
        let text = self.rest[open..open + inside].to_owned();
        self.out.literals.push(Literal { line: self.line, text });
        self.take(open, Kind::Code);
        self.take(inside, Kind::Inside);
        self.take(close.min(self.rest.len()), Kind::Code);
    }

    fn take(&mut self, bytes: usize, kind: Kind) {
        let (piece, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        for char in piece.chars() {
            let blank = if char == '\n' { '\n' } else { ' ' };
            self.line += usize::from(char == '\n');
            self.out.code.push(if kind == Kind::Code { char } else { blank });
            self.out.comments.push(if kind == Kind::Comment { char } else { blank });
        }
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The number of hashes, if a raw string starts here.
fn raw_string(text: &str) -> Option<usize> {
    let after = ["br", "cr", "r"].iter().find_map(|prefix| text.strip_prefix(prefix))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// How far it is to the closing quote.
fn escaped(text: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, char) in text.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            char if char == quote => return at,
            _ => {}
        }
    }
    text.len()
}

/// The length of what is between the quotes, if this is a character and no lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let first = inside.chars().next()?;
    if first == '\\' {
        return Some(escaped(inside, '\''));
    }
    inside[first.len_utf8()..].starts_with('\'').then(|| first.len_utf8())
}

/// A whole word or number, so that the `r` of `for"` starts no raw string, or one other character.
fn word(text: &str) -> usize {
    let is_word = |char: char| char.is_alphanumeric() || char == '_';
    let length = text.find(|char| !is_word(char)).unwrap_or(text.len());
    // `b"x"` and `c"x"` leave the quote to the next step.
    length.max(text.chars().next().map_or(1, char::len_utf8)).min(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<String> {
        scan(text).literals.into_iter().map(|literal| literal.text).collect()
    }

    #[test]
    fn comments_and_literals_leave_the_code() {
        let scanned = scan("let a = \"x // y\"; // \"z\"\n/* b /* c */ */ fn f() {}");
        assert_eq!(scanned.code, "let a = \"      \";       \n                fn f() {}");
        assert_eq!(scanned.comments.trim_start(), "// \"z\"\n/* b /* c */ */          ");
        assert_eq!(scanned.literals, [Literal { line: 1, text: "x // y".to_owned() }]);
    }

    #[test]
    fn every_kind_of_string_is_known() {
        assert_eq!(texts(r#"f("a\"b", b"c", 'd', '"', '\'')"#), ["a\\\"b", "c"]);
        assert_eq!(texts("r\"a\\\" r#\"b\"c\"# br##\"d\"##"), ["a\\", "b\"c", "d"]);
        assert_eq!(texts("fn f<'a>(x: &'a str) -> &'a str { \"y\" }"), ["y"]);
        assert_eq!(texts("\"left open"), ["left open"]);
    }

    #[test]
    fn positions_stay() {
        let text = "//! a\n\nconst A: &str = \"b\nc\";\nconst D: char = '\\u{e9}';\n";
        let scanned = scan(text);
        assert_eq!(scanned.code.lines().count(), text.lines().count());
        assert_eq!(scanned.literals[0].line, 3);
        assert!(scanned.code.lines().nth(4).unwrap().starts_with("const D"));
    }
}
