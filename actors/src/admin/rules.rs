//! `admin/rules/…`: what is done when a value crosses a limit.

use super::list::list as list_rows;
use super::plan::{After, Plan, Request};
use super::revision::{self, AtRevision};
use super::table::{ADMIN, Operation, READER, Resource};
use crate::rules::row::{ActedRow, RuleKey, RuleRow};
use crate::rules::rule::Rule;
use proto::admin::ListRequest;
use proto::{Refusal, RefusalCode, RuleId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// See [`super::table`].
pub(super) const RESOURCE: Resource = Resource {
    name: "rules",
    is: "what is done when a value crosses a limit",
    operations: &[
        Operation::changes::<PutRule>(
            "create",
            ADMIN,
            "creates a rule, which acts at once",
            create,
        ),
        Operation::changes::<AtRevision<OneRule>>("delete", ADMIN, "deletes a rule", delete),
        Operation::reads::<OneRule>("get", READER, "shows a rule with what it has done", get),
        Operation::reads::<ListRequest>("list", READER, "lists rules", list),
        Operation::changes::<PutRule>(
            "update",
            ADMIN,
            "replaces a rule, which looks at its value anew",
            update,
        ),
    ],
};

/// Rules of one namespace.
const RULES_MAX: usize = 1000;

#[derive(JsonSchema)]
#[expect(dead_code, reason = "read() takes it apart, since flattened fields hide what is too much")]
struct PutRule {
    rule: RuleId,
    #[serde(flatten)]
    is: Rule,
    /// Refuses an update if the rule has another one by now.
    revision: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OneRule {
    rule: RuleId,
}

/// Reads a rule beside its name.
fn read(request: &Request<'_>) -> Result<(RuleId, Rule, Option<u64>), Refusal> {
    let mut body = request.body.clone();
    let name: RuleId = body.must_take("rule")?;
    let revision: Option<u64> = body.take("revision")?;
    let rule: Rule = body.read()?;
    rule.check()?;
    Ok((name, rule, revision))
}

/// Creates a rule.
fn create(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (name, rule, revision) = read(request)?;
    if revision.is_some() {
        let message = "a rule that is created has no revision yet";
        return Err(Refusal::new(RefusalCode::Invalid, message).at("revision"));
    }
    let key: RuleKey = (request.namespace.clone(), name.clone());
    if request.get::<RuleRow>(&key)?.is_some() {
        return Err(Refusal::already_exists("rule", &name).at("rule"));
    }
    if request.scan::<RuleRow>(&store::prefix(request.namespace))?.len() >= RULES_MAX {
        let message = format!("there are {RULES_MAX} rules, which is the most");
        return Err(Refusal::new(RefusalCode::QuotaExceeded, message));
    }
    let now = request.now();
    Ok(put(request, &key, RuleRow { rule, created: now, updated: now, revision: 1 }))
}

/// Replaces a rule.
fn update(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (name, rule, revision) = read(request)?;
    let key: RuleKey = (request.namespace.clone(), name.clone());
    let row = request.must_get::<RuleRow>(&key, "rule", &name)?;
    revision::check(row.revision, revision)?;
    let row = RuleRow { rule, updated: request.now(), revision: row.revision + 1, ..row };
    Ok(put(request, &key, row))
}

/// A rule that is new, or another one, has acted on nothing yet.
fn put(request: &Request<'_>, key: &RuleKey, row: RuleRow) -> Plan {
    let mut plan = Plan::answer(show(request, key, &row));
    plan.changes.put::<RuleRow>(key, &row);
    plan.changes.delete::<ActedRow>(key);
    plan.after.push(After::Rules(request.namespace.clone()));
    plan
}

/// Deletes a rule.
fn delete(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (revision, request) = revision::split(request)?;
    let (key, row) = find(&request)?;
    revision::check(row.revision, revision)?;
    let mut plan = Plan::answer(json!({ "rule": key.1 }));
    plan.changes.delete::<RuleRow>(&key);
    plan.changes.delete::<ActedRow>(&key);
    plan.after.push(After::Rules(request.namespace.clone()));
    Ok(plan)
}

/// Shows a rule.
fn get(request: &Request<'_>) -> Result<Plan, Refusal> {
    let (key, row) = find(request)?;
    Ok(Plan::answer(show(request, &key, &row)))
}

/// Lists rules.
fn list(request: &Request<'_>) -> Result<Plan, Refusal> {
    let asked: ListRequest = request.read()?;
    let key_of = |name: &str| match RuleId::parse(name) {
        Ok(rule) => Ok((request.namespace.clone(), rule)),
        Err(error) => Err(Refusal::new(RefusalCode::Invalid, error.to_string())),
    };
    let item = |key: &RuleKey, row| Some((key.1.to_string(), show(request, key, &row)));
    let prefix = store::prefix(request.namespace);
    Ok(Plan::answer(list_rows::<RuleRow>(request, &asked, &prefix, key_of, item)?))
}

fn find(request: &Request<'_>) -> Result<(RuleKey, RuleRow), Refusal> {
    let OneRule { rule } = request.read()?;
    let key: RuleKey = (request.namespace.clone(), rule.clone());
    let row = request.must_get::<RuleRow>(&key, "rule", &rule)?;
    Ok((key, row))
}

fn show(request: &Request<'_>, key: &RuleKey, row: &RuleRow) -> Json {
    // A rule is made of texts and numbers: there is no way to fail.
    let mut json = serde_json::to_value(row).unwrap_or_default();
    json["rule"] = json!(key.1);
    json["done"] = json!(request.context.rules.read(key));
    json
}
