//! `/metrics`: the figures of all parts as OpenMetrics text.
//!
//! Every part counts for itself in plain numbers; here they only get their public names
//! (`<part>_<thing>_<unit>`), help texts and types. The one label there is, `reason`, has words of a
//! list that is closed: no client id, topic or other name from outside, so the number of series does
//! not grow with the number of clients.

mod parts;
mod process;

use crate::http::Vitals;
use broker::Broker;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use store::Store;

/// One figure with its public name.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Figure {
    /// The public name; counters get `_total` when written.
    name: &'static str,
    /// Of a family, that stands together: which of its members it is.
    reason: Option<&'static str>,
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
        Self { name, reason: None, help, kind: Kind::Counter, value }
    }

    /// The same, as the member of a family.
    pub(crate) fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    /// Something that rises and falls.
    pub(crate) fn gauge(name: &'static str, help: &'static str, value: Number) -> Self {
        Self { name, reason: None, help, kind: Kind::Gauge, value }
    }

    fn encode(&self, encoder: MetricEncoder<'_>) -> std::fmt::Result {
        match (self.kind, self.value) {
            (Kind::Counter, Number::Whole(value)) => ConstCounter::new(value).encode(encoder),
            (Kind::Counter, Number::Real(value)) => ConstCounter::new(value).encode(encoder),
            (Kind::Gauge, Number::Whole(value)) => ConstGauge::new(value).encode(encoder),
            (Kind::Gauge, Number::Real(value)) => ConstGauge::new(value).encode(encoder),
        }
    }
}

#[derive(Debug)]
struct Figures(Vec<Figure>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for family in self.0.chunk_by(|one, other| one.name == other.name) {
            let Some(Figure { name, help, kind, .. }) = family.first() else { continue };
            let metric_type = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let mut encoder = encoder.encode_descriptor(name, help, None, metric_type)?;
            if let [alone @ Figure { reason: None, .. }] = family {
                alone.encode(encoder)?;
                continue;
            }
            for figure in family {
                let labels = [("reason", figure.reason.unwrap_or_default())];
                figure.encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
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
    figures.extend(parts::endings(&broker.endings()));
    figures.extend(parts::store(&store.figures(), store.backlog()));
    figures.extend(parts::actors(platform));
    let refused = Number::Whole(vitals.connections_refused());
    figures.push(Figure::counter("http_connections_refused", "HTTP connections refused.", refused));
    figures.extend(parts::gateway(&vitals.gateway));
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
            Figure::counter("broker_ends", "Ends.", Number::Whole(3)).because("normal"),
            Figure::counter("broker_ends", "Ends.", Number::Whole(0)).because("banned"),
        ]);
        let expected = "\
# HELP broker_messages_received Messages taken.
# TYPE broker_messages_received counter
broker_messages_received_total 7
# HELP broker_connections Connections now.
# TYPE broker_connections gauge
broker_connections 2
# HELP broker_ends Ends.
# TYPE broker_ends counter
broker_ends_total{reason=\"normal\"} 3
broker_ends_total{reason=\"banned\"} 0
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }
}
