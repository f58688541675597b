//! Virtual tags: what they are computed from, and in which order.

use crate::config::{ConfigError, TagConfig, TagKind};
use crate::port::PointId;
use crate::scaling::round_to_places;
use proto::expression::Names;
use proto::{Datum, Expression};
use std::collections::HashMap;

/// The most virtual tags that stand one upon another.
pub const CHAIN_MAX: usize = 16;

/// A virtual tag that can be computed.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualTag {
    /// Its place in the list of tags.
    pub point: PointId,
    /// What it amounts to.
    expression: Expression,
    /// The tags that the names of the expression stand for, in their order.
    pub inputs: Box<[PointId]>,
    /// How many decimal places are shown.
    precision: Option<u8>,
}

impl VirtualTag {
    /// Its value; `None` if one of the inputs that it needs has none.
    pub fn value(&self, inputs: &impl Names) -> Result<Option<Datum>, String> {
        let value = self.expression.evaluate(inputs).map_err(|error| error.to_string())?;
        Ok(match (value, self.precision) {
            (Some(Datum::Float(value)), Some(places)) => {
                Datum::float(round_to_places(value, places))
            }
            (value, _) => value,
        })
    }
}

/// The virtual tags of a list, each after those that it is computed from.
pub fn virtual_tags(tags: &[TagConfig]) -> Result<Vec<VirtualTag>, ConfigError> {
    if tags.iter().all(|tag| tag.kind != TagKind::Virtual) {
        return Ok(Vec::new());
    }
    let places: HashMap<&str, usize> =
        tags.iter().enumerate().map(|(index, tag)| (tag.tag.as_str(), index)).collect();
    let mut chains = Chains::default();
    let mut found = Vec::new();
    for (index, tag) in tags.iter().enumerate().filter(|(_, tag)| tag.kind == TagKind::Virtual) {
        let find = |name: &str| places.get(name).map(|place| &tags[*place]);
        let length = chains.length(tag, &find).map_err(|error| error.of_tag(index))?;
        let expression = read(tag).map_err(|error| error.of_tag(index))?;
        let inputs = expression.names().iter().map(|name| point(places[name.as_str()])).collect();
        let precision = tag.precision;
        found.push((length, VirtualTag { point: point(index), expression, inputs, precision }));
    }
    found.sort_by_key(|(length, _)| *length);
    Ok(found.into_iter().map(|(_, tag)| tag).collect())
}

/// Checks what one virtual tag is computed from; `find` knows the other tags of its driver.
pub fn check_virtual_tag<'a>(
    tag: &'a TagConfig,
    find: &dyn Fn(&str) -> Option<&'a TagConfig>,
) -> Result<(), ConfigError> {
    Chains::default().length(tag, find).map(drop)
}

// At most as many as a driver has tags, which is far less.
fn point(index: usize) -> PointId {
    PointId(u32::try_from(index).unwrap_or(u32::MAX))
}

fn read(tag: &TagConfig) -> Result<Expression, ConfigError> {
    let read = Expression::parse(tag.expression.as_deref().unwrap_or_default());
    read.map_err(|error| refused(error.to_string()))
}

fn refused(reason: impl Into<String>) -> ConfigError {
    ConfigError::new("expression", reason)
}

/// How many virtual tags stand one upon another, as far as known.
#[derive(Default)]
struct Chains<'a> {
    known: HashMap<&'a str, usize>,
    /// Those on the way, to find out whether one stands upon itself.
    open: Vec<&'a str>,
}

impl<'a> Chains<'a> {
    /// Up to and with this one.
    fn length(
        &mut self,
        tag: &'a TagConfig,
        find: &dyn Fn(&str) -> Option<&'a TagConfig>,
    ) -> Result<usize, ConfigError> {
        let own = tag.tag.as_str();
        if let Some(length) = self.known.get(own) {
            return Ok(*length);
        }
        if let Some(from) = self.open.iter().position(|open| *open == own) {
            let circle = [&self.open[from..], &[own]].concat().join(" needs ");
            return Err(refused(format!("it is computed from itself: {circle}")));
        }
        if self.open.len() >= CHAIN_MAX {
            let reason = format!("more than {CHAIN_MAX} virtual tags stand one upon another");
            return Err(refused(reason));
        }
        self.open.push(own);
        let mut longest = 0;
        for name in read(tag)?.names() {
            let input = find(name).ok_or_else(|| {
                refused(format!("there is no tag {name} in this driver, which {own} needs"))
            })?;
            match input.kind {
                TagKind::Value => {}
                TagKind::Virtual => longest = longest.max(self.length(input, find)?),
                kind @ (TagKind::Method | TagKind::Events) => {
                    let reason = format!("{name} has no value, it is of kind {}", kind.name());
                    return Err(refused(reason));
                }
            }
        }
        self.open.pop();
        self.known.insert(own, longest + 1);
        Ok(longest + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(name: &str) -> TagConfig {
        let path = format!("x/_raw/{name}");
        let json = json!({"tag": name, "address": "40001", "type": "uint16", "path": path});
        serde_json::from_value(json).unwrap()
    }

    fn computed(name: &str, expression: &str) -> TagConfig {
        let path = format!("x/_raw/{name}");
        let json = json!({"tag": name, "kind": "virtual", "expression": expression, "path": path});
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_comes_after_those_that_it_needs() {
        let tags = [
            computed("total", "left + right"),
            computed("left", "a * 2"),
            value("a"),
            computed("right", "left + a"),
        ];
        let found = virtual_tags(&tags).unwrap();
        let order: Vec<u32> = found.iter().map(|it| it.point.0).collect();
        assert_eq!(order, [1, 3, 0]);
        assert_eq!(*found[2].inputs, [PointId(1), PointId(3)]);
        assert_eq!(virtual_tags(&tags[2..3]), Ok(Vec::new()));
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_name() {
        let events = json!({"tag": "e", "kind": "events", "address": "i=1", "path": "x/_event/e"});
        let events: TagConfig = serde_json::from_value(events).unwrap();
        for (tags, reason) in [
            (vec![computed("v", "gone + 1")], "there is no tag gone in this driver, which v needs"),
            (vec![computed("v", "v + 1")], "it is computed from itself: v needs v"),
            (
                vec![computed("v", "w"), computed("w", "u"), computed("u", "w")],
                "it is computed from itself: w needs u needs w",
            ),
            (vec![computed("v", "e"), events], "e has no value, it is of kind events"),
        ] {
            let error = virtual_tags(&tags).unwrap_err();
            assert_eq!((error.path().as_str(), &*error.reason), ("tags[0].expression", reason));
        }
        let chain = |length: usize| -> Vec<TagConfig> {
            let name = |number: usize| format!("v{number}");
            let next = |number| computed(&name(number), &name(number + 1));
            (0..length).map(next).chain([value(&name(length))]).collect()
        };
        assert_eq!(virtual_tags(&chain(CHAIN_MAX)).unwrap().len(), CHAIN_MAX);
        let error = virtual_tags(&chain(CHAIN_MAX + 1)).unwrap_err();
        assert!(error.reason.contains("more than 16"), "{error}");
    }
}
