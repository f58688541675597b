//! Tables that are played: `<data>/simulator/<file>`, two columns, milliseconds since the start and a number.

use std::path::Path;

/// The largest table, in bytes.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A table, by time.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Table(Vec<(u64, f64)>);

impl Table {
    /// Reads a table of the node.
    pub(super) fn read(dir: &Path, file: &str) -> Result<Self, String> {
        let path = dir.join("simulator").join(file);
        let bytes = std::fs::metadata(&path).map_err(|error| format!("{file}: {error}"))?.len();
        if bytes > BYTES_MAX {
            return Err(format!("{file} has {bytes} bytes, at most {BYTES_MAX} are played"));
        }
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{file}: {error}"))?;
        Self::parse(&text).map_err(|line| format!("{file}, line {line}: it must read `ms,number`"))
    }

    /// Reads the rows, in the order of their times; else the line that is none. A first line of words is a header.
    pub(super) fn parse(text: &str) -> Result<Self, usize> {
        let mut rows: Vec<(u64, f64)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let row = line.split_once(',').and_then(|(ms, value)| {
                let value = value.trim().parse::<f64>().ok().filter(|value| value.is_finite())?;
                Some((ms.trim().parse().ok()?, value))
            });
            match row {
                Some(row) if rows.last().is_none_or(|last| last.0 < row.0) => rows.push(row),
                None if index == 0 || line.trim().is_empty() => {}
                _ => return Err(index + 1),
            }
        }
        if rows.is_empty() { Err(1) } else { Ok(Self(rows)) }
    }

    /// The value at a time: that of the last row until then. After the last row it begins anew.
    pub(super) fn at(&self, elapsed_ms: u64) -> Option<f64> {
        let (last_ms, last) = *self.0.last()?;
        let at = elapsed_ms % (last_ms + 1);
        let after = self.0.partition_point(|(ms, _)| *ms <= at);
        Some(after.checked_sub(1).map_or(last, |index| self.0[index].1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_played_and_then_again() {
        let table = Table::parse("ms,value\n10,1.5\n20,2\n\n30,3\n").unwrap();
        let played: Vec<f64> = [10, 19, 20, 30, 31, 41].map(|ms| table.at(ms).unwrap()).into();
        assert_eq!(played, [1.5, 1.5, 2.0, 3.0, 3.0, 1.5]);
    }

    #[test]
    fn a_line_that_is_no_row_is_named() {
        assert_eq!(Table::parse("1,2\n2,x\n"), Err(2));
        assert_eq!(Table::parse("5,2\n5,3\n"), Err(2));
        assert_eq!(Table::parse("ms,v\n"), Err(1));
        assert_eq!(Table::parse("1,NaN\n"), Err(1));
    }
}
