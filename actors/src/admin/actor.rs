//! The actor of the admin API: one request after the other, each answered when it is committed or
//! refused.

use super::answers::{AnswerRow, Answers};
use super::live::{Ended, Live, Run, UnderWay};
use super::plan::{After, Owner, Plan, Request, SecretToHash};
use super::recording::{self, Asked};
use super::reply::ReplyTo;
use super::request::{Body, Caller};
use super::table::{self, Operation, Resource};
use crate::ask::ask;
use crate::audit::entry::BEGUN;
use crate::audit::{self, Entry};
use crate::backups;
use crate::bridges::BridgesMsg;
use crate::cluster::{ClusterMsg, ProjectRow};
use crate::context::{Context, Shared};
use crate::device::DeviceMsg;
use crate::device::row::ThingRow;
use crate::edge_node::EdgeNodeMsg;
use crate::refused;
use crate::tenant::TenantMsg;
use broker::credential::{Credential, system_namespace};
use broker::{Client, Delivery, Newcomer, Outgoing};
use proto::{Namespace, PlatformTopic, Refusal, RefusalCode, Role, ThingId};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde_json::Value as Json;
use std::sync::Arc;
use store::{Changes, ReadError};
use tracing::{Instrument, Span};

/// What the admin API is told.
pub(crate) enum AdminMsg {
    /// A request.
    Request(Delivery),
    /// A machine has answered.
    Ended(Box<Ended>),
    /// A device has come for the first time, with a certificate.
    Newcomer(Box<Newcomer>, RpcReplyPort<Result<(), Refusal>>),
}

/// What an admin API is started with.
pub(crate) struct AdminArgs {
    pub(crate) context: Shared,
    pub(crate) client: Client,
    pub(crate) tenant: ActorRef<TenantMsg>,
    pub(crate) cluster: ActorRef<ClusterMsg>,
}

/// See [`super`].
pub(crate) struct AdminActor;

/// Everything an admin API has.
pub(crate) struct AdminCore {
    pub(super) context: Shared,
    pub(super) client: Client,
    pub(super) tenant: ActorRef<TenantMsg>,
    cluster: ActorRef<ClusterMsg>,
    pub(super) answers: Answers,
    pub(super) under_way: UnderWay,
    /// An owner did not answer in time: what it did all the same is in the store.
    is_unsure: bool,
    span: Span,
}

/// What is answered.
pub(super) type Outcome = Result<Json, Refusal>;

/// An operation with its resource.
pub(super) type Found = (&'static Resource, &'static Operation);

/// What an operation has led to.
pub(super) enum Performed {
    /// It is done: the answer, and what follows it.
    Done(Json, Vec<After>),
    /// A machine has to be asked first.
    Live(Live),
}

impl Actor for AdminActor {
    type Msg = AdminMsg;
    type State = AdminCore;
    type Arguments = AdminArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<AdminMsg>,
        args: AdminArgs,
    ) -> Result<AdminCore, ActorProcessingErr> {
        let AdminArgs { context, client, tenant, cluster } = args;
        let answers = load_answers(&context, &client)?;
        let span = tracing::info_span!("admin", tenant = %client.namespace());
        context.desks.open(client.namespace(), myself);
        let under_way = UnderWay::default();
        let is_unsure = false;
        Ok(AdminCore { context, client, tenant, cluster, answers, under_way, is_unsure, span })
    }

    async fn handle(
        &self,
        myself: ActorRef<AdminMsg>,
        message: AdminMsg,
        core: &mut AdminCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        match message {
            AdminMsg::Request(delivery) => core.request(&myself, delivery).instrument(span).await,
            AdminMsg::Ended(ended) => core.ended(*ended).instrument(span).await,
            AdminMsg::Newcomer(newcomer, reply) => {
                let outcome = core.newcomer(&newcomer).instrument(span).await;
                // Who has given up meanwhile finds its thing when it comes again.
                let _ = reply.send(outcome);
            }
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        myself: ActorRef<AdminMsg>,
        core: &mut AdminCore,
    ) -> Result<(), ActorProcessingErr> {
        core.context.desks.close(core.client.namespace(), &myself);
        Ok(())
    }
}

impl AdminCore {
    async fn request(&mut self, myself: &ActorRef<AdminMsg>, delivery: Delivery) {
        let topic = PlatformTopic::parse(&delivery.topic);
        let Some(PlatformTopic::Admin { resource, verb, request_id }) = topic else {
            tracing::debug!(topic = %delivery.topic, "not a request");
            return delivery.ack();
        };
        let reply_to = ReplyTo::of(&delivery, request_id.as_ref());
        match self.perform(resource.as_str(), verb.as_str(), &delivery).await {
            Ok(Ok(run)) => self.begin(myself, run, delivery, reply_to).await,
            Ok(Err((data, after))) => self.answer(&reply_to, (data, after), delivery).await,
            Err(refusal) => self.finish(&reply_to, Err(refusal), Some(delivery)),
        }
    }

    /// Answers what is done, with what comes before and after the answer.
    async fn answer(
        &mut self,
        reply_to: &ReplyTo,
        (data, after): (Json, Vec<After>),
        delivery: Delivery,
    ) {
        let (at_once, after): (Vec<After>, Vec<After>) =
            after.into_iter().partition(After::is_at_once);
        for step in at_once {
            self.follow(step).await;
        }
        self.finish(reply_to, Ok(data), Some(delivery));
        // After the answer: the session that ends may be the caller's own.
        for step in after {
            self.follow(step).await;
        }
    }

    /// What was done, or what a machine has to be asked.
    async fn perform(
        &mut self,
        resource: &str,
        verb: &str,
        delivery: &Delivery,
    ) -> Result<Result<Run, (Json, Vec<After>)>, Refusal> {
        let sender = &delivery.sender;
        let caller = Caller::of(&sender.identity, &sender.client_id)?;
        let found = table::find(resource, verb)?;
        let (_, operation) = found;
        let body = Body::parse(&delivery.payload);
        let request_id = body.as_ref().ok().and_then(|body| body.request_id.clone());
        let asked =
            Asked { identity: &sender.identity, client_id: &sender.client_id, address: None };
        let entry = self.entry(&asked, found, body.as_ref().ok());
        let outcome = self.carry_out(found, &caller, (body, &entry)).await;
        let outcome = match outcome {
            Ok(Performed::Live(live)) => {
                return Ok(Ok(Run { live, found, caller, entry, request_id }));
            }
            Ok(Performed::Done(data, after)) => Ok(Err((data, after))),
            Err(refusal) => Err(refusal),
        };
        if operation.is_mutation {
            recording::tell(&caller, found, outcome.as_ref().err());
        }
        if let Err(refusal) = &outcome {
            self.record_refusal(operation, entry, refusal).await;
        }
        outcome
    }

    pub(super) async fn carry_out(
        &mut self,
        (resource, operation): Found,
        caller: &Caller,
        (body, entry): (Result<Body, Refusal>, &Entry),
    ) -> Result<Performed, Refusal> {
        if !caller.is_at_least(Role::SystemAdmin) && self.is_closed() {
            return Err(Refusal::new(RefusalCode::Forbidden, "the project is disabled"));
        }
        if !caller.is_at_least(operation.role) {
            let message =
                format!("{} {} needs the role {}", resource.name, operation.verb, operation.role);
            return Err(Refusal::new(RefusalCode::Forbidden, message));
        }
        let body = body?;
        if !operation.is_mutation {
            let plan = self.plan(operation, caller, body).await?;
            return Ok(match plan.live {
                Some(live) => Performed::Live(live),
                None => Performed::Done(plan.data, Vec::new()),
            });
        }
        self.mutate(operation, caller, (body, entry)).await
    }

    /// Whether the project is disabled. What its clients sent before they had to go is too late.
    fn is_closed(&self) -> bool {
        self.context.outside.broker.is_closed(self.client.namespace())
    }

    /// Reading may wait for the disk: not on a thread that others wait for.
    async fn plan(
        &self,
        operation: &'static Operation,
        caller: &Caller,
        body: Body,
    ) -> Result<Plan, Refusal> {
        let (context, client) = (self.context.clone(), self.client.clone());
        let (caller, span) = (caller.clone(), self.span.clone());
        let planned = tokio::task::spawn_blocking(move || {
            let _entered = span.entered();
            let snapshot = context.outside.store.read().map_err(Refusal::internal)?;
            (operation.run)(&Request {
                context: &context,
                namespace: client.namespace(),
                caller: &caller,
                body,
                client: &client,
                snapshot: Arc::new(snapshot),
            })
        });
        match planned.await {
            Ok(planned) => planned,
            // A fault of the operation is one of this actor, which its supervisor starts anew.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => Err(Refusal::new(RefusalCode::Unavailable, "the node is stopping")),
        }
    }

    async fn mutate(
        &mut self,
        operation: &'static Operation,
        caller: &Caller,
        (body, entry): (Body, &Entry),
    ) -> Result<Performed, Refusal> {
        let name = entry.action.as_str();
        // Devices that come in by one enrolment have one name: none is given the answer of another.
        let request_id = body.request_id.clone().filter(|_| caller.role != Role::Enrolment);
        if self.is_unsure {
            self.answers = load_answers(&self.context, &self.client).map_err(Refusal::internal)?;
            self.is_unsure = false;
        }
        if let Some(request_id) = &request_id
            && let Some(data) = self.answers.find(&caller.name, request_id, name)?
        {
            self.context.counters.admin_repeated.increase();
            return Ok(Performed::Done(data.clone(), Vec::new()));
        }
        let plan = self.plan(operation, caller, body).await?;
        let Plan { data, mut changes, messages, owner, hash, after, live } = plan;
        if let Some(live) = live {
            return Ok(Performed::Live(live));
        }
        if let Some(hash) = hash {
            self.hash(hash, &mut changes).await?;
        }
        let max = self.context.settings.answers_max;
        let answer = request_id.as_ref().map(|request_id| {
            let asked = (caller.name.as_str(), request_id, name);
            self.answers.plan((self.client.namespace(), max), &mut changes, asked, &data)
        });
        audit::log::add(&mut changes, entry.clone());
        let committed = self.commit(owner, (changes, messages), entry).await;
        self.is_unsure =
            committed.as_ref().is_err_and(|refusal| refusal.code == RefusalCode::TimedOut);
        committed?;
        if let Some(answer) = answer {
            self.answers.kept(answer, max);
        }
        Ok(Performed::Done(data, after))
    }

    /// Argon2 takes its time and memory on purpose: not on a thread that others wait for.
    async fn hash(&self, hash: SecretToHash, changes: &mut Changes) -> Result<(), Refusal> {
        let SecretToHash { key, identity, secret, terms } = hash;
        let context = self.context.clone();
        let hashed = tokio::task::spawn_blocking(move || {
            Credential::person(identity, &secret, &*context.outside.entropy)
        });
        let credential = hashed
            .await
            .map_err(|_| Refusal::new(RefusalCode::Unavailable, "the node is stopping"))?
            .map_err(Refusal::internal)?;
        changes.put::<Credential>(&key, &terms.put_on(credential));
        Ok(())
    }

    /// Has the owner of the rows commit, so that it is never surprised by them.
    async fn commit(
        &self,
        owner: Owner,
        (changes, messages): (Changes, Vec<Outgoing>),
        entry: &Entry,
    ) -> Result<(), Refusal> {
        match owner {
            Owner::Admin => {
                let kept = self.client.publish_durably(changes, messages).await;
                kept.map_err(|error| refused::by_store(&error))
            }
            Owner::Broker(act) => {
                // What the broker does has commits of its own: that it was begun is there before any of them.
                let begun = self.context.audit.commit(entry.with_outcome(BEGUN)).await;
                begun.map_err(|error| refused::by_store(&error))?;
                let broker = &self.context.outside.broker;
                act.carry_out(broker, self.client.namespace()).await?;
                let kept = self.client.publish_durably(changes, messages).await;
                kept.map_err(|error| refused::by_store(&error))
            }
            Owner::Backup(name) => self.keep_backup(&name, changes, messages).await,
            Owner::Restore(restore) => self.keep_restore(restore, changes, messages).await,
            Owner::DeletedBackup(name) => {
                self.delete_backup(&name, (changes, messages), entry).await
            }
            Owner::ChangedDevice(thing, row) => {
                let question = |reply| {
                    let change = DeviceMsg::Change { row, changes, messages, reply };
                    TenantMsg::ToDevice(thing, Box::new(change))
                };
                self.ask_tenant(question).await
            }
            Owner::RetiredDevice(thing) => {
                let question = |reply| {
                    let retire = DeviceMsg::Retire { changes, messages, reply };
                    TenantMsg::ToDevice(thing, Box::new(retire))
                };
                self.ask_tenant(question).await
            }
            Owner::Command(thing, order) => {
                let question = |reply| {
                    let order = DeviceMsg::Order { order, changes, reply: Some(reply) };
                    TenantMsg::ToDevice(thing, Box::new(order))
                };
                self.ask_tenant(question).await
            }
            Owner::Driver(driver) => {
                let question = |reply| {
                    let change = EdgeNodeMsg::Reconfigure { driver, changes, messages, reply };
                    TenantMsg::ToEdgeNode(Box::new(change))
                };
                self.ask_tenant(question).await
            }
            Owner::Bridge(bridge) => {
                let question = |reply| {
                    let change = BridgesMsg::Reconfigure { bridge, changes, messages, reply };
                    TenantMsg::ToBridges(Box::new(change))
                };
                self.ask_tenant(question).await
            }
            Owner::StartedProject(namespace) => {
                let question = |reply| ClusterMsg::StartProject { namespace, changes, reply };
                answered(ask(&self.cluster, question, self.context.call_timeout()).await)
            }
            Owner::EndedProject(namespace) => {
                let question = |reply| ClusterMsg::EndProject { namespace, changes, reply };
                answered(ask(&self.cluster, question, self.context.call_timeout()).await)
            }
        }
    }

    async fn ask_tenant(
        &self,
        question: impl FnOnce(RpcReplyPort<Result<(), Refusal>>) -> TenantMsg,
    ) -> Result<(), Refusal> {
        answered(ask(&self.tenant, question, self.context.call_timeout()).await)
    }

    pub(super) async fn follow(&self, step: After) {
        let broker = &self.context.outside.broker;
        match step {
            After::EndSessions(namespace, identity) => {
                let entered = match namespace == system_namespace() {
                    true => self.all_namespaces(),
                    false => vec![namespace],
                };
                let end = |namespace| broker.disconnect_identity(namespace, &identity);
                let ended: usize = entered.iter().map(end).sum();
                tracing::info!(%identity, ended, "sessions ended");
            }
            After::Permissions(namespace, users) => {
                match broker.permissions_of_many_changed(&namespace, &users) {
                    Ok(sessions) => tracing::info!(?users, sessions, "permissions changed"),
                    Err(error) => {
                        tracing::error!(?users, %error, "permissions count from the next connect only");
                    }
                }
            }
            After::Certificates(namespace, fingerprint) => {
                match broker.authorities_changed(&namespace, fingerprint.as_deref()) {
                    Ok(ended) => tracing::info!(%namespace, ended, "certificates changed"),
                    Err(error) => tracing::error!(%error, "authorities count as before"),
                }
            }
            After::Broadcast(id) => drop(self.tenant.cast(TenantMsg::Broadcast(id))),
            After::Trust => self.context.trust_changed.send_modify(|it| *it += 1),
            After::Rules(namespace) => self.context.rules_changed.ring(&namespace),
            After::Registered(rows) => self.registered(rows),
            After::Due(things) => {
                for (edge, thing) in things {
                    self.context.due_things.add(self.client.namespace(), edge, thing);
                }
            }
            After::Tenancy(namespaces) => {
                namespaces.iter().for_each(|it| crate::cluster::apply(&self.context, it));
                // A cluster that is gone starts its tenants from what the broker knows now.
                let _ = self.cluster.cast(ClusterMsg::Tenancy(namespaces));
            }
            After::Backup(name, tenant) => backups::begin(&self.context, name, tenant),
            After::Restore(restore) => {
                backups::restore::begin(&self.context, &self.cluster, restore)
            }
            After::Disconnect(client_id, reason) => {
                broker.disconnect(self.client.namespace(), &client_id, reason);
            }
            After::EndSession(client_id, reason) => {
                let namespace = self.client.namespace();
                if let Err(error) = broker.end_session(namespace, &client_id, reason).await {
                    tracing::error!(%client_id, %error, "a session may be back after a crash");
                }
            }
        }
    }

    /// Has gateways speak for these things, and their devices know what they are now.
    fn registered(&self, rows: Vec<(ThingId, ThingRow)>) {
        let relations = rows.iter().map(|(thing, row)| (thing.clone(), row.parent.clone()));
        let broker = &self.context.outside.broker;
        broker.set_parents(self.client.namespace(), relations.collect());
        let _ = self.tenant.cast(TenantMsg::Registered(rows));
    }

    /// Where an operator of the whole system may have entered.
    fn all_namespaces(&self) -> Vec<Namespace> {
        let found = self.context.outside.store.read();
        match found.and_then(|snapshot| snapshot.scan::<ProjectRow>(&[])) {
            Ok(found) => found.into_iter().flatten().map(|(namespace, _)| namespace).collect(),
            Err(error) => {
                tracing::error!(%error, "cannot read the projects, sessions may live on");
                Vec::new()
            }
        }
    }
}

fn load_answers(context: &Context, client: &Client) -> Result<Answers, ReadError> {
    let mut kept = Vec::new();
    let prefix = store::prefix(client.namespace());
    for found in context.outside.store.read()?.scan::<AnswerRow>(&prefix)? {
        match found {
            Ok(((_, number), row)) => kept.push((number, row)),
            Err(error) => tracing::error!(%error, "an answer cannot be read"),
        }
    }
    Ok(Answers::new(kept))
}

fn answered(answer: Option<Result<(), Refusal>>) -> Result<(), Refusal> {
    // It may be done all the same: with a request id it is safe to ask again.
    let no_answer =
        || Refusal::new(RefusalCode::TimedOut, "the part that must do it did not answer");
    answer.unwrap_or_else(|| Err(no_answer()))
}
