//! Every operation of the admin API, as data: resource, verb, the least role, whether it changes something, what it
//! takes, and the function that does it. Permissions, help texts and the catalogue are read off these tables.

use super::plan::{Plan, Request};
use super::{
    audit, authorities, backups, bridges, catalog, certificates, commands, connections,
    credentials, drivers, edges, enrolments, groups, metrics, models, node, projects, retained,
    roles, rules, server_certificates, shadows, subscriptions, tags, tenants, things, users,
};
use proto::{Refusal, RefusalCode, Role};
use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};

/// What the admin API manages, and what can be done to it.
pub(super) struct Resource {
    /// Such as `things`.
    pub(super) name: &'static str,
    /// What it is, in a few words.
    pub(super) is: &'static str,
    /// In the order of their verbs.
    pub(super) operations: &'static [Operation],
}

/// One operation on a resource.
pub(super) struct Operation {
    /// Such as `create`.
    pub(super) verb: &'static str,
    /// What it does, in a few words.
    pub(super) is: &'static str,
    /// The least role that may ask for it.
    pub(super) role: Role,
    /// Whether it changes something: then it is audited, and done once for each request id.
    pub(super) is_mutation: bool,
    /// The schema of its request.
    pub(super) takes: fn() -> Schema,
    /// What it does.
    pub(super) run: Run,
}

/// The function of an operation.
pub(super) type Run = fn(&Request<'_>) -> Result<Plan, Refusal>;

impl Operation {
    /// One that changes nothing; its request reads as a `T`.
    pub(super) const fn reads<T: JsonSchema>(
        verb: &'static str,
        role: Role,
        is: &'static str,
        run: Run,
    ) -> Self {
        Self { verb, is, role, is_mutation: false, takes: schema_of::<T>, run }
    }

    /// One that changes something; its request reads as a `T`.
    pub(super) const fn changes<T: JsonSchema>(
        verb: &'static str,
        role: Role,
        is: &'static str,
        run: Run,
    ) -> Self {
        Self { verb, is, role, is_mutation: true, takes: schema_of::<T>, run }
    }
}

/// Whoever may read.
pub(super) const READER: Role = Role::User;
/// Whoever administers the project.
pub(super) const ADMIN: Role = Role::ProjectAdmin;
/// Whoever administers the tenant.
pub(super) const TENANT: Role = Role::TenantAdmin;
/// Operators of the whole system.
pub(super) const SYSTEM: Role = Role::SystemAdmin;

/// All resources, in the order of their names.
pub(super) const RESOURCES: &[&Resource] = &[
    &catalog::RESOURCE,
    &audit::RESOURCE,
    &authorities::RESOURCE,
    &backups::RESOURCE,
    &bridges::RESOURCE,
    &certificates::RESOURCE,
    &commands::RESOURCE,
    &connections::RESOURCE,
    &credentials::RESOURCE,
    &drivers::RESOURCE,
    &edges::RESOURCE,
    &enrolments::RESOURCE,
    &groups::RESOURCE,
    &metrics::RESOURCE,
    &models::RESOURCE,
    &node::RESOURCE,
    &projects::RESOURCE,
    &retained::RESOURCE,
    &roles::RESOURCE,
    &rules::RESOURCE,
    &server_certificates::RESOURCE,
    &shadows::RESOURCE,
    &subscriptions::RESOURCE,
    &tags::RESOURCE,
    &tenants::RESOURCE,
    &things::RESOURCE,
    &users::RESOURCE,
];

/// The JSON Schema (draft 2020-12) of a request, whole in itself.
fn schema_of<T: JsonSchema>() -> Schema {
    inline(T::json_schema)
}

/// Not as the root of a document, whose making would be compiled for each request.
fn inline(schema_of: fn(&mut SchemaGenerator) -> Schema) -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|it| it.inline_subschemas = true);
    let mut schema = schema_of(&mut settings.into_generator());
    schema.remove("title");
    schema
}

/// Finds an operation; the refusal names what there is.
pub(super) fn find(
    resource: &str,
    verb: &str,
) -> Result<(&'static Resource, &'static Operation), Refusal> {
    let unknown = |message: String, field| {
        Err(Refusal::new(RefusalCode::UnknownOperation, message).at(field))
    };
    let Some(found) = RESOURCES.iter().find(|it| it.name == resource) else {
        let names: Vec<&str> = RESOURCES.iter().map(|it| it.name).collect();
        let message = format!("there is no resource `{resource}`; there are {}", names.join(", "));
        return unknown(message, "resource");
    };
    match found.operations.iter().find(|it| it.verb == verb) {
        Some(operation) => Ok((found, operation)),
        None => {
            let verbs: Vec<&str> = found.operations.iter().map(|it| it.verb).collect();
            unknown(format!("{resource} has no verb `{verb}`; it has {}", verbs.join(", ")), "verb")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_sorted_and_name_each_operation_once() {
        let names: Vec<_> = RESOURCES
            .iter()
            .flat_map(|resource| resource.operations.iter().map(|it| (resource.name, it.verb)))
            .collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    /// The verbs that change nothing.
    const READING: [&str; 15] = [
        "ask",
        "browse",
        "discover",
        "export",
        "get",
        "history",
        "list",
        "members",
        "read",
        "revisions",
        "serials",
        "test",
        "try",
        "values",
        "verify",
    ];

    #[test]
    fn only_operations_that_change_nothing_are_for_readers() {
        for resource in RESOURCES {
            for it in resource.operations {
                let name = format!("{} {}", resource.name, it.verb);
                assert!(!it.is_mutation || it.role != READER, "{name}");
                assert_eq!(it.is_mutation, !READING.contains(&it.verb), "{name}");
            }
        }
    }

    #[test]
    fn every_request_has_a_schema_of_an_object_that_is_whole_in_itself() {
        for resource in RESOURCES {
            for it in resource.operations {
                let schema = (it.takes)();
                let text = serde_json::to_string(&schema).unwrap();
                let name = format!("{} {}: {text}", resource.name, it.verb);
                assert!(!text.contains("$ref"), "{name}");
                let forms = schema.get("anyOf").and_then(|it| it.as_array().cloned());
                let forms = forms.unwrap_or_else(|| vec![schema.clone().to_value()]);
                assert!(forms.iter().all(|form| form["type"] == "object"), "{name}");
                assert!(!it.is.is_empty() && !it.is.ends_with('.'), "{name}");
            }
        }
    }

    #[test]
    fn an_unknown_operation_is_told_what_there_is() {
        let refusal = find("things", "destroy").err().unwrap();
        assert_eq!(refusal.code, RefusalCode::UnknownOperation);
        assert!(refusal.message.contains("create, delete, export, get, import, list"), "{refusal}");
        let refusal = find("pumps", "list").err().unwrap();
        assert!(
            refusal
                .message
                .contains("connections, credentials, drivers, edges, enrolments, groups, metrics"),
            "{refusal}"
        );
    }
}
