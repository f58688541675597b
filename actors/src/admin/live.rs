//! Questions to machines and writes to them: what an operation leads to when the answer is not in the store.
//!
//! A machine may take its time, so this never holds up other requests: a task asks, and tells the actor, which answers.
//! What changes something is recorded as `begun` before the machine hears of it, and with its end afterwards; its
//! delivery is acknowledged at the begin, since sent again it would move the machine a second time.

use super::actor::{AdminCore, AdminMsg, Found, Outcome};
use super::recording;
use super::reply::ReplyTo;
use super::request::Caller;
use super::tags::Trial;
use crate::ask::ask;
use crate::audit::entry::BEGUN;
use crate::audit::{self, Entry};
use crate::context::{Context, Shared};
use crate::driver::{Ask, does_not_run, identity_of, opening, refusal_of_query};
use crate::edge_node::EdgeNodeMsg;
use crate::edges::desired;
use crate::edges::hotline::{Hotline, Question};
use crate::refused;
use crate::tenant::TenantMsg;
use broker::{Client, Delivery};
use drivers::{ConnectError, Driver, DriverConfig, QueryError};
use proto::id::RequestId;
use proto::{DriverId, EdgeId, Refusal, RefusalCode};
use ractor::ActorRef;
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use store::Changes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long an edge node may take to get what is wanted of it before it is asked all the same.
const SETTLE: Duration = Duration::from_secs(5);

/// Questions of one namespace under way.
const UNDER_WAY_MAX: usize = 32;

/// What has to be asked of a machine.
#[derive(Debug)]
pub(super) enum Live {
    /// Of a driver that runs.
    Running(DriverId, Ask),
    /// Of a driver that runs, about one tag: its refusal is that of the request.
    OneTag(DriverId, Ask),
    /// Of a connection that is made for it and then closed.
    Fresh(Box<DriverConfig>),
    /// Of whoever is at an address.
    Discovery(Box<DriverConfig>),
    /// Of a connection that is made for it: what rows of a table hold.
    Trial(Box<Trial>),
    /// Of an edge node.
    Edge(EdgeId, Box<Question>),
    /// Of an edge node, about a driver that this node wants it to have.
    Wanted(EdgeId, DriverId, Box<Question>),
}

/// What is under way.
pub(super) struct UnderWay {
    room: Arc<Semaphore>,
    /// The mutations that have an id, by caller.
    ids: HashSet<(String, RequestId)>,
}

/// A question on its way.
pub(crate) struct Run {
    pub(super) live: Live,
    pub(super) found: Found,
    pub(super) caller: Caller,
    pub(super) entry: Entry,
    pub(super) request_id: Option<RequestId>,
}

/// A question that was answered.
pub(crate) struct Ended {
    run: Run,
    reply_to: ReplyTo,
    outcome: Outcome,
    _room: OwnedSemaphorePermit,
}

impl Default for UnderWay {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(UNDER_WAY_MAX)), ids: HashSet::new() }
    }
}

impl AdminCore {
    /// Has a machine asked; a refusal if that cannot be.
    pub(super) async fn begin(
        &mut self,
        myself: &ActorRef<AdminMsg>,
        run: Run,
        delivery: Delivery,
        reply_to: ReplyTo,
    ) {
        match self.admit(&run).await {
            Ok(room) => {
                delivery.ack();
                self.spawn(myself, run, reply_to, room);
            }
            Err(refusal) => {
                if run.found.1.is_mutation {
                    recording::tell(&run.caller, run.found, Some(&refusal));
                }
                self.record_refusal(run.found.1, run.entry, &refusal).await;
                self.finish(&reply_to, Err(refusal), Some(delivery));
            }
        }
    }

    async fn admit(&mut self, run: &Run) -> Result<OwnedSemaphorePermit, Refusal> {
        let room = Arc::clone(&self.under_way.room).try_acquire_owned().map_err(|_| {
            let message =
                format!("{UNDER_WAY_MAX} questions to machines and edge nodes are under way");
            Refusal::new(RefusalCode::TooManyRequests, message)
        })?;
        if !run.found.1.is_mutation {
            return Ok(room);
        }
        if let Some(id) = &run.request_id
            && !self.under_way.ids.insert((run.caller.name.clone(), id.clone()))
        {
            let message = "the same request is still under way";
            return Err(Refusal::new(RefusalCode::Unavailable, message).at("request_id"));
        }
        let begun = self.context.audit.commit(run.entry.with_outcome(BEGUN)).await;
        begun.map_err(|error| {
            self.forget(run);
            refused::by_store(&error)
        })?;
        Ok(room)
    }

    fn forget(&mut self, run: &Run) {
        if let Some(id) = &run.request_id {
            self.under_way.ids.remove(&(run.caller.name.clone(), id.clone()));
        }
    }

    fn spawn(
        &self,
        myself: &ActorRef<AdminMsg>,
        run: Run,
        reply_to: ReplyTo,
        room: OwnedSemaphorePermit,
    ) {
        let (context, tenant) = (self.context.clone(), self.tenant.clone());
        let client = self.client.clone();
        let myself = myself.clone();
        tokio::spawn(async move {
            let outcome = carry_out(&run.live, &context, (&tenant, &client)).await;
            let ended = Ended { run, reply_to, outcome, _room: room };
            // An actor that has been started anew has no request of this one.
            let _ = myself.cast(AdminMsg::Ended(Box::new(ended)));
        });
    }

    /// Keeps what a question has led to, and answers it.
    pub(super) async fn ended(&mut self, ended: Ended) {
        let Ended { run, reply_to, mut outcome, .. } = ended;
        if run.found.1.is_mutation {
            self.forget(&run);
            recording::tell(&run.caller, run.found, outcome.as_ref().err());
            if let Ok(data) = &outcome
                && let Err(refusal) = self.keep(&run, data).await
            {
                outcome = Err(refusal);
            }
            if let Err(refusal) = &outcome {
                self.record_refusal(run.found.1, run.entry, refusal).await;
            }
        }
        self.finish(&reply_to, outcome, None);
    }

    /// The record and the answer, for who asks again with the same id.
    async fn keep(&mut self, run: &Run, data: &Json) -> Result<(), Refusal> {
        let mut changes = Changes::new();
        let max = self.context.settings.answers_max;
        let answer = run.request_id.as_ref().map(|id| {
            let asked = (run.caller.name.as_str(), id, run.entry.action.as_str());
            self.answers.plan((self.client.namespace(), max), &mut changes, asked, data)
        });
        audit::log::add(&mut changes, run.entry.clone());
        let kept = self.client.publish_durably(changes, Vec::new()).await;
        kept.map_err(|error| refused::by_store(&error))?;
        if let Some(answer) = answer {
            self.answers.kept(answer, max);
        }
        Ok(())
    }
}

async fn carry_out(
    live: &Live,
    context: &Shared,
    (tenant, client): (&ActorRef<TenantMsg>, &Client),
) -> Outcome {
    match live {
        Live::Running(driver, question) => {
            ask_driver(context, tenant, driver.clone(), question.clone()).await
        }
        Live::OneTag(driver, question) => {
            let told = ask_driver(context, tenant, driver.clone(), question.clone()).await?;
            of_one_tag(driver, told)
        }
        Live::Fresh(config) => test(context, client, config).await,
        Live::Discovery(config) => discover(context, client, config).await,
        Live::Trial(trial) => trial.run(context, client).await,
        Live::Edge(edge, question) => {
            Hotline::ask(context, client, edge, Question::clone(question)).await
        }
        Live::Wanted(edge, driver, question) => {
            // Who has just created it expects it to be there.
            desired::settled(context, client, (edge, driver), SETTLE).await?;
            Hotline::ask(context, client, edge, Question::clone(question)).await
        }
    }
}

async fn ask_driver(
    context: &Context,
    tenant: &ActorRef<TenantMsg>,
    driver: DriverId,
    question: Ask,
) -> Outcome {
    let question =
        |reply| TenantMsg::ToEdgeNode(Box::new(EdgeNodeMsg::Ask { driver, ask: question, reply }));
    // The driver gives up before that.
    let patience = Duration::from_millis(context.settings.driver_deadline_ms);
    let told = ask(tenant, question, patience + context.call_timeout()).await;
    told.unwrap_or_else(|| Err(does_not_run()))
}

/// The answer about one tag among one.
fn of_one_tag(driver: &DriverId, mut told: Json) -> Outcome {
    let result = told["results"].get_mut(0).map(Json::take).unwrap_or_default();
    match serde_json::from_value::<Refusal>(result["error"].clone()) {
        Ok(refusal) => Err(refusal),
        Err(_) => Ok(json!({ "driver": driver, "tag": result["tag"], "v": result["v"] })),
    }
}

/// A driver without tags, not connected.
fn opened(
    context: &Shared,
    client: &Client,
    config: &DriverConfig,
) -> Result<Box<dyn Driver>, Refusal> {
    let opening = opening((context, client), config, &[]);
    (context.outside.open_driver)(opening).map_err(|error| {
        Refusal::new(RefusalCode::Invalid, error.reason).at(format!("config.{}", error.field))
    })
}

fn unreachable(error: &ConnectError) -> Refusal {
    Refusal::new(RefusalCode::Unavailable, format!("{}: {error}", error.code()))
}

fn too_late() -> Refusal {
    Refusal::new(RefusalCode::TimedOut, "the machine did not answer in time")
}

/// Asks who is at an address.
async fn discover(context: &Shared, client: &Client, config: &DriverConfig) -> Outcome {
    let mut driver = opened(context, client, config)?;
    let patience = Duration::from_millis(context.settings.driver_deadline_ms);
    let found = timeout(patience, driver.discover()).await.map_err(|_| too_late())?;
    match found.map_err(|error| unreachable(&error))? {
        Some(found) => Ok(json!({ "items": found })),
        None => Err(refusal_of_query(&QueryError::Unsupported)),
    }
}

/// Connects, asks who is there, and closes.
async fn test(context: &Shared, client: &Client, config: &DriverConfig) -> Outcome {
    let mut driver = opened(context, client, config)?;
    let begun_ms = context.uptime_ms();
    let work = async {
        driver.connect().await.map_err(|error| unreachable(&error))?;
        let took_ms = context.uptime_ms().saturating_sub(begun_ms);
        match driver.identify().await {
            Ok(told) => Ok((took_ms, identity_of(&told))),
            // Many machines have no word for it: that they were reached is what counts.
            Err(QueryError::Unsupported | QueryError::Device(_)) => Ok((took_ms, Json::Null)),
            Err(error) => Err(refusal_of_query(&error)),
        }
    };
    let patience = Duration::from_millis(context.settings.driver_deadline_ms);
    let (took_ms, identity) = timeout(patience, work).await.unwrap_or_else(|_| Err(too_late()))?;
    Ok(json!({ "connected": true, "took_ms": took_ms, "identity": identity }))
}
