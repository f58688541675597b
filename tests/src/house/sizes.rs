//! How long files, functions and lines may be: one screen, one thought.
//!
//! Files aim at 150 to 300 lines and end at 500, functions end at 70, lines at 120 characters. Exceptions
//! are named here with their reason; one that is no longer needed breaks the rule, too.

use super::Violation;
use super::source::{Source, item_end, line_of};

/// The most lines of a file.
pub const FILE_LINES_MAX: usize = 500;

/// The lines that a file aims to stay below.
pub const FILE_LINES_AIM: usize = 300;

/// The most lines of a function, its signature and closing brace included.
pub const FUNCTION_LINES_MAX: usize = 70;

/// The most characters of a line.
pub const LINE_CHARS_MAX: usize = 120;

/// Files that may be longer, and why.
const LONG_FILES: &[(&str, &str)] = &[];

/// Functions that may be longer, as `file: name`, and why.
const LONG_FUNCTIONS: &[(&str, &str)] = &[];

/// Files whose lines may be longer, and why.
const WIDE_FILES: &[(&str, &str)] = &[];

/// Files over the limit.
pub fn files(sources: &[Source]) -> Vec<Violation> {
    let mut violations =
        unneeded(LONG_FILES, sources, |source| source.text.lines().count() > FILE_LINES_MAX);
    for source in sources.iter().filter(|source| !is_named(LONG_FILES, &source.path)) {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            let what = format!("{lines} lines, at most {FILE_LINES_MAX}");
            violations.push(Violation::new(&source.path, 0, what));
        }
    }
    violations
}

/// Functions over the limit.
pub fn functions(sources: &[Source]) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut needed = Vec::new();
    for source in sources {
        for function in functions_of(&source.scanned.code) {
            if function.lines <= FUNCTION_LINES_MAX {
                continue;
            }
            let name = format!("{}: {}", source.path, function.name);
            if !is_named(LONG_FUNCTIONS, &name) {
                let Function { name, lines, .. } = &function;
                let what = format!("`{name}` has {lines} lines, at most {FUNCTION_LINES_MAX}");
                violations.push(Violation::new(&source.path, function.line, what));
            }
            needed.push(name);
        }
    }
    for (name, _) in LONG_FUNCTIONS.iter().filter(|(name, _)| !needed.iter().any(|it| it == name)) {
        violations.push(Violation::new(name, 0, "the exception is not needed"));
    }
    violations
}

/// Lines over the limit.
pub fn lines(sources: &[Source]) -> Vec<Violation> {
    let wide = |source: &Source| source.text.lines().any(|line| width(line) > LINE_CHARS_MAX);
    let mut violations = unneeded(WIDE_FILES, sources, wide);
    for source in sources.iter().filter(|source| !is_named(WIDE_FILES, &source.path)) {
        for (index, line) in source.text.lines().enumerate() {
            if width(line) > LINE_CHARS_MAX {
                let what = format!("{} characters, at most {LINE_CHARS_MAX}", width(line));
                violations.push(Violation::new(&source.path, index + 1, what));
            }
        }
    }
    violations
}

/// How many files there are, and how many are above the aim: a line to print.
pub fn aim(sources: &[Source]) -> String {
    let is_above = |source: &&Source| source.text.lines().count() > FILE_LINES_AIM;
    let above: Vec<&str> = sources.iter().filter(is_above).map(|it| it.path.as_str()).collect();
    let files = sources.len();
    format!(
        "{} of {files} files are above the aim of {FILE_LINES_AIM} lines: {above:?}",
        above.len()
    )
}

fn width(line: &str) -> usize {
    line.chars().count()
}

fn is_named(exceptions: &[(&str, &str)], name: &str) -> bool {
    exceptions.iter().any(|(exception, _)| *exception == name)
}

fn unneeded(
    exceptions: &[(&str, &str)],
    sources: &[Source],
    is_needed: impl Fn(&Source) -> bool,
) -> Vec<Violation> {
    let is_unneeded = |name: &str| !sources.iter().any(|it| it.path == name && is_needed(it));
    let names = exceptions.iter().map(|(name, _)| *name).filter(|name| is_unneeded(name));
    names.map(|name| Violation::new(name, 0, "the exception is not needed")).collect()
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
struct Function {
    name: String,
    line: usize,
    lines: usize,
}

fn functions_of(code: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let is_word = at > 0 && code.as_bytes()[at - 1].is_ascii_alphanumeric();
        let name: String = code[at + 3..]
            .chars()
            .take_while(|char| char.is_alphanumeric() || *char == '_')
            .collect();
        // `fn (` is the type of a pointer.
        if is_word || name.is_empty() {
            continue;
        }
        let (first, last) = (line_of(code, at), line_of(code, item_end(code, at)));
        functions.push(Function { name, line: first, lines: last - first + 1 });
    }
    functions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(lines: usize) -> String {
        format!("//! A.\n\nfn long(a: [u8; 2]) {{\n{}}}\n", "    a();\n".repeat(lines - 2))
    }

    #[test]
    fn functions_are_measured_from_signature_to_brace() {
        let text = "fn a(\n    x: u8,\n) -> u8 {\n    { x }\n}\nfn b();\ntype C = fn(u8);\n";
        let expected = [("a", 1, 5), ("b", 6, 1)];
        let expected =
            expected.map(|(name, line, lines)| Function { name: name.to_owned(), line, lines });
        assert_eq!(functions_of(text), expected);
    }

    #[test]
    fn what_is_too_long_is_found() {
        let limit = Source::new("proto/src/a.rs", &function(FUNCTION_LINES_MAX));
        assert_eq!(functions(&[limit]), []);
        let above = Source::new("proto/src/a.rs", &function(FUNCTION_LINES_MAX + 1));
        assert_eq!(functions(std::slice::from_ref(&above))[0].line, 3);
        let long = Source::new("proto/src/a.rs", &function(FILE_LINES_MAX));
        assert!(files(&[long]).iter().any(|it| it.what.starts_with("502 lines")));
        assert!(
            !files(std::slice::from_ref(&above)).iter().any(|it| it.what.contains("lines, at"))
        );
        let wide =
            Source::new("proto/src/a.rs", &format!("//! {}\n", "é".repeat(LINE_CHARS_MAX - 3)));
        let expected = format!("{} characters", LINE_CHARS_MAX + 1);
        assert!(lines(&[wide]).iter().any(|it| it.what.starts_with(&expected)));
    }
}
