//! Decision records: `docs/decisions/0001-short-name.md`, numbered without gaps, never renumbered.
//! `README.md` beside them is their index.

use super::Violation;

/// What is wrong with the names of the records.
pub fn names(names: &[String]) -> Vec<Violation> {
    let mut names: Vec<&String> = names.iter().filter(|name| *name != "README.md").collect();
    names.sort();
    let mut violations = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let expected = format!("{:04}-", index + 1);
        let file = format!("docs/decisions/{name}");
        let rest = name.strip_prefix(&expected).and_then(|rest| rest.strip_suffix(".md"));
        if !rest.is_some_and(is_short_name) {
            let what = format!("expected {expected}<short-name>.md");
            violations.push(Violation::new(&file, 0, what));
        }
    }
    if names.is_empty() {
        violations.push(Violation::new("docs/decisions", 0, "there is no decision record"));
    }
    violations
}

fn is_short_name(text: &str) -> bool {
    let is_allowed = |byte: u8| byte == b'-' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !text.is_empty() && text.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_numbered_without_gaps() {
        let wrong =
            |list: &[&str]| names(&list.iter().map(ToString::to_string).collect::<Vec<_>>()).len();
        assert_eq!(wrong(&["README.md", "0002-b.md", "0001-own-broker-core.md"]), 0);
        assert_eq!(wrong(&["0001-a.md", "0003-b.md"]), 1);
        assert_eq!(wrong(&["0001-a.md", "0001-b.md"]), 1);
        assert_eq!(wrong(&["notes.md"]), 1);
        assert_eq!(wrong(&["0001-A.md"]), 1);
        assert_eq!(wrong(&[]), 1);
    }
}
