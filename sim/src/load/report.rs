//! The result of a load as a table for people (which is Markdown, too) and as JSON.

use std::fmt::Write as _;

use super::compare::Outcome;
use super::figures::Figure;
use crate::table::markdown;

/// The generator runs on one thread; above this share of it, it limits the result.
const GENERATOR_CORES_BUSY: f64 = 0.95;

/// All outcomes as one table, with a line for everything a reader must know to trust it.
#[must_use]
pub fn table(outcomes: &[Outcome]) -> String {
    let mut text = String::new();
    for outcome in outcomes {
        let rounds = match outcome.rounds {
            1 => String::new(),
            rounds => format!(" (median of {rounds} rounds)"),
        };
        let _ = writeln!(text, "{}{rounds}\n", outcome.title);
        let mut rows = vec![header(outcome)];
        for figure in figures_of(outcome) {
            rows.push(row(outcome, figure));
        }
        text.push_str(&markdown(&rows, 1));
        write_notes(&mut text, outcome);
        text.push('\n');
    }
    text
}

/// All outcomes as one JSON document.
#[must_use]
pub fn json(outcomes: &[Outcome]) -> serde_json::Value {
    serde_json::json!({ "cases": outcomes })
}

fn figures_of(outcome: &Outcome) -> Vec<Figure> {
    let mut figures: Vec<Figure> =
        outcome.columns.iter().flat_map(|column| column.figures.measured()).collect();
    figures.sort_unstable();
    figures.dedup();
    figures
}

fn header(outcome: &Outcome) -> Vec<String> {
    let mut cells = vec!["figure".to_owned()];
    cells.extend(outcome.columns.iter().map(|column| column.name.clone()));
    if outcome.ratio.is_some() {
        cells.push("ratio".to_owned());
    }
    cells
}

fn row(outcome: &Outcome, figure: Figure) -> Vec<String> {
    let mut cells = vec![figure.label().to_owned()];
    for column in &outcome.columns {
        let value = column.figures.get(figure);
        cells.push(value.map_or_else(|| "-".to_owned(), |value| figure.format(value)));
    }
    if let Some(ratio) = &outcome.ratio {
        let value = ratio.get(figure);
        cells.push(value.map_or_else(String::new, |value| format!("{value:.2}")));
    }
    cells
}

fn write_notes(text: &mut String, outcome: &Outcome) {
    for column in &outcome.columns {
        let name = &column.name;
        for failure in &column.failures {
            let _ = writeln!(text, "\n{name}: {failure}");
        }
        let busy = column.figures.get(Figure::GeneratorCpuCores).unwrap_or(0.0);
        if busy > GENERATOR_CORES_BUSY {
            let _ = writeln!(text, "\n{name}: the generator was the bottleneck");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::Column;
    use super::super::figures::Figures;
    use super::*;

    fn outcome() -> Outcome {
        let column = |name: &str, rate, failures: &[&str]| {
            let mut figures = Figures::default();
            figures.set(Figure::DeliveredPerSecond, rate);
            let failures = failures.iter().map(|&it| it.to_owned()).collect();
            Column { name: name.to_owned(), figures, rounds: Vec::new(), failures }
        };
        let mut ours = column("manifold", 3000.0, &[]);
        ours.figures.set(Figure::GeneratorCpuCores, 0.99);
        let theirs = column("rumqttd", 1500.0, &["round 2: it ended"]);
        let ratio = Some(ours.figures.ratio(&theirs.figures));
        Outcome { title: "pairs 2".into(), rounds: 3, columns: vec![ours, theirs], ratio }
    }

    #[test]
    fn the_table_shows_both_columns_the_ratio_and_what_went_wrong() {
        let expected = "\
pairs 2 (median of 3 rounds)

| figure              | manifold | rumqttd | ratio |
|---------------------|---------:|--------:|------:|
| delivered msg/s     |     3000 |    1500 |  2.00 |
| generator CPU cores |     0.99 |       - |       |

manifold: the generator was the bottleneck

rumqttd: round 2: it ended

";
        assert_eq!(table(&[outcome()]), expected);
    }

    #[test]
    fn the_json_has_the_figures_by_name() {
        let json = json(&[outcome()]);
        let columns = &json["cases"][0]["columns"];
        assert_eq!(columns[0]["figures"]["delivered_per_second"], 3000.0);
        assert_eq!(columns[1]["failures"][0], "round 2: it ended");
        assert_eq!(json["cases"][0]["ratio"]["delivered_per_second"], 2.0);
    }
}
