//! Carries a plan out: asks, decodes, and finds the bad points in a request that is refused as a
//! whole.
//!
//! A joined request that the machine refuses for its address or length is asked again in halves,
//! down to single points, so that a bad point does not fail its neighbours; what is learned is kept
//! in [`Splits`]. The search is bounded for each read: the points it did not reach carry the
//! refusal of their part and are searched the next time.

use super::pdu::Answer;
use super::plan::{Limits, Request, Span, plan};
use super::point::Point;
use super::session::{RequestError, Session};
use super::splits::{Search, Splits};
use crate::port::{DeviceError, Lost, PointId, ReadError, ReadOutcome, Sample};
use proto::Quality;

/// The most requests of one read beyond its plan, spent on searching for bad points.
pub(crate) const SEARCH_REQUESTS_MAX: u32 = 64;

/// One read under way.
pub(crate) struct Reading<'a> {
    session: &'a mut Session,
    splits: &'a mut Splits,
    /// The points asked for that exist, with their place in the outcome.
    points: Vec<(usize, &'a Point)>,
    outcome: Vec<(PointId, Option<Result<Sample, ReadError>>)>,
    search_requests_left: u32,
}

impl<'a> Reading<'a> {
    /// A read of `asked`, of the points of a driver.
    pub(crate) fn new(
        session: &'a mut Session,
        splits: &'a mut Splits,
        points: &'a [Point],
        asked: &[PointId],
    ) -> Self {
        let mut known = Vec::with_capacity(asked.len());
        let mut outcome = Vec::with_capacity(asked.len());
        for (place, id) in asked.iter().enumerate() {
            match points.get(id.index()) {
                Some(point) => {
                    known.push((place, point));
                    outcome.push((*id, None));
                }
                None => outcome.push((*id, Some(Err(ReadError::UnknownPoint(*id))))),
            }
        }
        let search_requests_left = SEARCH_REQUESTS_MAX;
        Self { session, splits, points: known, outcome, search_requests_left }
    }

    /// Reads and counts.
    pub(crate) async fn run(mut self, limits: &Limits) -> ReadOutcome {
        let lost = self.read_all(limits).await.err();
        let mut points = Vec::with_capacity(self.outcome.len());
        for (id, result) in self.outcome {
            let result = result.unwrap_or(Err(ReadError::ConnectionLost));
            match result {
                Ok(_) => self.session.counters.points_read += 1,
                Err(_) => self.session.counters.points_failed += 1,
            }
            points.push((id, result));
        }
        ReadOutcome { points, lost }
    }

    async fn read_all(&mut self, limits: &Limits) -> Result<(), Lost> {
        let spans: Vec<Span> = self.points.iter().map(|(_, point)| point.span()).collect();
        let mut regular = Vec::new();
        let mut refused = Vec::new();
        for (index, span) in spans.iter().enumerate() {
            match self.splits.refusal(*span) {
                Some(_) => refused.push(index),
                None => regular.push(index),
            }
        }
        let regular_spans: Vec<Span> = regular.iter().map(|index| spans[*index]).collect();
        for mut request in plan(&regular_spans, limits, self.splits) {
            for unit in &mut request.units {
                unit.members.iter_mut().for_each(|member| *member = regular[*member]);
            }
            self.ask(request).await?;
        }
        self.probe_refused(&spans, &refused).await
    }

    /// Asks for a request of the plan, and for its parts if it is refused.
    async fn ask(&mut self, request: Request) -> Result<(), Lost> {
        let error = match self.ask_once(&request).await? {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let mut search = Search::default();
        let mut parts = vec![(request, error)];
        while let Some((refused, error)) = parts.pop() {
            if !is_about_address_or_length(error) {
                self.fail(&refused, error);
                continue;
            }
            let (first, second) = match search.divide(refused) {
                Ok(halves) => halves,
                Err(single) => {
                    search.refuse(single.span, error);
                    self.fail(&single, error);
                    continue;
                }
            };
            for part in [first, second] {
                if self.search_requests_left == 0 {
                    search.skip(part.span);
                    self.fail(&part, error);
                    continue;
                }
                self.search_requests_left -= 1;
                if let Err(error) = self.ask_once(&part).await? {
                    parts.push((part, error));
                }
            }
        }
        if search.has_divided() {
            self.session.counters.requests_split += 1;
        }
        self.splits.learn(&search);
        Ok(())
    }

    /// Asks again for some of the points that were refused before; the others keep their refusal.
    async fn probe_refused(&mut self, spans: &[Span], refused: &[usize]) -> Result<(), Lost> {
        if refused.is_empty() {
            return Ok(());
        }
        let candidates: Vec<Span> = refused.iter().map(|index| spans[*index]).collect();
        let turn = self.splits.take_turn(candidates);
        let mut has_changed = false;
        for span in &turn {
            match self.session.read(*span).await {
                Ok(answer) => {
                    has_changed = true;
                    self.splits.accept(*span);
                    let members = refused.iter().filter(|index| spans[**index] == *span);
                    members.for_each(|index| self.succeed(*index, *span, &answer));
                }
                Err(RequestError::Device(error)) => self.splits.refuse(*span, error),
                Err(RequestError::Lost(lost)) => return Err(lost),
            }
        }
        for index in refused {
            if let Some(error) = self.splits.refusal(spans[*index]) {
                self.session.counters.probes_skipped += u64::from(!turn.contains(&spans[*index]));
                self.fail_one(*index, error);
            }
        }
        if has_changed {
            self.splits.forget();
        }
        Ok(())
    }

    async fn ask_once(&mut self, request: &Request) -> Result<Result<(), DeviceError>, Lost> {
        match self.session.read(request.span).await {
            Ok(answer) => {
                for member in request.units.iter().flat_map(|unit| &unit.members) {
                    self.succeed(*member, request.span, &answer);
                }
                Ok(Ok(()))
            }
            Err(RequestError::Device(error)) => Ok(Err(error)),
            Err(RequestError::Lost(lost)) => Err(lost),
        }
    }

    fn succeed(&mut self, index: usize, read: Span, answer: &Answer) {
        let (place, point) = self.points[index];
        let id = self.outcome[place].0;
        let result = match point.decode(read, answer) {
            Ok(value) => Ok(Sample { point: id, value, quality: Quality::Good, at: None }),
            Err(reason) => Err(ReadError::NoValue {
                target: self.session.target(point.span()),
                data_type: point.encoding.data_type.to_string(),
                reason,
            }),
        };
        self.outcome[place].1 = Some(result);
    }

    fn fail(&mut self, request: &Request, error: DeviceError) {
        for member in request.units.iter().flat_map(|unit| &unit.members) {
            self.fail_one(*member, error);
        }
    }

    fn fail_one(&mut self, index: usize, error: DeviceError) {
        let (place, point) = self.points[index];
        let target = self.session.target(point.span());
        self.outcome[place].1 = Some(Err(ReadError::Device { target, error }));
    }
}

/// Machines say "illegal value" for a request that is too long (Modbus Application Protocol 6.3),
/// some "illegal address".
fn is_about_address_or_length(error: DeviceError) -> bool {
    matches!(error, DeviceError::IllegalAddress | DeviceError::IllegalValue)
}
