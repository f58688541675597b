//! The flags of `manifold-sim load`, and what they mean as cases and targets.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::case::{Case, CaseError, Length, SECONDS_MAX, Shape};
use super::compare::suite;
use super::connection::Endpoint;
use super::packet::Credentials;
use super::procfs::pid_by_name;
use super::target::Launch;

/// Rounds of a comparison unless told otherwise; the median of three ignores one bad round.
const COMPARE_ROUNDS: usize = 3;
const ROUNDS_MAX: usize = 100;
const MQTT_PORT: u16 = 1883;

/// A broker that comes with this binary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Baseline {
    /// rumqttd 0.20, in its own process; needs the cargo feature `baseline`.
    Rumqttd,
}

/// Flags of `manifold-sim load`.
#[derive(Debug, Clone, Args)]
pub struct LoadArgs {
    /// Who publishes to whom; without it the standard suite runs
    pub shape: Option<Shape>,
    /// Run the standard suite: pairs at QoS 0 and 1, fan-in and fan-out at QoS 0
    #[arg(long, conflicts_with_all = ["shape", "connections", "window", "qos"])]
    pub suite: bool,
    /// Publishers of a fan-in, pairs, subscribers of a fan-out, or idle connections
    #[arg(long, visible_aliases = ["pairs", "publishers", "subscribers"], requires = "shape")]
    pub connections: Option<usize>,
    /// QoS of publishing and of the subscriptions, 0 or 1
    #[arg(long, default_value_t = 0, requires = "shape")]
    pub qos: u8,
    /// Bytes of each application message
    #[arg(long, value_name = "BYTES", default_value_t = 256)]
    pub payload: usize,
    /// Messages in flight per publisher, 0 for unbounded (QoS 1: counted by PUBACKs, QoS 0: by what
    /// the slowest subscriber has received)
    #[arg(long, requires = "shape")]
    pub window: Option<u64>,
    /// Published messages per second over all publishers, 0 for as fast as possible
    #[arg(long, default_value_t = 0)]
    pub rate: u64,
    /// Length of the measured part in seconds
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Measure this many published messages instead of a time
    #[arg(long, conflicts_with = "seconds")]
    pub messages: Option<u64>,
    /// Seconds under load before the measured part
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    pub warmup: f64,
    /// Messages per second that the subscriber of a flood takes
    #[arg(long, value_name = "PER_SECOND", requires = "shape")]
    pub taken: Option<u64>,
    /// Subscribers use clean sessions (the default)
    #[arg(long, conflicts_with = "persistent")]
    pub clean: bool,
    /// Subscribers use persistent sessions, discarded at the end
    #[arg(long)]
    pub persistent: bool,
    /// Idle connections hold one subscription each
    #[arg(long)]
    pub subscribed: bool,
    #[command(flatten)]
    target: TargetArgs,
    /// Rounds per broker [default: 1, or 3 when comparing]
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Clone, Args)]
struct TargetArgs {
    /// The broker under load
    #[arg(long, default_value = "mqtt://127.0.0.1:1883")]
    url: String,
    /// User name of CONNECT
    #[arg(long, env = "MANIFOLD_USER")]
    user: Option<String>,
    /// Password of CONNECT
    #[arg(long, env = "MANIFOLD_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Process of the broker, for its processor time and memory
    #[arg(long)]
    pid: Option<u32>,
    /// Name of the broker's process, instead of --pid
    #[arg(long, conflicts_with = "pid")]
    target_name: Option<String>,
    /// Start a fresh node from this `manifold` binary for each run, instead of --url
    #[arg(long, value_name = "BINARY", conflicts_with_all = ["url", "pid", "target_name"])]
    spawn: Option<PathBuf>,
    /// Run the same load on this broker in turn and print the ratio
    #[arg(long)]
    against: Option<Baseline>,
    /// Run the same load on the broker at this URL in turn and print the ratio
    #[arg(long, value_name = "URL", conflicts_with = "against")]
    against_url: Option<String>,
    /// Process of the broker at --against-url
    #[arg(long, value_name = "PID", requires = "against_url")]
    against_pid: Option<u32>,
}

impl LoadArgs {
    /// The cases to run, checked.
    pub fn cases(&self) -> Result<Vec<Case>, CaseError> {
        let template = self.template(self.shape.unwrap_or(Shape::Pairs))?;
        let cases = match self.shape {
            Some(_) => vec![template],
            None => suite(&template),
        };
        for case in &cases {
            case.check()?;
        }
        Ok(cases)
    }

    /// The brokers to run them on: the target, then what it is compared with.
    pub async fn launches(&self) -> Result<Vec<Launch>> {
        let mut launches = vec![self.target.launch().await?];
        match (self.target.against, &self.target.against_url) {
            (Some(Baseline::Rumqttd), _) if cfg!(feature = "baseline") => {
                launches.push(Launch::Rumqttd);
            }
            (Some(Baseline::Rumqttd), _) => {
                bail!("this binary has no rumqttd: build it with `--features baseline`");
            }
            (None, Some(url)) => {
                let endpoint = Endpoint { address: resolve(url).await?, credentials: None };
                let pid = self.target.against_pid;
                launches.push(Launch::Running { name: url.clone(), endpoint, pid });
            }
            (None, None) => {}
        }
        Ok(launches)
    }

    /// Rounds per broker, at least one.
    #[must_use]
    pub fn rounds(&self) -> usize {
        let is_comparing = self.target.against.is_some() || self.target.against_url.is_some();
        let usual = if is_comparing { COMPARE_ROUNDS } else { 1 };
        self.rounds.unwrap_or(usual).clamp(1, ROUNDS_MAX)
    }

    fn template(&self, shape: Shape) -> Result<Case, CaseError> {
        let usual = Case::usual(shape);
        let length = match self.messages {
            Some(messages) => Length::Messages(messages),
            None => Length::Time(duration("--seconds", self.seconds)?),
        };
        Ok(Case {
            shape,
            count: self.connections.unwrap_or(usual.count),
            qos: self.qos,
            payload_bytes: self.payload,
            window: self.window.unwrap_or(usual.window),
            rate_per_second: self.rate,
            taken_per_second: self.taken.unwrap_or(usual.taken_per_second),
            length,
            warmup: duration("--warmup", self.warmup)?,
            is_clean: !self.persistent,
            is_subscribed: self.subscribed,
        })
    }
}

impl TargetArgs {
    async fn launch(&self) -> Result<Launch> {
        if let Some(binary) = &self.spawn {
            return Ok(Launch::Manifold { binary: binary.clone(), user: self.user.clone() });
        }
        let pid = match &self.target_name {
            Some(name) => Some(pid_by_name(name)?),
            None => self.pid,
        };
        let credentials = self.user.as_ref().map(|user| Credentials {
            user: user.clone(),
            secret: self.secret.clone().unwrap_or_default(),
        });
        for text in credentials.iter().flat_map(|it| [&it.user, &it.secret]) {
            if text.len() > usize::from(u16::MAX) {
                bail!("--user and --secret hold at most 65,535 bytes each");
            }
        }
        let endpoint = Endpoint { address: resolve(&self.url).await?, credentials };
        let name = self.target_name.clone().unwrap_or_else(|| "target".to_owned());
        Ok(Launch::Running { name, endpoint, pid })
    }
}

fn duration(option: &'static str, seconds: f64) -> Result<Duration, CaseError> {
    let in_range = (0.0..=SECONDS_MAX).contains(&seconds);
    let duration = in_range.then(|| Duration::from_secs_f64(seconds));
    let allowed = format!("between 0 and {SECONDS_MAX}");
    duration.ok_or_else(|| CaseError { option, allowed, given: seconds.to_string() })
}

/// The address of `mqtt://host[:port]`.
pub(crate) async fn resolve(url: &str) -> Result<SocketAddr> {
    let (host, port) = host_and_port(url)?;
    let mut addresses = tokio::net::lookup_host((host.as_str(), port))
        .await
        .with_context(|| format!("cannot resolve {host}"))?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

fn host_and_port(url: &str) -> Result<(String, u16)> {
    let rest = match url.split_once("://") {
        Some(("mqtt" | "tcp", rest)) => rest.trim_end_matches('/'),
        Some((scheme, _)) => bail!("scheme {scheme} is not supported, use mqtt://host:port"),
        None => url,
    };
    let (host, port) = match rest.rsplit_once(':') {
        Some((host, port))
            if !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')) =>
        {
            (host, port.parse().with_context(|| format!("{port:?} is not a port"))?)
        }
        _ => (rest, MQTT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        bail!("{url:?} has no host, use mqtt://host:port");
    }
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn parse(words: &[&str]) -> Result<LoadArgs, clap::Error> {
        let command = LoadArgs::augment_args(Command::new("load"));
        let words = ["load"].iter().chain(words);
        LoadArgs::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn a_shape_with_flags_becomes_one_case() {
        let args = parse(&["pairs", "--pairs", "3", "--qos", "1", "--window", "9"]).unwrap();
        let cases = args.cases().unwrap();
        assert_eq!(cases.len(), 1);
        assert_eq!(cases[0].title(), "pairs 3, QoS 1, 256 B, window 9");
        assert_eq!(args.rounds(), 1);
    }

    #[test]
    fn without_a_shape_the_suite_runs_with_the_common_flags() {
        let args = parse(&["--against", "rumqttd", "--seconds", "2", "--payload", "64"]).unwrap();
        let cases = args.cases().unwrap();
        assert_eq!((cases.len(), args.rounds()), (4, 3));
        assert!(cases.iter().all(|case| case.payload_bytes == 64));
        assert!(cases.iter().all(|case| case.length == Length::Time(Duration::from_secs(2))));
    }

    #[test]
    fn flags_that_contradict_each_other_are_refused() {
        for words in [
            &["--suite", "pairs"][..],
            &["--connections", "5"],
            &["pairs", "--clean", "--persistent"],
            &["pairs", "--seconds", "1", "--messages", "5"],
            &["pairs", "--spawn", "x", "--pid", "1"],
            &["pairs", "--against-pid", "1"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
        for words in [&["pairs", "--seconds", "nan"][..], &["pairs", "--qos", "2"]] {
            assert!(parse(words).unwrap().cases().is_err(), "{words:?}");
        }
    }

    #[test]
    fn urls_give_host_and_port() {
        for (url, host, port) in [
            ("mqtt://127.0.0.1:1884", "127.0.0.1", 1884),
            ("mqtt://broker/", "broker", 1883),
            ("localhost:99", "localhost", 99),
            ("mqtt://[::1]:1885", "::1", 1885),
            ("::1", "::1", 1883),
        ] {
            assert_eq!(host_and_port(url).unwrap(), (host.to_owned(), port), "{url}");
        }
        for url in ["mqtts://x", "mqtt://", "mqtt://h:port", "mqtt://:1"] {
            assert!(host_and_port(url).is_err(), "{url}");
        }
    }
}
