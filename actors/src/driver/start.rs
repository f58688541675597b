//! How a driver actor comes to life: the driver opened, the retained values taken over, the writes
//! subscribed to.

use super::actor::{DriverArgs, DriverMsg};
use super::bus::opening;
use super::command::{Command, Now};
use super::io;
use super::state::DriverState;
use super::tag::Tag;
use crate::context::{Context, Shared};
use crate::door::{Door, NotAttached, Wrap};
use broker::Client;
use drivers::{Access, DriverConfig, PointId, TagConfig, TagKind};
use proto::{PlatformTopic, TimestampMs, TopicFilter, TopicName, UnsPath, Value};
use ractor::ActorRef;
use std::collections::HashMap;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The parts of a driver that can run.
pub(super) struct Running {
    pub(super) state: DriverState,
    /// The way to the machine; holds one command, which is all there ever is.
    pub(super) commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// The points that can be written or called, by the topic of their writes.
pub(super) type Writable = HashMap<TopicName, (PointId, UnsPath)>;

impl Drop for Running {
    fn drop(&mut self) {
        // Closes the connection even while the machine keeps a request waiting.
        self.task.abort();
    }
}

impl Running {
    /// Opens the driver; the reason if its configuration is refused.
    pub(super) fn open(
        (context, client): (&Shared, &Client),
        (config, configs): (&DriverConfig, Vec<TagConfig>),
        myself: &ActorRef<DriverMsg>,
        now: Now,
    ) -> Result<Self, String> {
        let opening = opening((context, client), config, &configs);
        let driver = (context.outside.open_driver)(opening);
        let driver = driver.map_err(|error| error.to_string())?;
        let virtual_tags = drivers::virtual_tags(&configs).map_err(|error| error.to_string())?;
        // As long as they are: a list that grows takes up to twice the memory, for as long as the driver runs.
        let mut tags = Vec::with_capacity(configs.len());
        let writes_max = context.settings.writes_max;
        for config in configs {
            tags.push(tag(client, config, now)?);
        }
        let (is_pushed, backfill_max_ms) = (driver.is_pushed(), driver.backfill_max_ms());
        let state = DriverState::new(tags, is_pushed, backfill_max_ms, writes_max, now);
        let state = state.computing(virtual_tags).writing(driver.writes_at_once());
        let (commands, receiver) = mpsc::channel(1);
        let actor = myself.clone();
        let report = move |outcome| {
            // The actor may be gone already; then nobody is interested.
            let _ = actor.cast(DriverMsg::Outcome(outcome));
        };
        let deadline_ms = context.settings.driver_deadline_ms;
        let task = tokio::spawn(io::run(driver, receiver, deadline_ms, report));
        Ok(Self { state, commands, task })
    }
}

/// Has the writes of every tag that may be written, and the calls of every method, delivered.
pub(super) fn subscribe_writes(
    args: &DriverArgs,
    myself: &ActorRef<DriverMsg>,
) -> Result<(Door<DriverMsg>, Writable), NotAttached> {
    let context: &Context = &args.context;
    let mut writable = Writable::new();
    for (index, config) in (0_u32..).zip(&args.tags) {
        let is_told = config.access == Access::ReadWrite || config.kind == TagKind::Method;
        if is_told && let Ok(path) = UnsPath::parse(&config.path) {
            let topic = PlatformTopic::UnsSet(path.clone()).topic();
            writable.insert(topic, (PointId(index), path));
        }
    }
    let window = context.settings.driver_window;
    let door =
        Door::open(context, args.client.namespace(), "driver", window, Wrap::Each(DriverMsg::Set))?;
    door.lead_to(myself.clone());
    door.subscribe(writable.keys().filter_map(exactly));
    Ok((door, writable))
}

fn tag(client: &Client, config: TagConfig, now: Now) -> Result<Tag, String> {
    let path = UnsPath::parse(&config.path)
        .map_err(|error| format!("tag {}: path {}: {error}", config.tag, config.path))?;
    let topic = PlatformTopic::Uns(path.clone()).topic();
    let found = exactly(&topic).and_then(|filter| client.retained(&filter).into_iter().next());
    // What is retained there and is no value has not come from a driver.
    let retained = found.and_then(|(_, payload)| Value::parse(&payload, TimestampMs(0)).ok());
    Ok(Tag::new(config, path, retained, now))
}

/// Tags as the driver knows them: the points of its machine first, in the order of their numbers.
pub(super) fn points_first(tags: &mut [TagConfig]) {
    tags.sort_by_key(|tag| tag.kind == TagKind::Virtual);
}

/// The filter that matches one topic.
fn exactly(topic: &TopicName) -> Option<TopicFilter> {
    TopicFilter::parse(topic.as_str().to_owned()).ok()
}
