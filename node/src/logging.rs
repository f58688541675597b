//! The log of a node: `tracing` to stderr, as text or JSON, and spans to a collector if configured.
//!
//! Colours only on a terminal, so that what reads a log file finds `listener="mqtt"` as it stands.
//! Secrets and payloads are never logged; the admin secret of a first start does not pass here.

use crate::config::{LogConfig, LogFormat, TelemetryConfig};
use std::io::IsTerminal as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, fmt};

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The level is not understood.
    #[error("log.level is not understood: {0}")]
    Level(#[from] tracing_subscriber::filter::ParseError),
    /// There is a log already.
    #[error("cannot install the log: {0}")]
    Install(#[from] tracing_subscriber::util::TryInitError),
    /// The exporter cannot be made.
    #[cfg(feature = "otlp")]
    #[error("cannot export spans to telemetry.otlp_endpoint: {0}")]
    Otlp(#[from] opentelemetry_otlp::ExporterBuildError),
}

/// The log, to be ended last so that nothing recorded is lost.
#[derive(Debug)]
pub(crate) struct Logging {
    #[cfg(feature = "otlp")]
    otlp: Option<crate::otlp::Otlp>,
}

/// Installs the log of this process; inside a runtime, because spans are sent from it.
pub(crate) fn install(log: &LogConfig, telemetry: &TelemetryConfig) -> Result<Logging, LogError> {
    let ansi = std::io::stderr().is_terminal();
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(ansi);
    let lines = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let registry = tracing_subscriber::registry().with(log.filter()?).with(lines);
    #[cfg(feature = "otlp")]
    {
        let (layer, otlp) = match telemetry.otlp_endpoint.as_str() {
            "" => (None, None),
            endpoint => {
                crate::otlp::start(endpoint).map(|(layer, otlp)| (Some(layer), Some(otlp)))?
            }
        };
        registry.with(layer).try_init()?;
        Ok(Logging { otlp })
    }
    #[cfg(not(feature = "otlp"))]
    {
        // `TelemetryConfig::check` has refused an endpoint that nothing here could serve.
        let _ = telemetry;
        registry.try_init()?;
        Ok(Logging {})
    }
}

impl Logging {
    /// Sends what is still to be sent, for a bounded time.
    pub(crate) async fn finish(self) {
        #[cfg(feature = "otlp")]
        if let Some(otlp) = self.otlp {
            otlp.finish().await;
        }
    }
}
