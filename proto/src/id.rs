//! Typed names: one type for each kind of thing that has a name, each made only by its parser.
//!
//! A name is one topic level, so that it can stand in a topic as it is: 1 to [`ID_BYTES_MAX`] bytes of letters
//! and digits of any script, and `-`, `_`, `.`, `:`, `@` anywhere but first (`_` may be first). The kinds differ
//! only as types: a [`ThingId`] cannot be passed where an [`EdgeId`] is asked for.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;

/// The longest name, in bytes.
pub const ID_BYTES_MAX: usize = 128;

/// The longest client id, in bytes (MQTT 5.0 1.5.4 allows a text of this length).
pub const CLIENT_ID_BYTES_MAX: usize = 65_535;

/// A kind of name; says what to call it in an error.
pub trait Kind {
    /// What a person calls it, such as `thing id`.
    const NAME: &'static str;
    /// Whether it may begin with `$`, as what the platform itself names does.
    const MAY_BE_RESERVED: bool = false;
}

/// A valid name of kind `K`. Cloning shares the text.
pub struct Id<K>(Arc<str>, PhantomData<fn() -> K>);

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {reason}")]
pub struct IdError {
    /// What was asked for.
    pub kind: &'static str,
    /// What is wrong with the text.
    pub reason: &'static str,
}

/// Kinds of [`Id`].
pub mod kind {
    use super::Kind;

    /// Of [`TenantId`](super::TenantId).
    pub enum Tenant {}
    /// Of [`ProjectId`](super::ProjectId).
    pub enum Project {}
    /// Of [`ThingId`](super::ThingId).
    pub enum Thing {}
    /// Of [`EdgeId`](super::EdgeId).
    pub enum Edge {}
    /// Of [`DriverId`](super::DriverId).
    pub enum Driver {}
    /// Of [`TagId`](super::TagId).
    pub enum Tag {}
    /// Of [`BridgeId`](super::BridgeId).
    pub enum Bridge {}
    /// Of [`RuleId`](super::RuleId).
    pub enum Rule {}
    /// Of [`UserId`](super::UserId).
    pub enum User {}
    /// Of [`RoleId`](super::RoleId).
    pub enum CustomRole {}
    /// Of [`TokenId`](super::TokenId).
    pub enum Token {}
    /// Of [`EventName`](super::EventName).
    pub enum Event {}
    /// Of [`CommandName`](super::CommandName).
    pub enum Command {}
    /// Of [`CommandId`](super::CommandId).
    pub enum CommandNumber {}
    /// Of [`ShadowName`](super::ShadowName).
    pub enum Shadow {}
    /// Of [`JobId`](super::JobId).
    pub enum Job {}
    /// Of [`TransferId`](super::TransferId).
    pub enum Transfer {}
    /// Of [`RequestId`](super::RequestId).
    pub enum Request {}
    /// Of [`AdminWord`](super::AdminWord).
    pub enum AdminWord {}
    /// Of [`Label`](super::Label).
    pub enum Label {}
    /// Of [`GroupId`](super::GroupId).
    pub enum Group {}
    /// Of [`EnrolmentId`](super::EnrolmentId).
    pub enum Enrolment {}
    /// Of [`AuthorityId`](super::AuthorityId).
    pub enum Authority {}

    impl Kind for Tenant {
        const NAME: &'static str = "tenant";
    }
    impl Kind for Project {
        const NAME: &'static str = "project";
    }
    impl Kind for Thing {
        const NAME: &'static str = "thing";
    }
    impl Kind for Edge {
        const NAME: &'static str = "edge";
    }
    impl Kind for Driver {
        const NAME: &'static str = "driver";
    }
    impl Kind for Tag {
        const NAME: &'static str = "tag";
    }
    impl Kind for Bridge {
        const NAME: &'static str = "bridge";
    }
    impl Kind for Rule {
        const NAME: &'static str = "rule";
    }
    impl Kind for User {
        const NAME: &'static str = "user";
    }
    impl Kind for CustomRole {
        const NAME: &'static str = "role name";
    }
    impl Kind for Token {
        const NAME: &'static str = "credential name";
    }
    impl Kind for Event {
        const NAME: &'static str = "event name";
    }
    impl Kind for Command {
        const NAME: &'static str = "command name";
    }
    impl Kind for CommandNumber {
        const NAME: &'static str = "command id";
    }
    impl Kind for Shadow {
        const NAME: &'static str = "shadow name";
    }
    impl Kind for Job {
        const NAME: &'static str = "job id";
    }
    impl Kind for Transfer {
        const NAME: &'static str = "transfer id";
    }
    impl Kind for Request {
        const NAME: &'static str = "request id";
    }
    impl Kind for Enrolment {
        const NAME: &'static str = "enrolment";
    }
    impl Kind for Authority {
        const NAME: &'static str = "authority";
    }
    impl Kind for Label {
        const NAME: &'static str = "tag of a thing";
    }
    impl Kind for Group {
        const NAME: &'static str = "group";
    }
    impl Kind for AdminWord {
        const NAME: &'static str = "admin resource or verb";
        const MAY_BE_RESERVED: bool = true;
    }
}

/// An organisation.
pub type TenantId = Id<kind::Tenant>;
/// A project of a tenant.
pub type ProjectId = Id<kind::Project>;
/// A device.
pub type ThingId = Id<kind::Thing>;
/// An edge node.
pub type EdgeId = Id<kind::Edge>;
/// A driver of an edge node: one connection to one machine.
pub type DriverId = Id<kind::Driver>;
/// A bridge to another broker.
pub type BridgeId = Id<kind::Bridge>;
/// A rule of a project.
pub type RuleId = Id<kind::Rule>;
/// A tag of a driver: one point of a machine.
pub type TagId = Id<kind::Tag>;
/// A person or an application.
pub type UserId = Id<kind::User>;
/// A custom role of a project.
pub type RoleId = Id<kind::CustomRole>;
/// An API token of a user.
pub type TokenId = Id<kind::Token>;
/// An event that a thing reports.
pub type EventName = Id<kind::Event>;
/// A command that a thing takes.
pub type CommandName = Id<kind::Command>;
/// One invocation of a command, as who asked for it has named it.
pub type CommandId = Id<kind::CommandNumber>;
/// A named shadow of a thing.
pub type ShadowName = Id<kind::Shadow>;
/// A job of a thing.
pub type JobId = Id<kind::Job>;
/// A file transfer of a thing.
pub type TransferId = Id<kind::Transfer>;
/// A request of the admin API, where its caller names it in the topic.
pub type RequestId = Id<kind::Request>;
/// The name of an admin resource or verb; `$catalog` is one.
pub type AdminWord = Id<kind::AdminWord>;
/// A word that things are marked with, to find them by.
pub type Label = Id<kind::Label>;
/// A group of things.
pub type GroupId = Id<kind::Group>;
/// A way in for devices that are not registered yet.
pub type EnrolmentId = Id<kind::Enrolment>;
/// An authority whose certificates let devices in.
pub type AuthorityId = Id<kind::Authority>;

impl<K: Kind> Id<K> {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let plain = match text.strip_prefix('$') {
            Some(rest) if K::MAY_BE_RESERVED => rest,
            _ => text,
        };
        check(plain).map_err(|reason| IdError { kind: K::NAME, reason })?;
        Ok(Self(text.into(), PhantomData))
    }
}

impl<K> Id<K> {
    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(text: &str) -> Result<(), &'static str> {
    if text.len() > ID_BYTES_MAX {
        return Err("longer than 128 bytes");
    }
    match text.chars().next() {
        None => return Err("empty"),
        Some(first) if first.is_alphanumeric() || first == '_' => {}
        Some(_) => return Err("it must start with a letter, a digit or `_`"),
    }
    let allowed = |c: char| c.is_alphanumeric() || "-_.:@".contains(c);
    if text.chars().all(allowed) {
        Ok(())
    } else {
        Err("only letters, digits and `-` `_` `.` `:` `@` are allowed")
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), PhantomData)
    }
}
impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<K> Eq for Id<K> {}
impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}
impl<K> std::hash::Hash for Id<K> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<K> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl<K> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
impl<K: Kind> FromStr for Id<K> {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::parse(text)
    }
}
impl<K> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl<K: Kind> JsonSchema for Id<K> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        K::NAME.into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": K::NAME,
            "pattern": r"^[\p{L}\p{N}_][\p{L}\p{N}\-_.:@]*$",
            "minLength": 1,
            "maxLength": ID_BYTES_MAX,
        })
    }
}

/// The space one client lives in: its tenant and project. Topics of two namespaces never meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    /// The organisation.
    pub tenant: TenantId,
    /// The project within it.
    pub project: ProjectId,
}

impl Namespace {
    /// Parses `<tenant>/<project>`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let (tenant, project) = text
            .split_once('/')
            .ok_or(IdError { kind: "namespace", reason: "it must read `<tenant>/<project>`" })?;
        Ok(Self { tenant: TenantId::parse(tenant)?, project: ProjectId::parse(project)? })
    }
}

impl Default for Namespace {
    /// `default/default`, where clients land whose user name gives no namespace.
    fn default() -> Self {
        let name: Arc<str> = "default".into();
        Self { tenant: Id(Arc::clone(&name), PhantomData), project: Id(name, PhantomData) }
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.tenant, self.project)
    }
}

/// The user name of a CONNECT packet: `<name>` in the default namespace, or `<tenant>/<project>/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UserName {
    /// The namespace to be mounted in.
    pub namespace: Namespace,
    /// A thing, an edge node or a user of that namespace, or an operator of the whole system.
    pub name: UserId,
}

impl UserName {
    /// Parses either form.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        match text.rsplit_once('/') {
            None => Ok(Self { namespace: Namespace::default(), name: UserId::parse(text)? }),
            Some((namespace, name)) => {
                Ok(Self { namespace: Namespace::parse(namespace)?, name: UserId::parse(name)? })
            }
        }
    }
}

/// The identifier of an MQTT client within its namespace (MQTT 5.0 3.1.3.1). Any text without U+0000.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct ClientId(#[schemars(length(min = 1, max = 65_535))] Arc<str>);

impl ClientId {
    /// Parses a client id of 1 to [`CLIENT_ID_BYTES_MAX`] bytes.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let fail = |reason| Err(IdError { kind: "client id", reason });
        match text {
            "" => fail("empty"),
            _ if text.len() > CLIENT_ID_BYTES_MAX => fail("longer than 65535 bytes"),
            _ if text.contains('\0') => fail("it contains U+0000"),
            _ => Ok(Self(text.into())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ClientId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_topic_level() {
        for good in ["pump7", "_x", "泵-7", "a.b:c@d_e", "7"] {
            assert_eq!(ThingId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a/b", "+", "#", "$x", "-a", "a b", "a\0", &"x".repeat(129)] {
            assert!(ThingId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_user_name_names_its_namespace_or_lands_in_the_default() {
        let plain = UserName::parse("pump7").unwrap();
        assert_eq!(plain.namespace, Namespace::default());
        let full = UserName::parse("acme/berlin/pump7").unwrap();
        assert_eq!(full.namespace.to_string(), "acme/berlin");
        assert_eq!(full.name.as_str(), "pump7");
        for bad in ["acme/pump7", "a/b/c/d", "//x", "a/b/"] {
            assert!(UserName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn errors_say_what_was_asked_for() {
        let error = EdgeId::parse("a b").unwrap_err().to_string();
        assert!(error.starts_with("not a valid edge"), "{error}");
    }
}
