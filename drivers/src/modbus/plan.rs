//! Which requests read a set of points: joins points of one area that touch, overlap or lie near
//! each other.
//!
//! Pure. Every point is in exactly one request, no request exceeds what the protocol or the machine
//! takes, and none reaches over a cut that [`Splits`] remembers.

use super::address::Area;
use super::pdu::FILE_REGISTERS_MAX;
use super::splits::Splits;
use std::fmt;

/// A run of bits or registers of one area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    pub(crate) area: Area,
    pub(crate) offset: u16,
    /// How many bits or registers, at least 1.
    pub(crate) count: u16,
}

impl Span {
    /// The offset after the last one, up to 65 536.
    pub(crate) fn end(self) -> u32 {
        u32::from(self.offset) + u32::from(self.count)
    }

    /// The smallest span over both; `None` in two areas, or if it is longer than a count can say.
    pub(crate) fn join(self, other: Self) -> Option<Self> {
        let offset = self.offset.min(other.offset);
        let count = u16::try_from(self.end().max(other.end()) - u32::from(offset)).ok()?;
        (self.area == other.area).then_some(Self { area: self.area, offset, count })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.area.show(self.offset, f)?;
        if self.count > 1 { write!(f, "..={}", self.end() - 1) } else { Ok(()) }
    }
}

/// What a request may look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How many unused registers may be read to join two points; 16 bits count as one register.
    pub(crate) gap_registers: u16,
    /// The most registers of one request.
    pub(crate) registers_max: u16,
    /// The most bits of one request.
    pub(crate) bits_max: u16,
}

impl Limits {
    fn gap(&self, area: Area) -> u32 {
        u32::from(self.gap_registers) * if area.is_bits() { 16 } else { 1 }
    }

    fn count_max(&self, area: Area) -> u16 {
        match area {
            Area::Coil | Area::DiscreteInput => self.bits_max,
            Area::InputRegister | Area::HoldingRegister => self.registers_max,
            Area::File(_) => self.registers_max.min(FILE_REGISTERS_MAX),
            // Each is asked for by itself.
            Area::Fifo | Area::ExceptionStatus => 1,
        }
    }
}

/// Points that have the same span, as indexes into the list of spans that was planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) span: Span,
    pub(crate) members: Vec<usize>,
}

/// One request: its units in the order of their offsets, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) span: Span,
    pub(crate) units: Vec<Unit>,
}

/// The requests that read the spans; each index of `spans` is a member of exactly one unit.
///
/// A span that is longer than the limit gets a request of its own.
pub(crate) fn plan(spans: &[Span], limits: &Limits, splits: &Splits) -> Vec<Request> {
    let mut requests: Vec<Request> = Vec::new();
    for unit in units(spans) {
        if let Some(request) = requests.last_mut()
            && let Some(span) = joined(request, &unit, limits, splits)
        {
            request.span = span;
            request.units.push(unit);
            continue;
        }
        requests.push(Request { span: unit.span, units: vec![unit] });
    }
    requests
}

fn units(spans: &[Span]) -> Vec<Unit> {
    let mut order: Vec<usize> = (0..spans.len()).collect();
    order.sort_by_key(|index| spans[*index]);
    let mut units: Vec<Unit> = Vec::new();
    for index in order {
        match units.last_mut() {
            Some(unit) if unit.span == spans[index] => unit.members.push(index),
            _ => units.push(Unit { span: spans[index], members: vec![index] }),
        }
    }
    units
}

fn joined(request: &Request, unit: &Unit, limits: &Limits, splits: &Splits) -> Option<Span> {
    let span = request.span.join(unit.span)?;
    let gap = u32::from(unit.span.offset).saturating_sub(request.span.end());
    let fits = gap <= limits.gap(span.area) && span.count <= limits.count_max(span.area);
    (fits && !splits.cuts_through(span)).then_some(span)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Area::{Coil, HoldingRegister, InputRegister};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { gap_registers: 8, registers_max: 125, bits_max: 2000 };

    fn span(area: Area, offset: u16, count: u16) -> Span {
        Span { area, offset, count }
    }

    fn shown(spans: &[Span], limits: &Limits, splits: &Splits) -> Vec<String> {
        plan(spans, limits, splits).iter().map(|request| request.span.to_string()).collect()
    }

    #[test]
    fn near_points_share_a_request() {
        let holding = |offset, count| span(HoldingRegister, offset, count);
        for (name, spans, requests) in [
            ("nothing", vec![], vec![]),
            ("one", vec![holding(7, 1)], vec!["holding:7"]),
            ("touching, unsorted", vec![holding(2, 2), holding(0, 2)], vec!["holding:0..=3"]),
            ("overlapping", vec![holding(0, 4), holding(1, 1)], vec!["holding:0..=3"]),
            ("the same twice", vec![holding(3, 1), holding(3, 1)], vec!["holding:3"]),
            ("gap of 8", vec![holding(0, 1), holding(9, 1)], vec!["holding:0..=9"]),
            ("gap of 9", vec![holding(0, 1), holding(10, 1)], vec!["holding:0", "holding:10"]),
            ("gap of 128 bits", vec![span(Coil, 0, 1), span(Coil, 129, 1)], vec!["coil:0..=129"]),
            (
                "gap of 129 bits",
                vec![span(Coil, 0, 1), span(Coil, 130, 1)],
                vec!["coil:0", "coil:130"],
            ),
            (
                "two areas",
                vec![holding(0, 1), span(InputRegister, 1, 1)],
                vec!["input:1", "holding:0"],
            ),
            (
                "files and queues",
                vec![
                    span(Area::File(4), 0, 1),
                    span(Area::File(4), 3, 2),
                    span(Area::File(5), 5, 1),
                    span(Area::Fifo, 6, 1),
                    span(Area::Fifo, 7, 1),
                    span(Area::Fifo, 7, 1),
                ],
                vec!["file:4:0..=4", "file:5:5", "fifo:6", "fifo:7"],
            ),
            (
                "the end of the area",
                vec![holding(65_534, 2), holding(65_530, 1)],
                vec!["holding:65530..=65535"],
            ),
        ] {
            assert_eq!(shown(&spans, &LIMITS, &Splits::default()), requests, "{name}");
        }
    }

    #[test]
    fn a_request_is_full_at_the_limit() {
        let spans: Vec<Span> = (0..126).map(|it| span(HoldingRegister, it, 1)).collect();
        let splits = Splits::default();
        assert_eq!(shown(&spans, &LIMITS, &splits), ["holding:0..=124", "holding:125"]);
        let spans: Vec<Span> = (0..2001).map(|it| span(Coil, it, 1)).collect();
        assert_eq!(shown(&spans, &LIMITS, &splits), ["coil:0..=1999", "coil:2000"]);
        let wide = [span(HoldingRegister, 124, 2), span(HoldingRegister, 0, 124)];
        assert_eq!(shown(&wide, &LIMITS, &splits), ["holding:0..=123", "holding:124..=125"]);
    }

    fn any_span() -> impl Strategy<Value = Span> {
        let areas = [Coil, Area::DiscreteInput, InputRegister, HoldingRegister];
        let place = prop_oneof![0_u16..400, 65_000_u16..65_412];
        (0..4_usize, place, 1_u16..=123).prop_map(move |(area, offset, count)| {
            let area = areas[area];
            span(area, offset, if area.is_bits() { 1 } else { count })
        })
    }

    proptest! {
        #[test]
        fn every_point_once_and_no_request_too_large(
            spans in proptest::collection::vec(any_span(), 0..200),
            cuts in proptest::collection::vec(any_span(), 0..20),
            gap_registers in 0_u16..=124,
        ) {
            let limits = Limits { gap_registers, ..LIMITS };
            let mut splits = Splits::default();
            cuts.into_iter().for_each(|it| splits.cut_before(it));
            let mut seen = vec![0; spans.len()];
            for request in plan(&spans, &limits, &splits) {
                prop_assert!(request.span.count <= limits.count_max(request.span.area));
                prop_assert!(request.units.len() == 1 || !splits.cuts_through(request.span));
                for unit in &request.units {
                    prop_assert_eq!(request.span.join(unit.span), Some(request.span));
                    for member in &unit.members {
                        prop_assert_eq!(spans[*member], unit.span);
                        seen[*member] += 1;
                    }
                }
            }
            prop_assert!(seen.iter().all(|times| *times == 1), "{seen:?}");
        }
    }
}
