//! A latency histogram with fixed buckets.
//!
//! Up to 128 ns each value has its bucket; above, every power of two is cut into 64 buckets, so a
//! quantile is at most 1.6 % above the truth. Recording is a shift and an increment, memory is 30
//! KiB, any `u64` fits. It keeps no sums: means of latencies mislead.

const SUB_BUCKET_BITS: u32 = 6;
const SUB_BUCKETS: usize = 1 << SUB_BUCKET_BITS;
const LINEAR: usize = 2 * SUB_BUCKETS;
const OCTAVES: usize = 57;
const BUCKETS: usize = LINEAR + OCTAVES * SUB_BUCKETS;

/// Counts of values in nanoseconds.
#[derive(Debug, Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0 }
    }
}

impl Histogram {
    /// Adds one value.
    pub fn record(&mut self, value_ns: u64) {
        self.counts[bucket(value_ns)] += 1;
        self.count += 1;
    }

    /// Values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The smallest recorded bucket's upper end that `share` (0 to 1) of the values do not exceed;
    /// nothing when empty.
    #[must_use]
    pub fn quantile_ns(&self, share: f64) -> Option<u64> {
        if self.count == 0 {
            return None;
        }
        let rank = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count);
        let mut seen = 0;
        for (index, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Some(highest(index));
            }
        }
        None
    }
}

fn bucket(value: u64) -> usize {
    if value < LINEAR as u64 {
        return value as usize;
    }
    let shift = (u64::BITS - 1 - value.leading_zeros()) - SUB_BUCKET_BITS;
    let sub = (value >> shift) as usize - SUB_BUCKETS;
    LINEAR + (shift as usize - 1) * SUB_BUCKETS + sub
}

/// The largest value of a bucket.
fn highest(index: usize) -> u64 {
    if index < LINEAR {
        return index as u64;
    }
    let shift = (index - LINEAR) / SUB_BUCKETS + 1;
    let sub = (index - LINEAR) % SUB_BUCKETS + SUB_BUCKETS;
    let lowest = (sub as u64) << shift;
    lowest + ((1_u64 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_within_the_stated_error() {
        let mut values: Vec<u64> = (0..64).map(|bit| 1_u64 << bit).collect();
        values.extend((0..64).map(|bit| (1_u64 << bit) - 1));
        values.extend((0..10_000).map(|i| i * 977));
        values.push(u64::MAX);
        for value in values {
            let index = bucket(value);
            let top = highest(index);
            assert!(top >= value, "{value} above {top}");
            assert!(top - value <= value / 64, "{value} far below {top}");
            assert!(index == 0 || highest(index - 1) < value, "{value} fits a lower bucket");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::default();
        (1..=1000).rev().for_each(|value| histogram.record(value * 1000));
        for (share, exact) in [(0.5, 500_000), (0.99, 990_000), (0.999, 999_000), (1.0, 1_000_000)]
        {
            let found = histogram.quantile_ns(share).unwrap();
            assert!(found >= exact && found <= exact + exact / 60, "{share}: {found}");
        }
        assert_eq!(histogram.count(), 1000);
    }

    #[test]
    fn an_empty_histogram_has_no_quantile_and_one_value_is_every_quantile() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ns(0.5), None);
        histogram.record(7);
        assert_eq!(histogram.quantile_ns(0.0), Some(7));
        assert_eq!(histogram.quantile_ns(1.0), Some(7));
    }
}
