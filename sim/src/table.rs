//! Tables with aligned columns that are Markdown, too, so that a report can be pasted as it is.

use std::fmt::Write as _;

/// Writes `rows`, the first of them the header; columns from `numbers_from` on are set to the
/// right.
///
/// All rows have as many cells as the header.
pub(crate) fn markdown(rows: &[Vec<String>], numbers_from: usize) -> String {
    let mut text = String::new();
    let Some(header) = rows.first() else {
        return text;
    };
    let widths: Vec<usize> = (0..header.len())
        .map(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0).max(3))
        .collect();
    for (number, row) in rows.iter().enumerate() {
        text.push('|');
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let _ = match column < numbers_from {
                true => write!(text, " {cell:<width$} |"),
                false => write!(text, " {cell:>width$} |"),
            };
        }
        text.push('\n');
        if number == 0 {
            write_rule(&mut text, &widths, numbers_from);
        }
    }
    text
}

fn write_rule(text: &mut String, widths: &[usize], numbers_from: usize) {
    text.push('|');
    for (column, width) in widths.iter().enumerate() {
        text.push_str(&"-".repeat(width + 1));
        text.push_str(if column < numbers_from { "-|" } else { ":|" });
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_set_to_the_left_and_numbers_to_the_right() {
        let rows = [["figure", "a"], ["p50", "12345"], ["°C", "1"]];
        let rows: Vec<Vec<String>> =
            rows.iter().map(|row| row.map(str::to_owned).to_vec()).collect();
        let expected = "\
| figure |     a |
|--------|------:|
| p50    | 12345 |
| °C     |     1 |
";
        assert_eq!(markdown(&rows, 1), expected);
        assert_eq!(markdown(&[], 1), "");
    }
}
