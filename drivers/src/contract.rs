//! What every driver must keep, as a check that runs against any of them, real or simulated.
//!
//! A test starts a machine, opens a driver for it, describes its points in a [`Fixture`] and calls
//! [`check`]. The rules say nothing of a protocol. Faults of the network are not covered: they need
//! a machine that can fail on demand, and are the tests of each driver.

use crate::port::{
    Connectivity, Driver, Lost, PointId, PointWrite, ReadError, ReadOutcome, Sample, WriteError,
};
use futures_util::FutureExt as _;
use proto::{Datum, Quality};
use thiserror::Error;

/// The points of the machine that a driver is checked with.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// How many points the driver was opened with.
    pub point_count: u32,
    /// A point that can be written and keeps what was written.
    pub writable: PointId,
    /// Two different values for it, as it will read back.
    pub values: [Datum; 2],
    /// A point that can be read and not written.
    pub read_only: PointId,
    /// A point that the machine does not have.
    pub missing: PointId,
    /// Values that must be refused before anything is sent, with the code of the refusal.
    pub refused: Vec<(PointId, Datum, &'static str)>,
}

/// A rule that the driver broke.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{rule}, but: {found}")]
pub struct Violation {
    /// What a driver must keep.
    pub rule: &'static str,
    /// What this driver did.
    pub found: String,
}

/// Checks a driver that was never connected, against a machine that runs; says which rule it
/// breaks.
pub async fn check(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    unconnected(driver, fixture).await?;
    connected(driver).await?;
    reads(driver, fixture).await?;
    writes(driver, fixture).await?;
    refusals(driver, fixture).await?;
    abandoned(driver, fixture).await
}

async fn unconnected(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    let health = driver.health();
    let is_fresh =
        health.connectivity == Connectivity::Disconnected && health.counters == Default::default();
    keep("a fresh driver is disconnected and has counted nothing", is_fresh, &health)?;
    let outcome = driver.read(&[fixture.read_only]).await;
    let expected = ReadOutcome {
        points: vec![(fixture.read_only, Err(ReadError::ConnectionLost))],
        lost: Some(Lost::NotConnected),
    };
    keep("a read without a connection says so", outcome == expected, &outcome)?;
    let written = driver.write(fixture.writable, &fixture.values[0], false).await;
    let expected = Err(WriteError::Lost(Lost::NotConnected));
    keep("a write without a connection says so", written == expected, &written)
}

async fn connected(driver: &mut dyn Driver) -> Result<(), Violation> {
    for connects in 1..=2 {
        let result = driver.connect().await;
        keep("a machine that runs can be connected to, also again", result.is_ok(), &result)?;
        let health = driver.health();
        let is_counted =
            health.connectivity == Connectivity::Connected && health.counters.connects == connects;
        keep("a connect is counted and shows in health", is_counted, &health)?;
    }
    Ok(())
}

async fn reads(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    let outcome = driver.read(&[]).await;
    let is_empty = outcome.points.is_empty() && outcome.lost.is_none();
    keep("reading nothing is no failure", is_empty, &outcome)?;

    let unknown = PointId(fixture.point_count);
    let good = fixture.read_only;
    let asked = [good, fixture.missing, fixture.writable, unknown, good];
    for _ in 0..2 {
        let before = driver.health().counters;
        let outcome = driver.read(&asked).await;
        let order: Vec<PointId> = outcome.points.iter().map(|(point, _)| *point).collect();
        keep("a read answers each point asked for, in order", order == asked, &outcome)?;
        keep("a bad point loses no connection", outcome.lost.is_none(), &outcome)?;
        for place in [0, 2, 4] {
            let (point, result) = &outcome.points[place];
            let is_good = matches!(result, Ok(Sample { point: it, quality: Quality::Good, .. })
                if it == point);
            keep("a bad point does not fail its neighbours", is_good, &outcome)?;
        }
        let is_refused = matches!(outcome.points[1].1, Err(ReadError::Device { .. }));
        keep("a point that the machine refuses is an error of that point", is_refused, &outcome)?;
        let is_unknown = outcome.points[3].1 == Err(ReadError::UnknownPoint(unknown));
        keep("a point that was not configured is unknown", is_unknown, &outcome)?;
        let after = driver.health().counters;
        let is_counted = after.points_read == before.points_read + 3
            && after.points_failed == before.points_failed + 2;
        keep("points are counted by their result", is_counted, &(before, after))?;
    }
    Ok(())
}

async fn writes(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    for (value, verify) in [(&fixture.values[0], false), (&fixture.values[1], true)] {
        let written = driver.write(fixture.writable, value, verify).await;
        keep("a write returns what it wrote", written.as_ref() == Ok(value), &written)?;
        let outcome = driver.read(&[fixture.writable]).await;
        let found = value_of(&outcome);
        keep("what was written is read", found == Some(value), &outcome)?;
    }
    let value = &fixture.values[0];
    let write = |point, verify| PointWrite { point, value: value.clone(), verify };
    let several = [
        write(fixture.read_only, false),
        write(fixture.writable, true),
        write(PointId(u32::MAX), false),
    ];
    let outcomes = driver.write_all(&several).await;
    let is_each = match outcomes.as_slice() {
        [Err(first), Ok(second), Err(third)] => {
            (first.code(), second, third.code()) == ("read_only", value, "unknown_point")
        }
        _ => false,
    };
    keep("of several writes each has an outcome of its own", is_each, &outcomes)?;
    let outcome = driver.read(&[fixture.writable]).await;
    keep("what was written is read", value_of(&outcome) == Some(value), &outcome)
}

async fn refusals(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    let value = &fixture.values[0];
    let mut refused = vec![
        (fixture.read_only, value.clone(), "read_only"),
        (PointId(fixture.point_count), value.clone(), "unknown_point"),
        (PointId(u32::MAX), value.clone(), "unknown_point"),
    ];
    refused.extend(fixture.refused.iter().cloned());
    for (point, value, code) in &refused {
        let before = driver.health();
        let result = driver.write(*point, value, true).await;
        let found = result.as_ref().err().map(WriteError::code);
        keep("a value that cannot be written is refused", found == Some(*code), &result)?;
        let after = driver.health();
        let is_unsent = after.counters.round_trips == before.counters.round_trips
            && after.connectivity == Connectivity::Connected;
        keep("a refused value is not sent", is_unsent, &(before, after))?;
    }
    Ok(())
}

async fn abandoned(driver: &mut dyn Driver, fixture: &Fixture) -> Result<(), Violation> {
    let _ = driver.read(&[fixture.read_only]).now_or_never();
    let outcome = driver.read(&[fixture.writable]).await;
    let is_safe = outcome.lost.is_some() || value_of(&outcome) == Some(&fixture.values[0]);
    keep("an abandoned read is not the answer to the next", is_safe, &outcome)?;
    let result = driver.connect().await;
    keep("a driver can be connected after an abandoned read", result.is_ok(), &result)?;
    let outcome = driver.read(&[fixture.writable]).await;
    let is_good = value_of(&outcome) == Some(&fixture.values[0]);
    keep("a driver works after an abandoned read", is_good, &outcome)
}

fn value_of(outcome: &ReadOutcome) -> Option<&Datum> {
    let (_, result) = outcome.points.first()?;
    result.as_ref().ok().map(|sample| &sample.value)
}

fn keep(rule: &'static str, is_kept: bool, found: &dyn std::fmt::Debug) -> Result<(), Violation> {
    if is_kept { Ok(()) } else { Err(Violation { rule, found: format!("{found:?}") }) }
}
