//! What a server has kept of its variables (OPC 10000-11; HistoryRead, OPC 10000-4, 5.11.3), for the time when nobody
//! listened.

use super::points::{Node, Point};
use super::requests::Requests;
use super::status::{is_too_much, is_unsupported, refusal};
use super::structures::Layouts;
use crate::port::{DeviceError, Gap, Kept, Lost, QueryError, Sample};
use opcua::client::HistoryReadAction;
use opcua::types::{
    ByteString, DateTime, HistoryData, HistoryReadResult, HistoryReadValueId, NodeId,
    ReadRawModifiedDetails, StatusCode, TimestampsToReturn,
};
use proto::TimestampMs;

/// What becomes of a request that is not answered in time.
const LATE: DeviceError =
    DeviceError::Named { code: "timeout", name: "no history within `timeout_ms`" };

/// The most values of one node in one answer.
const VALUES_MAX: u32 = 1000;

impl Requests<'_> {
    /// What the server has kept for some gaps: as many as it takes in one request, the others are left as they are. So
    /// a slow server with a low limit holds nobody up for longer than that.
    pub(crate) async fn history(
        &mut self,
        gaps: &[Gap],
        points: &[Point],
        nodes: &[Node],
    ) -> Result<Vec<Kept>, QueryError> {
        let nothing = |gap: &Gap| Kept { point: gap.point, samples: Vec::new(), more_after: None };
        let mut kept: Vec<Kept> = gaps.iter().map(nothing).collect();
        let node = |gap: &Gap| nodes.get(gap.point.index())?.id.as_ref().ok().cloned();
        let known = gaps.iter().enumerate().filter_map(|(place, gap)| Some((place, node(gap)?)));
        let asked: Vec<(usize, NodeId)> = known.collect();
        let mut limit = self.wire.limits.history.max(1);
        while !asked.is_empty() {
            let (part, rest) = asked.split_at(asked.len().min(limit));
            let of: Vec<Gap> = part.iter().map(|(place, _)| gaps[*place]).collect();
            let ids: Vec<NodeId> = part.iter().map(|(_, node)| node.clone()).collect();
            let answers = match self.raw(&of, &ids).await? {
                Ok(answers) => answers,
                Err(status) if is_too_much(status) && part.len() > 1 => {
                    self.counters.requests_split += 1;
                    limit = part.len() / 2;
                    continue;
                }
                Err(status) if is_unsupported(status) => return Err(QueryError::Unsupported),
                Err(status) => return Err(QueryError::Device(refusal(status))),
            };
            let told = || answers.iter().filter_map(|it| told(it)?.data_values.as_ref()).flatten();
            let held = || told().filter_map(|it| it.value.as_ref());
            let layouts = self.learn_types(|known| known.missing(held())).await?;
            for (((place, _), gap), answer) in part.iter().zip(of).zip(&answers) {
                kept[*place] = kept_of(&gap, &points[gap.point.index()], answer, &layouts);
                self.counters.points_recalled += kept[*place].samples.len() as u64;
            }
            for (place, _) in rest {
                kept[*place].more_after = Some(gaps[*place].after);
            }
            break;
        }
        Ok(kept)
    }

    /// The values of some nodes between the earliest and the latest end of their gaps, or the first of them.
    async fn raw(
        &mut self,
        gaps: &[Gap],
        nodes: &[NodeId],
    ) -> Result<Result<Vec<HistoryReadResult>, StatusCode>, QueryError> {
        let after = gaps.iter().map(|gap| gap.after).min().unwrap_or_default();
        let before = gaps.iter().map(|gap| gap.before).max().unwrap_or_default();
        let details = ReadRawModifiedDetails {
            is_read_modified: false,
            start_time: time(after),
            end_time: time(before),
            num_values_per_node: VALUES_MAX,
            return_bounds: false,
        };
        let of = |node: &NodeId, continuation_point: ByteString| HistoryReadValueId {
            node_id: node.clone(),
            continuation_point,
            ..HistoryReadValueId::default()
        };
        let asked: Vec<_> = nodes.iter().map(|node| of(node, ByteString::null())).collect();
        let answers = self.history_read(details.clone(), false, &asked).await?;
        let Ok(answers) = answers else { return Ok(answers) };
        if answers.len() != nodes.len() {
            return Ok(Err(StatusCode::BadUnknownResponse));
        }
        // It goes on by time, not by these, of which a server has few.
        let left = nodes.iter().zip(&answers);
        let left = left.filter(|(_, answer)| !answer.continuation_point.is_null_or_empty());
        let left: Vec<_> =
            left.map(|(node, answer)| of(node, answer.continuation_point.clone())).collect();
        if !left.is_empty() {
            let _ = self.history_read(details, true, &left).await?;
        }
        Ok(Ok(answers))
    }

    async fn history_read(
        &mut self,
        details: ReadRawModifiedDetails,
        is_release: bool,
        nodes: &[HistoryReadValueId],
    ) -> Result<Result<Vec<HistoryReadResult>, StatusCode>, QueryError> {
        let session = &self.wire.session;
        let action = HistoryReadAction::ReadRawModifiedDetails(details);
        let both = TimestampsToReturn::Both;
        let asked = session.history_read(action, both, is_release, nodes);
        match self.call("reading history", asked).await {
            // An archive may be slow while all else is well: a connection that is given up for it would never last.
            Err(Lost::Timeout { .. }) => Err(QueryError::Device(LATE)),
            answer => Ok(answer?),
        }
    }
}

/// Milliseconds from 1601, where the time of OPC UA begins, to 1970.
const EPOCH_MS: i64 = 11_644_473_600_000;
/// Ticks of OPC UA in a millisecond.
const TICKS: i64 = 10_000;

/// The first moment of a millisecond; values are asked for from there on, those of that millisecond are known.
fn time(at: TimestampMs) -> DateTime {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    DateTime::from(ms.saturating_add(EPOCH_MS).saturating_mul(TICKS))
}

/// The values of an answer.
fn told(answer: &HistoryReadResult) -> Option<&HistoryData> {
    answer.history_data.inner_as()
}

fn kept_of(gap: &Gap, point: &Point, answer: &HistoryReadResult, layouts: &Layouts) -> Kept {
    let nothing = Kept { point: gap.point, samples: Vec::new(), more_after: None };
    if answer.status_code.is_bad() {
        return nothing;
    }
    let Some(history) = told(answer) else { return nothing };
    let values = history.data_values.iter().flatten();
    // What has no time, or is no good, was nobody's value.
    let read = values.filter_map(|value| point.read(gap.point, value, layouts).1.ok());
    let read: Vec<Sample> = read.filter(|sample| sample.at.is_some()).collect();
    let last = read.iter().filter_map(|sample| sample.at).max();
    let is_inside = |at: TimestampMs| gap.after < at && at < gap.before;
    // Some servers cut what is too much without saying so.
    let is_full = history.data_values.as_ref().is_some_and(|it| it.len() >= VALUES_MAX as usize);
    let has_more = is_full || !answer.continuation_point.is_null_or_empty();
    let samples = read.into_iter().filter(|sample| sample.at.is_some_and(is_inside)).collect();
    // Without a step forward it would be asked for without end.
    let more_after = last.filter(|last| has_more && is_inside(*last));
    Kept { samples, more_after, ..nothing }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::PointId;
    use opcua::types::{DataValue, ExtensionObject};
    use proto::Datum;
    use serde_json::json;

    fn point() -> Point {
        let tag = json!({"tag": "t", "path": "a/_raw/t", "address": "i=1", "scale": 0.5});
        Point::new(&serde_json::from_value(tag).unwrap()).unwrap()
    }

    fn value(ms: u64, value: i32, status: StatusCode) -> DataValue {
        let source_timestamp = Some(time(TimestampMs(ms)));
        DataValue { source_timestamp, status: Some(status), ..DataValue::from(value) }
    }

    fn answer(values: Vec<DataValue>, has_more: bool) -> HistoryReadResult {
        let continuation_point = if has_more { vec![1_u8].into() } else { ByteString::null() };
        let history = HistoryData { data_values: Some(values) };
        let history_data = ExtensionObject::from_message(history);
        HistoryReadResult { continuation_point, history_data, ..HistoryReadResult::default() }
    }

    fn gap(after: u64, before: u64) -> Gap {
        Gap { point: PointId(3), after: TimestampMs(after), before: TimestampMs(before) }
    }

    #[test]
    fn times_are_those_of_opc_ua_and_back() {
        let at = TimestampMs(1_767_225_601_234);
        assert_eq!(time(at).as_chrono().timestamp_millis() as u64, at.0);
        assert_eq!(time(TimestampMs(0)).as_chrono().timestamp_millis(), 0);
    }

    #[test]
    fn what_lies_inside_counts_once_and_what_is_bad_does_not() {
        let good = StatusCode::Good;
        let values = vec![
            value(1000, 1, good),
            value(1001, 2, good),
            value(1002, 3, StatusCode::BadSensorFailure),
            value(1003, 4, StatusCode::UncertainLastUsableValue),
            value(1004, 5, good),
        ];
        let kept = kept_of(&gap(1000, 1004), &point(), &answer(values, false), &Layouts::default());
        let found: Vec<_> =
            kept.samples.iter().map(|it| (it.at.unwrap_or_default().0, &it.value)).collect();
        assert_eq!(found, [(1001, &Datum::Float(1.0)), (1003, &Datum::Float(2.0))]);
        assert_eq!((kept.point, kept.more_after), (PointId(3), None));
    }

    #[test]
    fn the_rest_is_asked_for_from_the_last_value_and_never_in_vain() {
        let page = |ms: u64| answer(vec![value(ms, 1, StatusCode::Good)], true);
        let more_after =
            |ms| kept_of(&gap(1000, 2000), &point(), &page(ms), &Layouts::default()).more_after;
        assert_eq!(more_after(1500), Some(TimestampMs(1500)));
        assert_eq!(more_after(1000), None, "no step forward");
        assert_eq!(more_after(2000), None, "beyond the gap");
        let full = (0..VALUES_MAX.into()).map(|it| value(1001 + it, 1, StatusCode::Good));
        let kept = kept_of(
            &gap(1000, 9000),
            &point(),
            &answer(full.collect(), false),
            &Layouts::default(),
        );
        assert_eq!(kept.more_after, Some(TimestampMs(2000)), "cut without a word");
    }

    #[test]
    fn a_refusal_is_no_values() {
        let status_code = StatusCode::BadHistoryOperationUnsupported;
        let refused = HistoryReadResult { status_code, ..HistoryReadResult::default() };
        assert!(kept_of(&gap(1, 9), &point(), &refused, &Layouts::default()).samples.is_empty());
    }
}
