//! The figures of a run: a closed list of names with values, so that medians, ratios, tables and
//! JSON treat them alike.

use std::collections::BTreeMap;

use serde::Serialize;

/// What is measured; the order is that of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Figure {
    /// Copies received per second of the measured part.
    DeliveredPerSecond,
    /// Median time from sending to receiving.
    LatencyP50Ms,
    /// 99th percentile of it.
    LatencyP99Ms,
    /// 99.9th percentile of it.
    LatencyP999Ms,
    /// Copies that never came, or idle connections that were closed.
    Lost,
    /// Part of the copies that never came, of a flood.
    LostPercent,
    /// Messages that the target says it has dropped.
    DroppedByTarget,
    /// 99th percentile of the latency of bystanders before the flood.
    BystanderP99AloneMs,
    /// The same while the flood lasts.
    BystanderP99Ms,
    /// Copies for bystanders that never came.
    BystandersLost,
    /// Copies that came again.
    Duplicates,
    /// Copies that came after a later one of their publisher.
    OutOfOrder,
    /// Times that a publisher wrote off its messages in flight.
    Stalls,
    /// Connections made per second.
    ConnectsPerSecond,
    /// Resident memory of the target per connection.
    KibPerConnection,
    /// Processor time of the target for a connection made, its subscription included.
    TargetCpuMicrosPerConnect,
    /// Processor time of the target for a million copies.
    TargetCpuSecondsPerMillion,
    /// Processors that the target kept busy.
    TargetCpuCores,
    /// Resident memory of the target at the end of the measured part.
    TargetResidentMib,
    /// The most memory that the target has had since it started.
    TargetPeakMib,
    /// Bytes that the target wrote to disk for each byte of a message's payload.
    DiskBytesPerByte,
    /// Processors that the generator kept busy; near 1 it was the bottleneck.
    GeneratorCpuCores,
}

impl Figure {
    /// The name in a table for people.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::DeliveredPerSecond => "delivered msg/s",
            Self::LatencyP50Ms => "latency p50 ms",
            Self::LatencyP99Ms => "latency p99 ms",
            Self::LatencyP999Ms => "latency p99.9 ms",
            Self::Lost => "lost",
            Self::LostPercent => "lost %",
            Self::DroppedByTarget => "dropped, says the target",
            Self::BystanderP99AloneMs => "bystander p99 ms, alone",
            Self::BystanderP99Ms => "bystander p99 ms, in the flood",
            Self::BystandersLost => "lost by bystanders",
            Self::Duplicates => "duplicates",
            Self::OutOfOrder => "out of order",
            Self::Stalls => "stalls",
            Self::ConnectsPerSecond => "connects/s",
            Self::KibPerConnection => "KiB per connection",
            Self::TargetCpuMicrosPerConnect => "target CPU µs per connect",
            Self::TargetCpuSecondsPerMillion => "target CPU s per million",
            Self::TargetCpuCores => "target CPU cores",
            Self::TargetResidentMib => "target resident MiB",
            Self::TargetPeakMib => "target peak MiB",
            Self::DiskBytesPerByte => "disk bytes per byte",
            Self::GeneratorCpuCores => "generator CPU cores",
        }
    }

    /// Faults are added up over rounds, so that one bad round shows; they have no ratio.
    #[must_use]
    pub const fn is_fault_count(self) -> bool {
        matches!(
            self,
            Self::Lost
                | Self::DroppedByTarget
                | Self::BystandersLost
                | Self::Duplicates
                | Self::OutOfOrder
                | Self::Stalls
        )
    }

    const fn decimals(self) -> usize {
        if self.is_fault_count() {
            return 0;
        }
        match self {
            Self::DeliveredPerSecond | Self::ConnectsPerSecond => 0,
            Self::TargetResidentMib | Self::TargetPeakMib | Self::LostPercent => 1,
            Self::TargetCpuMicrosPerConnect => 1,
            Self::LatencyP50Ms | Self::LatencyP99Ms | Self::LatencyP999Ms => 3,
            Self::BystanderP99AloneMs | Self::BystanderP99Ms => 3,
            _ => 2,
        }
    }

    /// A value of this figure with its usual number of decimals.
    #[must_use]
    pub fn format(self, value: f64) -> String {
        format!("{value:.*}", self.decimals())
    }
}

/// The values of one run, or of several combined.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Figures(BTreeMap<Figure, f64>);

impl Figures {
    /// Sets a value; one that is not finite is left out.
    pub fn set(&mut self, figure: Figure, value: f64) {
        if value.is_finite() {
            self.0.insert(figure, value);
        }
    }

    /// The value of a figure, when it was measured.
    #[must_use]
    pub fn get(&self, figure: Figure) -> Option<f64> {
        self.0.get(&figure).copied()
    }

    /// The figures that were measured.
    pub fn measured(&self) -> impl Iterator<Item = Figure> + '_ {
        self.0.keys().copied()
    }

    /// Combines rounds: the median of each figure, the sum of faults.
    #[must_use]
    pub fn combine(rounds: &[Self]) -> Self {
        let mut by_figure: BTreeMap<Figure, Vec<f64>> = BTreeMap::new();
        for round in rounds {
            for (&figure, &value) in &round.0 {
                by_figure.entry(figure).or_default().push(value);
            }
        }
        let mut combined = Self::default();
        for (figure, values) in by_figure {
            let is_sum = figure.is_fault_count();
            combined.set(figure, if is_sum { values.iter().sum() } else { median(values) });
        }
        combined
    }

    /// These figures divided by those of `other`, where both were measured and `other` is not zero.
    #[must_use]
    pub fn ratio(&self, other: &Self) -> Self {
        let mut ratio = Self::default();
        for (&figure, &value) in &self.0 {
            let divisor = other.get(figure).filter(|_| !figure.is_fault_count());
            if let Some(divisor) = divisor.filter(|&divisor| divisor > 0.0) {
                ratio.set(figure, value / divisor);
            }
        }
        ratio
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(rate: f64, lost: f64) -> Figures {
        let mut figures = Figures::default();
        figures.set(Figure::DeliveredPerSecond, rate);
        figures.set(Figure::Lost, lost);
        figures
    }

    #[test]
    fn rounds_combine_to_medians_and_faults_add_up() {
        let rounds = [figures(300.0, 0.0), figures(100.0, 2.0), figures(110.0, 1.0)];
        assert_eq!(Figures::combine(&rounds), figures(110.0, 3.0));
        assert_eq!(Figures::combine(&rounds[..2]), figures(200.0, 2.0));
        assert_eq!(Figures::combine(&[]), Figures::default());
    }

    #[test]
    fn ratios_leave_out_faults_and_divisions_by_zero() {
        let ratio = figures(300.0, 4.0).ratio(&figures(100.0, 2.0));
        assert_eq!(ratio.get(Figure::DeliveredPerSecond), Some(3.0));
        assert_eq!(ratio.get(Figure::Lost), None);
        assert_eq!(figures(1.0, 0.0).ratio(&figures(0.0, 0.0)), Figures::default());
    }

    #[test]
    fn what_is_not_finite_is_not_reported() {
        let mut figures = Figures::default();
        figures.set(Figure::LatencyP50Ms, f64::NAN);
        assert_eq!(figures.measured().count(), 0);
        assert_eq!(Figure::LatencyP50Ms.format(0.12345), "0.123");
    }
}
