//! The actor of a tenant: its messages, its life, and who of its children has failed.

use super::alarms::Alarms;
use super::directory::Directory;
use super::parts::{Parts, TaskPart};
use super::settle;
use crate::admin::AdminMsg;
use crate::bridges::BridgesMsg;
use crate::cluster::ClusterMsg;
use crate::context::Shared;
use crate::device::DeviceMsg;
use crate::device::row::ThingRow;
use crate::door::Door;
use crate::edge_node::EdgeNodeMsg;
use crate::registry;
use broker::{Client, Delivery};
use proto::platform::{ThingRoot, ThingTopic};
use proto::{CommandId, ThingId, TimestampMs};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, SupervisionEvent};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use tracing::{Instrument, Span};

/// What a tenant is told.
pub(crate) enum TenantMsg {
    /// Messages of the broker: of devices, about devices, or about connections.
    Deliveries(Vec<Delivery>),
    /// A device wants to sleep.
    Idle {
        /// Which.
        thing: ThingId,
        /// Which of its actors.
        incarnation: u64,
        /// How many messages it has handled.
        handled: u64,
    },
    /// A device got a message after it was deleted.
    Unregistered {
        /// The root it came by.
        root: ThingRoot,
        /// Which.
        thing: ThingId,
        /// What it is about.
        topic: ThingTopic,
        /// The message.
        delivery: Box<Delivery>,
    },
    /// The admin API has something for a device.
    ToDevice(ThingId, Box<DeviceMsg>),
    /// The admin API has changed these registrations.
    Registered(Vec<(ThingId, ThingRow)>),
    /// The admin API has something for the edge node.
    ToEdgeNode(Box<EdgeNodeMsg>),
    /// The admin API has something for the bridges.
    ToBridges(Box<BridgesMsg>),
    /// The project may have been opened or closed.
    Tenancy,
    /// A device has commands, the first of which has to end at this time.
    WakeAt(ThingId, TimestampMs),
    /// The timer of the first of these times is over.
    AlarmsRing,
    /// Edge nodes have said something of these things, which is kept.
    EdgeSaid(BTreeSet<ThingId>),
    /// A broadcast is there, or taken back: its members are to be told.
    Broadcast(CommandId),
    /// The pause of a failed device is over.
    DeviceRested(ThingId, u64),
    /// The pause of the failed edge node is over.
    EdgeNodeRested,
    /// The pause of the failed bridges is over.
    BridgesRested,
    /// The pause of a failed task is over.
    TaskRested(TaskPart),
    /// The pause of the failed admin API is over.
    AdminRested,
    /// The node stops: let everybody finish what is in their mailbox.
    Stop(RpcReplyPort<()>),
    /// The admin API has finished, which may have needed this actor: now the rest.
    Finish(RpcReplyPort<()>),
}

/// What a tenant is started with.
pub(crate) struct TenantArgs {
    pub(crate) context: Shared,
    pub(crate) cluster: ActorRef<ClusterMsg>,
    /// The client to publish with; its deliveries come as [`TenantMsg::Deliveries`].
    pub(crate) client: Client,
    pub(crate) admin_door: Arc<Door<AdminMsg>>,
}

/// See [`super`].
pub(crate) struct TenantActor;

/// Everything a tenant has.
pub(crate) struct TenantCore {
    pub(super) context: Shared,
    pub(super) client: Client,
    pub(super) directory: Directory<ActorRef<DeviceMsg>, DeviceMsg>,
    /// The devices that are awake, by the id of their actor.
    pub(super) device_of: HashMap<ActorId, (ThingId, u64)>,
    /// Devices that have failed and may have missed news of their connections.
    pub(super) unsure: HashSet<ThingId>,
    pub(super) alarms: Alarms,
    pub(super) parts: Parts,
    span: Span,
}

impl Actor for TenantActor {
    type Msg = TenantMsg;
    type State = TenantCore;
    type Arguments = TenantArgs;

    async fn pre_start(
        &self,
        myself: ActorRef<TenantMsg>,
        args: TenantArgs,
    ) -> Result<TenantCore, ActorProcessingErr> {
        let TenantArgs { context, cluster, client, admin_door } = args;
        let span = tracing::info_span!("tenant", tenant = %client.namespace());
        registry::load_parents(&context, &client)?;
        settle::settle(&context, &client).instrument(span.clone()).await?;
        let settings = &context.settings;
        let directory =
            Directory::new(settings.restart, settings.quarantine_ms, settings.device_mail_max);
        let parts = Parts::new(cluster, admin_door);
        let mut core = TenantCore {
            context,
            client,
            directory,
            device_of: HashMap::new(),
            unsure: HashSet::new(),
            alarms: Alarms::default(),
            parts,
            span: span.clone(),
        };
        span.in_scope(|| core.begin_commands(&myself))?;
        // Before anything is published that goes up.
        core.start_task(&myself, TaskPart::Uplink).instrument(span.clone()).await?;
        core.start_task(&myself, TaskPart::Edges).instrument(span.clone()).await?;
        core.start_task(&myself, TaskPart::Rules).instrument(span.clone()).await?;
        core.start_edge_node(&myself).instrument(span.clone()).await?;
        core.start_bridges(&myself).instrument(span.clone()).await?;
        core.start_admin(&myself).instrument(span).await?;
        Ok(core)
    }

    async fn handle(
        &self,
        myself: ActorRef<TenantMsg>,
        message: TenantMsg,
        core: &mut TenantCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        core.handle(&myself, message).instrument(span).await
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<TenantMsg>,
        event: SupervisionEvent,
        core: &mut TenantCore,
    ) -> Result<(), ActorProcessingErr> {
        let span = core.span.clone();
        let (id, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "ended by itself".to_owned()))
            }
            _ => return Ok(()),
        };
        core.child_ended(&myself, id, &reason).instrument(span).await
    }
}

impl TenantCore {
    async fn handle(
        &mut self,
        myself: &ActorRef<TenantMsg>,
        message: TenantMsg,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            TenantMsg::Deliveries(deliveries) => {
                for delivery in deliveries {
                    self.delivered(myself, delivery).await;
                }
            }
            TenantMsg::Idle { thing, incarnation, handled } => {
                self.idle(&thing, incarnation, handled);
            }
            TenantMsg::Unregistered { root, thing, topic, delivery } => {
                self.refuse_unregistered(root, &thing, topic, *delivery);
            }
            TenantMsg::ToDevice(thing, message) => {
                self.directory.forgive(&thing);
                self.send(myself, thing, *message).await;
            }
            TenantMsg::WakeAt(thing, at) => self.wake_at(myself, thing, at),
            TenantMsg::AlarmsRing => self.alarms_ring(myself).await,
            TenantMsg::EdgeSaid(things) => {
                for thing in things {
                    self.send(myself, thing, DeviceMsg::EdgeSaid).await;
                }
            }
            TenantMsg::Broadcast(id) => self.broadcast(myself, id).await,
            TenantMsg::Registered(rows) => {
                rows.into_iter().for_each(|(thing, row)| self.registered(&thing, row));
            }
            TenantMsg::ToEdgeNode(message) => self.parts.to_edge_node(*message),
            TenantMsg::ToBridges(message) => self.parts.to_bridges(*message),
            TenantMsg::Tenancy => {
                self.parts.to_edge_node(EdgeNodeMsg::Tenancy);
                self.parts.to_bridges(BridgesMsg::Tenancy);
            }
            TenantMsg::DeviceRested(thing, incarnation) => {
                self.device_rested(myself, thing, incarnation).await;
            }
            TenantMsg::EdgeNodeRested => self.start_edge_node(myself).await?,
            TenantMsg::BridgesRested => self.start_bridges(myself).await?,
            TenantMsg::TaskRested(part) => self.start_task(myself, part).await?,
            TenantMsg::AdminRested => self.start_admin(myself).await?,
            TenantMsg::Stop(reply) => self.stop_admin(myself, reply),
            TenantMsg::Finish(reply) => {
                self.stop_rest().await;
                let _ = reply.send(());
                myself.stop(None);
            }
        }
        Ok(())
    }
}

impl Drop for TenantCore {
    fn drop(&mut self) {
        self.context.counters.devices_awake.subtract(self.device_of.len() as u64);
    }
}
