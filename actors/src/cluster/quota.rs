//! Quotas: what a tenant has in all, and what each of its projects has of it.
//!
//! A field that is absent sets no bound. Where a tenant has a bound each of its projects has a share of it, and all
//! shares together are no more than the tenant has; so what is kept to in each project is kept to in all.

use broker::NamespaceQuota;
use proto::{ProjectId, Refusal, RefusalCode};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The quota of a tenant or project.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Quota {
    /// Clients connected at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connections: Option<u64>,
    /// Things registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) things: Option<u64>,
    /// Tags of its drivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tags: Option<u64>,
    /// Messages that its clients publish in a second; at least 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) publish_messages_per_sec: Option<u64>,
    /// Bytes of its retained messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retained_bytes: Option<u64>,
    /// Bytes of messages that wait on the disk for its clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) queued_bytes: Option<u64>,
}

/// What changes of a quota: a field that is absent stays, null takes its bound away.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct QuotaChange {
    /// Clients connected at a time.
    #[serde(deserialize_with = "given")]
    connections: Option<Option<u64>>,
    /// Things registered.
    #[serde(deserialize_with = "given")]
    things: Option<Option<u64>>,
    /// Tags of its drivers.
    #[serde(deserialize_with = "given")]
    tags: Option<Option<u64>>,
    /// Messages that its clients publish in a second; at least 1.
    #[serde(deserialize_with = "given")]
    #[schemars(range(min = 1))]
    publish_messages_per_sec: Option<Option<u64>>,
    /// Bytes of its retained messages.
    #[serde(deserialize_with = "given")]
    retained_bytes: Option<Option<u64>>,
    /// Bytes of messages that wait on the disk for its clients.
    #[serde(deserialize_with = "given")]
    queued_bytes: Option<Option<u64>>,
}

/// Tells a field that is null from one that is absent.
fn given<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<u64>>, D::Error> {
    Option::<u64>::deserialize(from).map(Some)
}

/// One field of a quota.
type Field = (&'static str, fn(&Quota) -> Option<u64>);

const FIELDS: [Field; 6] = [
    ("connections", |it| it.connections),
    ("things", |it| it.things),
    ("tags", |it| it.tags),
    ("publish_messages_per_sec", |it| it.publish_messages_per_sec),
    ("retained_bytes", |it| it.retained_bytes),
    ("queued_bytes", |it| it.queued_bytes),
];

impl Quota {
    /// Whether it bounds nothing.
    pub(crate) fn is_unbounded(&self) -> bool {
        *self == Self::default()
    }

    /// The quota with what changes of it.
    pub(crate) fn changed(self, by: QuotaChange) -> Self {
        Self {
            connections: by.connections.unwrap_or(self.connections),
            things: by.things.unwrap_or(self.things),
            tags: by.tags.unwrap_or(self.tags),
            publish_messages_per_sec: by
                .publish_messages_per_sec
                .unwrap_or(self.publish_messages_per_sec),
            retained_bytes: by.retained_bytes.unwrap_or(self.retained_bytes),
            queued_bytes: by.queued_bytes.unwrap_or(self.queued_bytes),
        }
    }

    /// Refuses what cannot be kept to.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        if self.publish_messages_per_sec != Some(0) {
            return Ok(());
        }
        let message = "a rate is at least 1; to stop a project, disable it";
        Err(Refusal::new(RefusalCode::Invalid, message).at("quota.publish_messages_per_sec"))
    }

    /// What the broker keeps to.
    pub(crate) fn of_broker(&self) -> NamespaceQuota {
        let size = |bound: u64| usize::try_from(bound).unwrap_or(usize::MAX);
        NamespaceQuota {
            connections_max: self.connections.map(size),
            publish_messages_per_sec_max: self.publish_messages_per_sec,
            retained_bytes_max: self.retained_bytes.map(size),
            queued_bytes_max: self.queued_bytes,
        }
    }
}

/// Refuses shares that are more than the pool they are taken from; names the first field that is.
pub(crate) fn check_shares(pool: &Quota, shares: &[(ProjectId, Quota)]) -> Result<(), Refusal> {
    for (field, of) in FIELDS {
        let Some(pool) = of(pool) else { continue };
        let refuse = |message| {
            let refusal = Refusal::new(RefusalCode::QuotaExceeded, message);
            Err(refusal.at(format!("quota.{field}")))
        };
        let mut sum = 0_u64;
        for (project, share) in shares {
            match of(share) {
                Some(share) => sum = sum.saturating_add(share),
                None => {
                    return refuse(format!(
                        "the tenant has {pool} {field}, and project {project} no share of them"
                    ));
                }
            }
        }
        if sum > pool {
            return refuse(format!(
                "the shares of the projects come to {sum} {field}, the tenant has {pool}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota(json: serde_json::Value) -> Quota {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn shares_come_to_no_more_than_the_pool_and_every_project_has_one() {
        let pool = quota(serde_json::json!({"things": 10, "tags": 5}));
        let project = |name: &str, json| (ProjectId::parse(name).unwrap(), quota(json));
        for (things, tags, field) in [
            (Some(4), Some(5), None),
            (Some(4), Some(6), Some("quota.tags")),
            (Some(7), Some(1), Some("quota.things")),
            (None, Some(1), Some("quota.things")),
            (Some(u64::MAX), Some(1), Some("quota.things")),
        ] {
            let second = Quota { things, tags, ..Quota::default() };
            let shares = [
                project("a", serde_json::json!({"things": 6, "tags": 0, "connections": 9})),
                (ProjectId::parse("b").unwrap(), second),
            ];
            let checked = check_shares(&pool, &shares);
            let refused = checked.err().map(|it| (it.code, it.field.unwrap()));
            let expected = field.map(|it| (RefusalCode::QuotaExceeded, it.to_owned()));
            assert_eq!(refused, expected, "{things:?} {tags:?}");
            assert!(check_shares(&Quota::default(), &shares).is_ok());
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name_and_null_takes_a_bound_away() {
        let before = quota(serde_json::json!({"things": 10, "tags": 5}));
        let change = serde_json::json!({"things": null, "connections": 3});
        let after = before.changed(serde_json::from_value(change).unwrap());
        assert_eq!(after, quota(serde_json::json!({"tags": 5, "connections": 3})));
        let silent = quota(serde_json::json!({"publish_messages_per_sec": 0}));
        let refused = silent.check().unwrap_err();
        assert_eq!(refused.field.as_deref(), Some("quota.publish_messages_per_sec"));
    }

    #[test]
    fn the_broker_keeps_to_what_is_its_own_to_keep() {
        let given = quota(serde_json::json!({
            "connections": 1, "things": 2, "tags": 3, "publish_messages_per_sec": 4,
            "retained_bytes": 5, "queued_bytes": 6,
        }));
        let expected = NamespaceQuota {
            connections_max: Some(1),
            publish_messages_per_sec_max: Some(4),
            retained_bytes_max: Some(5),
            queued_bytes_max: Some(6),
        };
        assert_eq!(given.of_broker(), expected);
        assert_eq!(Quota::default().of_broker(), NamespaceQuota::default());
    }
}
