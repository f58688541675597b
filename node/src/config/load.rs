//! Makes one [`Config`] of its layers: defaults, TOML file, environment, `--set`.
//!
//! Environment and `--set` values are read as TOML (`1883`, `true`, `["a", "b"]`), and as text
//! where they are not TOML. The environment is passed in, so that precedence is tested without
//! touching the process. A key that does not exist, a wrong type and a value outside its limits are
//! told with the path of the key and the layer that gave it.

use super::{Config, ConfigError};
use crate::cli::ConfigArgs;
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use std::path::{Path, PathBuf};

/// What an environment variable of the configuration starts with; `__` separates the levels.
const ENV_PREFIX: &str = "MANIFOLD__";

/// The layers above the defaults, lowest first.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    /// The TOML file.
    pub(crate) file: Option<PathBuf>,
    /// Environment variables; those of other names are ignored.
    pub(crate) env: Vec<(String, String)>,
    /// `key=value` texts.
    pub(crate) settings: Vec<String>,
}

impl Sources {
    /// The layers given by the command line and the environment of this process.
    pub(crate) fn from_process(args: &ConfigArgs) -> Self {
        let text = |(key, value): (std::ffi::OsString, std::ffi::OsString)| {
            let key = key.into_string().ok()?;
            key.starts_with(ENV_PREFIX).then(|| (key, value.to_string_lossy().into_owned()))
        };
        Self {
            file: args.config.clone(),
            env: std::env::vars_os().filter_map(text).collect(),
            settings: args.settings.clone(),
        }
    }
}

/// Reads and checks a configuration.
pub(crate) fn load(sources: &Sources) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = &sources.file {
        figment = figment.merge(file_layer(path)?);
    }
    let mut env: Vec<_> =
        sources.env.iter().filter(|(key, _)| key.starts_with(ENV_PREFIX)).collect();
    env.sort();
    for (name, text) in env {
        let key = name[ENV_PREFIX.len()..].to_lowercase().replace("__", ".");
        figment = figment.merge(Layer::pair(format!("environment {name}"), &key, text));
    }
    for setting in &sources.settings {
        let (key, text) = split_setting(setting)?;
        figment = figment.merge(Layer::pair(format!("--set {setting}"), key, text));
    }
    let config: Config = figment.extract().map_err(key_error)?;
    let problems = config.check();
    if problems.is_empty() { Ok(config) } else { Err(ConfigError::Limits(problems)) }
}

fn split_setting(setting: &str) -> Result<(&str, &str), ConfigError> {
    let (key, text) =
        setting.split_once('=').ok_or_else(|| ConfigError::Setting(setting.to_owned()))?;
    let key = key.trim();
    if key.is_empty() || key.split('.').any(str::is_empty) {
        return Err(ConfigError::Setting(setting.to_owned()));
    }
    Ok((key, text))
}

fn file_layer(path: &Path) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let dict: Dict = toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = &text.as_bytes()[..error.span().map_or(0, |span| span.start).min(text.len())];
        ConfigError::Syntax {
            path: path.to_owned(),
            line: 1 + before.iter().filter(|byte| **byte == b'\n').count(),
            reason: error.message().replace('\n', ", "),
        }
    })?;
    Ok(Layer { source: format!("in {}", path.display()), dict })
}

/// One layer for figment: where it comes from, and what it says.
struct Layer {
    source: String,
    dict: Dict,
}

impl Layer {
    fn pair(source: String, key: &str, text: &str) -> Self {
        let mut value = read_value(text);
        let mut levels: Vec<&str> = key.split('.').collect();
        let first = levels.remove(0);
        for level in levels.into_iter().rev() {
            value = Value::from(Dict::from([(level.to_owned(), value)]));
        }
        Self { source, dict: Dict::from([(first.to_owned(), value)]) }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.source.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Profile::Default.collect(self.dict.clone()))
    }
}

/// A TOML value if it is one, else the text as it stands.
fn read_value(text: &str) -> Value {
    let as_text = || Value::from(text);
    // A date is TOML, but no key takes one; a line break would smuggle in further keys.
    if text.contains('\n') || text.parse::<toml::value::Datetime>().is_ok() {
        return as_text();
    }
    match toml::from_str::<Dict>(&format!("value = {text}")) {
        Ok(mut dict) => dict.remove("value").unwrap_or_else(as_text),
        Err(_) => as_text(),
    }
}

fn key_error(error: figment::Error) -> ConfigError {
    use figment::error::Kind;
    let mut path = error.path.clone();
    let reason = match &error.kind {
        Kind::UnknownField(field, allowed) => {
            path.retain(|level| level != field);
            path.push(field.clone());
            format!("there is no such key; there are {}", allowed.join(", "))
        }
        Kind::MissingField(field) => {
            path.push(field.to_string());
            "it is missing".to_owned()
        }
        Kind::InvalidType(actual, expected) => format!("it is {actual}, not {expected}"),
        Kind::InvalidValue(actual, expected) => format!("{actual} is not {expected}"),
        other => other.to_string(),
    };
    ConfigError::Key {
        key: path.join("."),
        reason,
        source_name: error.metadata.map_or_else(|| "default".into(), |it| it.name.into_owned()),
    }
}

#[cfg(test)]
mod tests;
