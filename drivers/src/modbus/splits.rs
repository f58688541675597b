//! What a machine was seen to refuse, so that it is not asked in the same way again.
//!
//! Two facts are kept until the next connect: *cuts*, places that no joined request may reach over,
//! and *refused* spans, single points that the machine does not have. Refused points are asked
//! again, the longest unasked first, a few in each read, so that a list of wrong addresses does not
//! cost a request for each of them in every poll. Once a refused point answers, the machine has
//! changed and everything is forgotten: one that refused while it started is soon read as a whole
//! again. There are at most two cuts for each point.

use super::address::Area;
use super::plan::{Request, Span, Unit};
use crate::port::DeviceError;
use std::collections::{BTreeMap, BTreeSet};

/// The most refused points asked again in one read.
pub(crate) const REFUSED_PROBES_MAX: usize = 16;

/// The memory of one connection.
#[derive(Debug, Default)]
pub(crate) struct Splits {
    cuts: BTreeSet<(Area, u32)>,
    refused: BTreeMap<Span, Refused>,
    turn: u64,
}

#[derive(Debug)]
struct Refused {
    error: DeviceError,
    asked_in_turn: u64,
}

impl Splits {
    /// Whether a joined request over `span` would reach over a cut.
    pub(crate) fn cuts_through(&self, span: Span) -> bool {
        let inside = (span.area, u32::from(span.offset) + 1)..(span.area, span.end());
        self.cuts.range(inside).next().is_some()
    }

    /// Forbids requests to reach from before `span` into it.
    pub(crate) fn cut_before(&mut self, span: Span) {
        self.cuts.insert((span.area, u32::from(span.offset)));
    }

    /// Remembers that the machine refuses `span` even by itself.
    pub(crate) fn refuse(&mut self, span: Span, error: DeviceError) {
        self.cuts.insert((span.area, u32::from(span.offset)));
        self.cuts.insert((span.area, span.end()));
        self.refused.insert(span, Refused { error, asked_in_turn: self.turn });
    }

    /// Forgets that `span` was refused.
    pub(crate) fn accept(&mut self, span: Span) {
        self.refused.remove(&span);
    }

    /// Forgets everything: the machine is not the one that refused.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// How the machine refused `span` the last time, if it did.
    pub(crate) fn refusal(&self, span: Span) -> Option<DeviceError> {
        self.refused.get(&span).map(|refused| refused.error)
    }

    /// Of these refused spans, those to ask again in this read; at most [`REFUSED_PROBES_MAX`].
    pub(crate) fn take_turn(&mut self, mut refused: Vec<Span>) -> Vec<Span> {
        self.turn += 1;
        refused.sort_unstable();
        refused.dedup();
        refused.sort_by_key(|span| self.refused.get(span).map_or(0, |it| it.asked_in_turn));
        refused.truncate(REFUSED_PROBES_MAX);
        refused
    }

    /// Learns from a refused request that was asked again in parts.
    pub(crate) fn learn(&mut self, search: &Search) {
        for (span, error) in &search.refused {
            self.refuse(*span, *error);
        }
        for division in &search.divisions {
            let is_explained = search
                .refused
                .iter()
                .map(|(span, _)| *span)
                .chain(search.unasked.iter().copied())
                .any(|span| division.whole.join(span) == Some(division.whole));
            if !is_explained {
                self.cut_before(division.second);
            }
        }
    }
}

/// What came out of asking for the parts of a refused request.
#[derive(Debug, Default)]
pub(crate) struct Search {
    /// Refused requests and where they were divided.
    divisions: Vec<Division>,
    /// Single spans that are refused by themselves.
    refused: Vec<(Span, DeviceError)>,
    /// Parts that were not asked for, since the search had become too long.
    unasked: Vec<Span>,
}

#[derive(Debug)]
struct Division {
    whole: Span,
    second: Span,
}

impl Search {
    /// Whether any request was divided.
    pub(crate) fn has_divided(&self) -> bool {
        !self.divisions.is_empty()
    }

    /// Notes that a single span is refused.
    pub(crate) fn refuse(&mut self, span: Span, error: DeviceError) {
        self.refused.push((span, error));
    }

    /// Notes that a part was not asked for.
    pub(crate) fn skip(&mut self, span: Span) {
        self.unasked.push(span);
    }

    /// Divides a refused request in two, at its widest gap, or else in the middle; a request of one
    /// unit cannot be divided and comes back.
    pub(crate) fn divide(&mut self, request: Request) -> Result<(Request, Request), Request> {
        let middle = division(&request.units);
        let mut first = request.units;
        let second = first.split_off(middle);
        match (request_over(first), request_over(second)) {
            (Some(first), Some(second)) => {
                self.divisions.push(Division { whole: request.span, second: second.span });
                Ok((first, second))
            }
            (Some(whole), None) | (None, Some(whole)) => Err(whole),
            (None, None) => Err(Request { span: request.span, units: Vec::new() }),
        }
    }
}

/// The index of the unit that begins the second part.
fn division(units: &[Unit]) -> usize {
    let mut widest = (0, units.len() / 2);
    let mut end = u32::MAX;
    for (index, unit) in units.iter().enumerate() {
        let gap = u32::from(unit.span.offset).saturating_sub(end);
        if gap > widest.0 {
            widest = (gap, index);
        }
        end = if end == u32::MAX { unit.span.end() } else { end.max(unit.span.end()) };
    }
    widest.1
}

fn request_over(units: Vec<Unit>) -> Option<Request> {
    let first = units.first()?.span;
    let span = units.iter().try_fold(first, |span, unit| span.join(unit.span))?;
    Some(Request { span, units })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modbus::plan::{Limits, plan};

    const LIMITS: Limits = Limits { gap_registers: 8, registers_max: 125, bits_max: 2000 };

    fn span(offset: u16, count: u16) -> Span {
        Span { area: Area::HoldingRegister, offset, count }
    }

    /// Reads spans from a machine that refuses requests as `refuses` says; returns the requests.
    fn read(splits: &mut Splits, spans: &[Span], refuses: impl Fn(Span) -> bool) -> Vec<String> {
        let mut asked = Vec::new();
        for request in plan(spans, &LIMITS, splits) {
            let mut search = Search::default();
            let mut rest = vec![request];
            while let Some(request) = rest.pop() {
                asked.push(request.span.to_string());
                if !refuses(request.span) {
                    continue;
                }
                match search.divide(request) {
                    Ok((first, second)) => rest.extend([second, first]),
                    Err(single) => search.refuse(single.span, DeviceError::IllegalAddress),
                }
            }
            splits.learn(&search);
        }
        asked
    }

    #[test]
    fn a_bad_point_is_asked_alone_ever_after() {
        let mut splits = Splits::default();
        let spans: Vec<Span> = (0..8).map(|it| span(it, 1)).collect();
        let refuses = |it: Span| it.offset <= 5 && it.end() > 5;
        let first = read(&mut splits, &spans, refuses);
        assert!(first.len() > 3);
        assert_eq!(splits.refusal(span(5, 1)), Some(DeviceError::IllegalAddress));
        let second = read(&mut splits, &spans, refuses);
        assert_eq!(second, ["holding:0..=4", "holding:5", "holding:6..=7"]);
    }

    #[test]
    fn a_forbidden_gap_is_not_read_again() {
        let mut splits = Splits::default();
        let spans = [span(0, 2), span(2, 1), span(6, 2)];
        let refuses = |it: Span| it.offset <= 4 && it.end() > 4;
        let first = read(&mut splits, &spans, refuses);
        assert_eq!(first, ["holding:0..=7", "holding:0..=2", "holding:6..=7"]);
        assert_eq!(read(&mut splits, &spans, refuses), ["holding:0..=2", "holding:6..=7"]);
    }

    #[test]
    fn a_machine_that_takes_short_requests_gets_short_ones() {
        let mut splits = Splits::default();
        let spans: Vec<Span> = (0..16).map(|it| span(it, 1)).collect();
        let refuses = |it: Span| it.count > 4;
        read(&mut splits, &spans, refuses);
        let second = read(&mut splits, &spans, refuses);
        assert_eq!(second, ["holding:0..=3", "holding:4..=7", "holding:8..=11", "holding:12..=15"]);
    }

    #[test]
    fn what_was_not_asked_explains_a_refusal() {
        let mut splits = Splits::default();
        let mut search = Search::default();
        let request = plan(&[span(0, 1), span(1, 1)], &LIMITS, &splits).remove(0);
        let (_, second) = search.divide(request).unwrap();
        search.skip(second.span);
        splits.learn(&search);
        assert!(!splits.cuts_through(span(0, 2)));
    }

    #[test]
    fn refused_points_take_turns() {
        let mut splits = Splits::default();
        let spans: Vec<Span> = (0..20).map(|it| span(it, 1)).collect();
        spans.iter().for_each(|it| splits.refuse(*it, DeviceError::IllegalAddress));
        let first = splits.take_turn(spans.clone());
        assert_eq!(first.len(), REFUSED_PROBES_MAX);
        first.iter().for_each(|it| splits.refuse(*it, DeviceError::IllegalAddress));
        let second = splits.take_turn(spans.clone());
        let unasked: Vec<&Span> = spans.iter().filter(|it| !first.contains(it)).collect();
        assert_eq!(unasked.len(), 4);
        assert!(unasked.iter().all(|it| second.contains(it)));
    }
}
