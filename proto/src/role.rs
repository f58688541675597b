//! Who a client is, and the roles it can have.

use crate::id::{EdgeId, ThingId, UserId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a client may do, compiled into topic permissions by the broker and into verbs by the admin API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything, in every namespace.
    SystemAdmin,
    /// Everything in the projects of one tenant.
    TenantAdmin,
    /// Everything in one project.
    ProjectAdmin,
    /// Reads everything of one project, changes nothing.
    User,
    /// An application: reads the namespace, sends commands and writes, uses free topics.
    App,
    /// A device: its own topics only.
    Device,
    /// An edge node: its own topics and the values of its machines.
    Edge,
    /// A device that is not registered yet: asks to be, and nothing else.
    Enrolment,
}

impl Role {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SystemAdmin => "system_admin",
            Self::TenantAdmin => "tenant_admin",
            Self::ProjectAdmin => "project_admin",
            Self::User => "user",
            Self::App => "app",
            Self::Device => "device",
            Self::Edge => "edge",
            Self::Enrolment => "enrolment",
        }
    }

    /// Whether the role may change what the admin API manages.
    pub fn is_admin(self) -> bool {
        matches!(self, Self::SystemAdmin | Self::TenantAdmin | Self::ProjectAdmin)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who a client has proved to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// A device.
    Thing(ThingId),
    /// An edge node.
    Edge(EdgeId),
    /// A person or an application.
    User {
        /// Its name.
        name: UserId,
        /// Its role in the namespace it is mounted in.
        role: Role,
    },
    /// A part of the platform itself, in process.
    Platform,
}

impl Identity {
    /// The role.
    pub fn role(&self) -> Role {
        match self {
            Self::Thing(_) => Role::Device,
            Self::Edge(_) => Role::Edge,
            Self::User { role, .. } => *role,
            Self::Platform => Role::SystemAdmin,
        }
    }
}

impl Identity {
    /// The name; empty for the platform.
    pub fn name(&self) -> &str {
        match self {
            Self::Thing(thing) => thing.as_str(),
            Self::Edge(edge) => edge.as_str(),
            Self::User { name, .. } => name.as_str(),
            Self::Platform => "",
        }
    }

    /// Whether it is the same client, whatever its role is now.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User { name, .. }, Self::User { name: other, .. }) => name == other,
            _ => self == other,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Thing(thing) => write!(f, "thing {thing}"),
            Self::Edge(edge) => write!(f, "edge {edge}"),
            Self::User { name, role } => write!(f, "{role} {name}"),
            Self::Platform => f.write_str("platform"),
        }
    }
}
