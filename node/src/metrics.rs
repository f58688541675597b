//! `/metrics`: the figures of all parts as OpenMetrics text.
//!
//! Every part counts for itself in plain numbers; here they only get their public names
//! (`<part>_<thing>_<unit>`), help texts and types. No label carries a client id, a topic or any
//! other name from outside, so the number of series does not grow with the number of clients.

mod parts;
mod process;

use crate::http::Vitals;
use broker::Broker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use store::Store;

/// One figure with its public name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    /// The public name; counters get `_total` when written.
    name: &'static str,
    help: &'static str,
    kind: Kind,
    value: Number,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
}

/// The value of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Number {
    /// A count.
    Whole(u64),
    /// A measure.
    Real(f64),
}

impl Figure {
    /// Something that only rises.
    pub(crate) fn counter(name: &'static str, help: &'static str, value: Number) -> Self {
        Self { name, help, kind: Kind::Counter, value }
    }

    /// Something that rises and falls.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: Number) -> Self {
        Self { name, help, kind: Kind::Gauge, value }
    }

    fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        match (self.kind, self.value) {
            (Kind::Counter, Number::Whole(value)) => self.put(&ConstCounter::new(value), encoder),
            (Kind::Counter, Number::Real(value)) => self.put(&ConstCounter::new(value), encoder),
            (Kind::Gauge, Number::Whole(value)) => self.put(&ConstGauge::new(value), encoder),
            (Kind::Gauge, Number::Real(value)) => self.put(&ConstGauge::new(value), encoder),
        }
    }

    fn put(
        &self,
        metric: &impl EncodeMetric,
        encoder: &mut DescriptorEncoder<'_>,
    ) -> std::fmt::Result {
        metric.encode(encoder.encode_descriptor(
            self.name,
            self.help,
            None,
            metric.metric_type(),
        )?)
    }
}

#[derive(Debug)]
struct Figures(Vec<Figure>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|figure| figure.encode(&mut encoder))
    }
}

/// The figures of all parts and of the process.
pub(crate) fn figures(
    store: &Store,
    broker: &Broker,
    platform: &actors::Figures,
    vitals: &Vitals,
) -> Vec<Figure> {
    let mut figures = parts::broker(&broker.figures());
    figures.extend(parts::store(&store.figures(), store.backlog()));
    figures.extend(parts::actors(platform));
    let refused = Number::Whole(vitals.connections_refused());
    figures.push(Figure::counter("http_connections_refused", "HTTP connections refused.", refused));
    figures.extend(process::figures());
    figures
}

/// Figures as OpenMetrics text.
pub(crate) fn text(figures: Vec<Figure>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(figures)));
    let mut text = String::new();
    // Writing to a text fails only if a figure's own encoding does, and numbers have none to fail.
    let _ = encode(&mut text, &registry);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_as_open_metrics() {
        let text = text(vec![
            Figure::counter("broker_messages_received", "Messages taken.", Number::Whole(7)),
            Figure::gauge("broker_connections", "Connections now.", Number::Whole(2)),
        ]);
        let expected = "\
# HELP broker_messages_received Messages taken.
# TYPE broker_messages_received counter
broker_messages_received_total 7
# HELP broker_connections Connections now.
# TYPE broker_connections gauge
broker_connections 2
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
