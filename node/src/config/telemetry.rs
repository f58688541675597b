//! `[telemetry]`: where spans go, for those who run an OpenTelemetry collector.

use super::Problems;
use serde::{Deserialize, Serialize};

/// The section `telemetry`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelemetryConfig {
    /// Base URL of an OTLP/HTTP collector, such as `http://127.0.0.1:4318`; `""` turns it off.
    pub(crate) otlp_endpoint: String,
}

impl TelemetryConfig {
    pub(super) fn check(&self, problems: &mut Problems) {
        let key = "telemetry.otlp_endpoint";
        if self.otlp_endpoint.is_empty() {
            return;
        }
        if !cfg!(feature = "otlp") {
            problems.add(key, "this executable was built without the feature `otlp`");
        }
        let uri = self.otlp_endpoint.parse::<axum::http::Uri>();
        match uri.map(|uri| (uri.scheme_str().map(str::to_owned), uri.host().is_some())) {
            Ok((Some(scheme), true)) if scheme == "http" => {}
            Ok((Some(scheme), _)) if scheme == "https" => {
                problems.add(key, "TLS is not available in this version; use http://");
            }
            _ => problems.add(
                key,
                format_args!("`{}` is not a URL such as http://127.0.0.1:4318", self.otlp_endpoint),
            ),
        }
    }
}
