//! Cases against one or two brokers, in turn.
//!
//! With two brokers the rounds alternate (A B A B …), so that a machine which slows down slows
//! both. Brokers that are started here are fresh for every run. A broker that fails a run does not
//! end the comparison, its failure is part of the result; one that cannot be reached at all does.

use anyhow::Result;
use serde::Serialize;

use super::case::{Case, Shape};
use super::connection::Unreachable;
use super::figures::Figures;
use super::run::run;
use super::target::Launch;

/// What one broker did in one case.
#[derive(Debug, Clone, Serialize)]
pub struct Column {
    /// The name of the broker.
    pub name: String,
    /// Medians over the rounds that succeeded, sums of faults.
    pub figures: Figures,
    /// The rounds that succeeded.
    pub rounds: Vec<Figures>,
    /// Why the others did not.
    pub failures: Vec<String>,
}

/// What all brokers did in one case.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// The case in one line.
    pub title: String,
    /// Runs on each broker.
    pub rounds: usize,
    /// The target, then what it is compared with.
    pub columns: Vec<Column>,
    /// The first column divided by the second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Figures>,
}

/// The standard set: what `docs/benchmarks.md` quotes.
#[must_use]
pub fn suite(template: &Case) -> Vec<Case> {
    let standard = [(Shape::Pairs, 0), (Shape::Pairs, 1), (Shape::FanIn, 0), (Shape::FanOut, 0)];
    let case = |(shape, qos)| {
        let usual = Case::usual(shape);
        Case { shape, qos, count: usual.count, window: usual.window, ..template.clone() }
    };
    standard.into_iter().map(case).collect()
}

/// Runs one case `rounds` times on each of `launches`.
pub async fn compare(case: &Case, launches: &[Launch], rounds: usize) -> Result<Outcome> {
    let mut columns: Vec<Column> = launches
        .iter()
        .map(|launch| Column {
            name: launch.name().to_owned(),
            figures: Figures::default(),
            rounds: Vec::new(),
            failures: Vec::new(),
        })
        .collect();
    for round in 1..=rounds {
        for (launch, column) in launches.iter().zip(&mut columns) {
            tracing::debug!(round, broker = column.name, case = case.title(), "load round");
            match run_on(case, launch).await {
                Ok(figures) => column.rounds.push(figures),
                Err(error) if error.is::<Unreachable>() => return Err(error),
                Err(error) => column.failures.push(format!("round {round}: {error:#}")),
            }
        }
    }
    for column in &mut columns {
        column.figures = Figures::combine(&column.rounds);
    }
    let ratio = match &columns[..] {
        [ours, theirs] => Some(ours.figures.ratio(&theirs.figures)),
        _ => None,
    };
    Ok(Outcome { title: case.title(), rounds, columns, ratio })
}

async fn run_on(case: &Case, launch: &Launch) -> Result<Figures> {
    let target = launch.start().await?;
    let figures = run(case, &target.endpoint, target.pid).await;
    target.stop().await?;
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_suite_takes_size_and_window_from_the_shape_and_the_rest_from_the_template() {
        let template = Case { payload_bytes: 99, ..Case::usual(Shape::Idle) };
        let cases = suite(&template);
        assert_eq!(cases.len(), 4);
        for case in &cases {
            case.check().unwrap();
            assert_eq!(case.payload_bytes, 99);
        }
        assert_eq!(cases[3].title(), "fan-out 200, QoS 0, 99 B, window 100");
    }
}
