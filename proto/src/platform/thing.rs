//! The topics of one device, below `things/<thing>/` and, for shadow and jobs, `$aws/things/<thing>/`.

mod shadow_topic;

use super::PlatformTopic;
use crate::id::{CommandName, EventName, JobId, ThingId, TransferId};
pub use shadow_topic::{ShadowTopic, ShadowVerb};
use std::fmt;

/// The two roots of a device's topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ThingRoot {
    /// `things`.
    Things,
    /// `$aws/things`: AWS IoT Device SDKs work unchanged.
    Aws,
}

impl ThingRoot {
    /// The root as it stands in topics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Things => "things",
            Self::Aws => "$aws/things",
        }
    }
}

/// What follows `things/<thing>/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ThingTopic {
    /// `telemetry`: the device reports values.
    Telemetry,
    /// `events/<event>`: the device reports an event.
    Event(EventName),
    /// `status`: presence, retained, by the platform.
    Status,
    /// `shadow/…`.
    Shadow(ShadowTopic),
    /// `commands/<name>/…`.
    Command(CommandName, CommandTopic),
    /// `model/get`: the device asks for its own model.
    Model(Stage),
    /// `certificates/create`: the device asks for a certificate of its own.
    Certificate(Stage),
    /// `jobs/…`.
    Job(JobTopic),
    /// `files/<transfer>/<step>`.
    File(TransferId, TransferId),
}

/// The way of a command from an app to the device and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CommandTopic {
    /// An app asks.
    Invoke,
    /// The platform hands it to the device.
    Request,
    /// The device answers.
    Response,
    /// The platform says how it ended.
    Result,
}

/// A request and its two answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// By the caller.
    Request,
    /// By the platform: done, durably.
    Accepted,
    /// By the platform: refused.
    Rejected,
}

/// What follows `jobs/` (semantics of AWS IoT Jobs).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum JobTopic {
    /// `get`: the device asks for its pending jobs.
    Pending(Stage),
    /// `start-next`.
    StartNext(Stage),
    /// `<job>/get`.
    Get(JobId, Stage),
    /// `<job>/update`.
    Update(JobId, Stage),
    /// `notify`: the list of pending jobs has changed.
    Notify,
    /// `notify-next`: the next job has changed.
    NotifyNext,
}

pub(super) fn parse(root: ThingRoot, rest: &str) -> Option<PlatformTopic> {
    let (thing, rest) = rest.split_once('/')?;
    let topic = ThingTopic::parse(rest)?;
    // The alias exists for shadow and jobs only.
    let has_alias = matches!(topic, ThingTopic::Shadow(_) | ThingTopic::Job(_));
    if root == ThingRoot::Aws && !has_alias {
        return None;
    }
    Some(PlatformTopic::Thing { root, thing: ThingId::parse(thing).ok()?, topic })
}

impl ThingTopic {
    fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("shadow/") {
            return ShadowTopic::parse(rest).map(Self::Shadow);
        }
        if let Some(rest) = text.strip_prefix("jobs/") {
            return JobTopic::parse(rest).map(Self::Job);
        }
        if let ("model/get", stage) = Stage::split(text) {
            return Some(Self::Model(stage));
        }
        if let ("certificates/create", stage) = Stage::split(text) {
            return Some(Self::Certificate(stage));
        }
        let mut levels = text.split('/');
        let topic = match (levels.next()?, levels.next(), levels.next()) {
            ("telemetry", None, _) => Self::Telemetry,
            ("status", None, _) => Self::Status,
            ("events", Some(name), None) => Self::Event(EventName::parse(name).ok()?),
            ("commands", Some(name), Some(step)) => {
                Self::Command(CommandName::parse(name).ok()?, CommandTopic::parse(step)?)
            }
            ("files", Some(transfer), Some(step)) => {
                Self::File(TransferId::parse(transfer).ok()?, TransferId::parse(step).ok()?)
            }
            _ => return None,
        };
        levels.next().is_none().then_some(topic)
    }
}

impl fmt::Display for ThingTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Telemetry => f.write_str("telemetry"),
            Self::Status => f.write_str("status"),
            Self::Event(name) => write!(f, "events/{name}"),
            Self::Shadow(topic) => write!(f, "shadow/{topic}"),
            Self::Command(name, step) => write!(f, "commands/{name}/{}", step.as_str()),
            Self::Model(stage) => write!(f, "model/get{}", stage.suffix()),
            Self::Certificate(stage) => write!(f, "certificates/create{}", stage.suffix()),
            Self::Job(topic) => write!(f, "jobs/{topic}"),
            Self::File(transfer, step) => write!(f, "files/{transfer}/{step}"),
        }
    }
}

impl CommandTopic {
    fn parse(text: &str) -> Option<Self> {
        [Self::Invoke, Self::Request, Self::Response, Self::Result]
            .into_iter()
            .find(|step| step.as_str() == text)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Request => "request",
            Self::Response => "response",
            Self::Result => "result",
        }
    }
}

impl Stage {
    /// Splits the answer level off the end of a topic.
    fn split(text: &str) -> (&str, Self) {
        if let Some(request) = text.strip_suffix("/accepted") {
            (request, Self::Accepted)
        } else if let Some(request) = text.strip_suffix("/rejected") {
            (request, Self::Rejected)
        } else {
            (text, Self::Request)
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Request => "",
            Self::Accepted => "/accepted",
            Self::Rejected => "/rejected",
        }
    }
}

impl JobTopic {
    fn parse(text: &str) -> Option<Self> {
        let (request, stage) = Stage::split(text);
        match (request, stage) {
            ("notify", Stage::Request) => return Some(Self::Notify),
            ("notify-next", Stage::Request) => return Some(Self::NotifyNext),
            ("get", stage) => return Some(Self::Pending(stage)),
            ("start-next", stage) => return Some(Self::StartNext(stage)),
            _ => {}
        }
        match request.split_once('/')? {
            (job, "get") => Some(Self::Get(JobId::parse(job).ok()?, stage)),
            (job, "update") => Some(Self::Update(JobId::parse(job).ok()?, stage)),
            _ => None,
        }
    }
}

impl fmt::Display for JobTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pending(stage) => write!(f, "get{}", stage.suffix()),
            Self::StartNext(stage) => write!(f, "start-next{}", stage.suffix()),
            Self::Get(job, stage) => write!(f, "{job}/get{}", stage.suffix()),
            Self::Update(job, stage) => write!(f, "{job}/update{}", stage.suffix()),
            Self::Notify => f.write_str("notify"),
            Self::NotifyNext => f.write_str("notify-next"),
        }
    }
}
