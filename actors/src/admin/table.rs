//! Every operation of the admin API, as data: resource, verb, the least role, whether it changes
//! something, and the function that does it.

use super::plan::{Plan, Request};
use super::{
    bridges, connections, drivers, metrics, node, projects, retained, subscriptions, tags, things,
    users,
};
use proto::{Refusal, RefusalCode, Role};

/// One operation.
pub(super) struct Operation {
    /// Such as `things`.
    pub(super) resource: &'static str,
    /// Such as `create`.
    pub(super) verb: &'static str,
    /// The least role that may ask for it.
    pub(super) role: Role,
    /// Whether it changes something: then it is audited, and done once for each request id.
    pub(super) is_mutation: bool,
    /// What it does.
    pub(super) run: fn(&Request<'_>) -> Result<Plan, Refusal>,
}

/// One line of the table.
const fn operation(
    resource: &'static str,
    verb: &'static str,
    role: Role,
    is_mutation: bool,
    run: fn(&Request<'_>) -> Result<Plan, Refusal>,
) -> Operation {
    Operation { resource, verb, role, is_mutation, run }
}

const READER: Role = Role::User;
const ADMIN: Role = Role::ProjectAdmin;
const SYSTEM: Role = Role::SystemAdmin;

/// The table, by resource.
pub(super) const OPERATIONS: &[Operation] = &[
    operation("bridges", "create", ADMIN, true, bridges::create),
    operation("bridges", "delete", ADMIN, true, bridges::delete),
    operation("bridges", "get", READER, false, bridges::get),
    operation("bridges", "list", READER, false, bridges::list),
    operation("bridges", "pause", ADMIN, true, bridges::pause),
    operation("bridges", "resume", ADMIN, true, bridges::resume),
    operation("bridges", "update", ADMIN, true, bridges::update),
    operation("connections", "disconnect", ADMIN, true, connections::disconnect),
    operation("connections", "get", ADMIN, false, connections::get),
    operation("connections", "list", ADMIN, false, connections::list),
    operation("drivers", "create", ADMIN, true, drivers::create),
    operation("drivers", "delete", ADMIN, true, drivers::delete),
    operation("drivers", "get", READER, false, drivers::get),
    operation("drivers", "list", READER, false, drivers::list),
    operation("drivers", "update", ADMIN, true, drivers::update),
    operation("metrics", "get", ADMIN, false, metrics::get),
    operation("node", "reload", SYSTEM, true, node::reload),
    operation("projects", "create", SYSTEM, true, projects::create),
    operation("projects", "delete", SYSTEM, true, projects::delete),
    operation("projects", "get", READER, false, projects::get),
    operation("projects", "list", READER, false, projects::list),
    operation("retained", "delete", ADMIN, true, retained::delete),
    operation("retained", "get", ADMIN, false, retained::get),
    operation("retained", "list", ADMIN, false, retained::list),
    operation("subscriptions", "delete", ADMIN, true, subscriptions::delete),
    operation("subscriptions", "get", ADMIN, false, subscriptions::get),
    operation("subscriptions", "list", ADMIN, false, subscriptions::list),
    operation("tags", "create", ADMIN, true, tags::create),
    operation("tags", "delete", ADMIN, true, tags::delete),
    operation("tags", "get", READER, false, tags::get),
    operation("tags", "list", READER, false, tags::list),
    operation("tags", "update", ADMIN, true, tags::update),
    operation("things", "create", ADMIN, true, things::create),
    operation("things", "delete", ADMIN, true, things::delete),
    operation("things", "get", READER, false, things::get),
    operation("things", "list", READER, false, things::list),
    operation("things", "update", ADMIN, true, things::update),
    operation("users", "create", ADMIN, true, users::create),
    operation("users", "delete", ADMIN, true, users::delete),
    operation("users", "get", ADMIN, false, users::get),
    operation("users", "list", ADMIN, false, users::list),
    operation("users", "update", ADMIN, true, users::update),
];

/// Finds an operation; the refusal names what there is.
pub(super) fn find(resource: &str, verb: &str) -> Result<&'static Operation, Refusal> {
    let of_resource = || OPERATIONS.iter().filter(|it| it.resource == resource);
    if let Some(found) = of_resource().find(|it| it.verb == verb) {
        return Ok(found);
    }
    let verbs: Vec<&str> = of_resource().map(|it| it.verb).collect();
    let (message, field) = if verbs.is_empty() {
        let mut resources: Vec<&str> = OPERATIONS.iter().map(|it| it.resource).collect();
        resources.dedup();
        let message =
            format!("there is no resource `{resource}`; there are {}", resources.join(", "));
        (message, "resource")
    } else {
        (format!("{resource} has no verb `{verb}`; it has {}", verbs.join(", ")), "verb")
    };
    Err(Refusal::new(RefusalCode::UnknownOperation, message).at(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_names_each_operation_once() {
        let names: Vec<_> = OPERATIONS.iter().map(|it| (it.resource, it.verb)).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn only_operations_that_change_nothing_are_for_readers() {
        for it in OPERATIONS {
            assert!(!it.is_mutation || it.role != READER, "{} {}", it.resource, it.verb);
            assert_eq!(
                it.is_mutation,
                !matches!(it.verb, "get" | "list"),
                "{} {}",
                it.resource,
                it.verb
            );
        }
    }

    #[test]
    fn an_unknown_operation_is_told_what_there_is() {
        let refusal = find("things", "destroy").err().unwrap();
        assert_eq!(refusal.code, RefusalCode::UnknownOperation);
        assert!(refusal.message.contains("create, delete, get, list, update"), "{refusal}");
        let refusal = find("pumps", "list").err().unwrap();
        assert!(refusal.message.contains("connections, drivers, metrics"), "{refusal}");
    }
}
