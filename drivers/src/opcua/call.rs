//! Calls of methods (OPC 10000-4, 5.12.2): which object is meant, what the method takes, and what it returns.

use super::address::NodeRef;
use super::arguments::json_of;
use super::points::known_node;
use super::requests::Requests;
use super::status::refusal;
use crate::port::{Call, DeviceError, Input, Lost, QueryError};
use opcua::types::{
    Argument, AttributeId, BrowseDescription, BrowseDirection, BrowseResult, BrowseResultMaskFlags,
    CallMethodRequest, CallMethodResult, NodeClassMask, NodeId, QualifiedName, ReadValueId,
    ReferenceTypeId, StatusCode, Variant,
};
use serde_json::Value as Json;

/// The most steps from a data type to the built-in one that it is made of.
pub(super) const SUPERTYPES_MAX: usize = 16;

/// What becomes of a call that is not answered in time.
const LATE: DeviceError = DeviceError::Named {
    code: "timeout",
    name: "no answer within `timeout_ms`; whether the method was called is not known",
};

/// The property of a method that says what it takes.
const INPUT_ARGUMENTS: &str = "InputArguments";

impl Requests<'_> {
    /// Calls a method; what it returns, in its order.
    pub(crate) async fn call_method(&mut self, call: &Call) -> Result<Vec<Json>, QueryError> {
        let method = self.node_at(&call.method).await?;
        let object = match &call.object {
            Some(object) => self.node_at(object).await?,
            None => self.object_of(&call.method, &method).await?,
        };
        let taken = self.taken(&method).await?;
        let given = in_order(&call.input, &taken)?;
        let mut input = Vec::with_capacity(taken.len());
        for (argument, given) in taken.iter().zip(given) {
            let (part, layouts) = self.learn_part(&argument.data_type).await?;
            let untold = || format!("values of type {} cannot be given", argument.data_type);
            let part = part.ok_or_else(|| unfit(argument, untold()))?;
            let variant = layouts.variant(given, &part, argument.value_rank);
            input.push(variant.map_err(|reason| unfit(argument, reason))?);
        }
        let request = CallMethodRequest {
            object_id: object,
            method_id: method,
            input_arguments: Some(input).filter(|it| !it.is_empty()),
        };
        let session = &self.wire.session;
        let answer = self.call("calling a method", session.call(vec![request])).await;
        self.counters.calls += 1;
        // A method may take its time: that it does says nothing about the connection.
        if let Err(Lost::Timeout { .. }) = answer {
            return Err(QueryError::Device(LATE));
        }
        let answer = answer?;
        let result = match answer.map(|mut it| it.pop()) {
            Ok(Some(result)) => result,
            Ok(None) => return Err(QueryError::Device(refusal(StatusCode::BadUnknownResponse))),
            Err(status) => return Err(QueryError::Device(refusal(status))),
        };
        let returned = returned(result, &taken)?;
        let layouts = self.learn_types(|known| known.missing(&returned)).await?;
        Ok(returned.iter().map(|value| json_of(value, &layouts)).collect())
    }

    /// The node at an address.
    pub(super) async fn node_at(&mut self, text: &str) -> Result<NodeId, QueryError> {
        let refuse = |reason: &str| QueryError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        let node: NodeRef = text
            .parse()
            .map_err(|error: super::address::AddressError| refuse(&error.to_string()))?;
        if let NodeRef::Path(names) = &node {
            let node = self.path(names).await?;
            return node.map_err(|status| QueryError::Device(refusal(status)));
        }
        let known = known_node(&node, &self.wire.namespaces);
        known.and_then(Result::ok).ok_or_else(|| refuse("the server has no such namespace"))
    }

    /// The object that a method is meant to be called on: that of its path, or the only one that has it.
    async fn object_of(&mut self, text: &str, method: &NodeId) -> Result<NodeId, QueryError> {
        if let Ok(NodeRef::Path(names)) = text.parse::<NodeRef>()
            && let [above @ .., _] = names.as_slice()
            && !above.is_empty()
        {
            let node = self.path(above).await?;
            return node.map_err(|status| QueryError::Device(refusal(status)));
        }
        let owners = self.above(method, ReferenceTypeId::HasComponent, NodeClassMask::OBJECT);
        let refuse = |reason: &str| QueryError::Address {
            address: text.to_owned(),
            reason: reason.to_owned(),
        };
        match owners.await?.as_slice() {
            [one] => Ok(one.clone()),
            [] => Err(refuse("no object has this method: name the object")),
            _ => Err(refuse("more than one object has this method: name the object")),
        }
    }

    /// The nodes that refer to one.
    pub(super) async fn above(
        &mut self,
        node: &NodeId,
        reference: ReferenceTypeId,
        class: NodeClassMask,
    ) -> Result<Vec<NodeId>, QueryError> {
        let question = BrowseDescription {
            node_id: node.clone(),
            browse_direction: BrowseDirection::Inverse,
            reference_type_id: reference.into(),
            include_subtypes: true,
            node_class_mask: class.bits(),
            result_mask: BrowseResultMaskFlags::empty().bits(),
        };
        let session = &self.wire.session;
        let asked = [question];
        let answer = self.call("browsing", session.browse(&asked, 2, None)).await?;
        let refused = |status| QueryError::Device(refusal(status));
        let Some(BrowseResult { status_code, references, .. }) = answer.map_err(refused)?.pop()
        else {
            return Ok(Vec::new());
        };
        if status_code.is_bad() {
            return Err(refused(status_code));
        }
        Ok(references.into_iter().flatten().map(|it| it.node_id.node_id).collect())
    }

    /// What a method takes; nothing, if it does not say.
    async fn taken(&mut self, method: &NodeId) -> Result<Vec<Argument>, QueryError> {
        let name = QualifiedName::new(0, INPUT_ARGUMENTS);
        let property = match self.property(method, name).await? {
            Ok(property) => property,
            Err(StatusCode::BadNoMatch) => return Ok(Vec::new()),
            Err(status) => return Err(QueryError::Device(refusal(status))),
        };
        let question = ReadValueId {
            node_id: property,
            attribute_id: AttributeId::Value as u32,
            ..ReadValueId::default()
        };
        let values = self.read(&[question]).await?;
        let value = values.into_iter().next().and_then(|it| it.value);
        let Some(Variant::Array(array)) = value else { return Ok(Vec::new()) };
        let argument = |value: &Variant| match value {
            Variant::ExtensionObject(it) => it.inner_as::<Argument>().cloned(),
            _ => None,
        };
        let count = array.values.len();
        let arguments: Vec<Argument> = array.values.iter().filter_map(argument).collect();
        match arguments.len() == count {
            true => Ok(arguments),
            false => Err(QueryError::Device(refusal(StatusCode::BadDecodingError))),
        }
    }
}

/// The values for the arguments of a method, in its order.
fn in_order<'a>(input: &'a Input, taken: &[Argument]) -> Result<Vec<&'a Json>, QueryError> {
    let names = || taken.iter().map(|it| it.name.as_ref());
    match input {
        Input::Places(places) if places.len() == taken.len() => Ok(places.iter().collect()),
        Input::Places(places) => Err(QueryError::Input {
            argument: "input".to_owned(),
            reason: match taken.len() {
                0 => format!("{} arguments, and the method takes none", places.len()),
                count => {
                    let names = names().collect::<Vec<_>>().join(", ");
                    let given = places.len();
                    format!("{given} arguments, and the method takes {count}: {names}")
                }
            },
        }),
        Input::Names(given) => {
            if let Some(name) = given.keys().find(|it| !names().any(|name| name == *it)) {
                let reason = "the method has no argument of this name".to_owned();
                return Err(QueryError::Input { argument: name.clone(), reason });
            }
            let value = |argument: &Argument| {
                let value = given.get(argument.name.as_ref());
                value.ok_or_else(|| unfit(argument, "it is missing".to_owned()))
            };
            taken.iter().map(value).collect()
        }
    }
}

fn unfit(argument: &Argument, reason: String) -> QueryError {
    QueryError::Input { argument: argument.name.as_ref().to_owned(), reason }
}

/// What a call has come to.
fn returned(result: CallMethodResult, taken: &[Argument]) -> Result<Vec<Variant>, QueryError> {
    if result.status_code.is_bad() {
        let words = result.input_argument_results.unwrap_or_default();
        let wrong = taken.iter().zip(&words).find(|(_, status)| status.is_bad());
        return Err(match wrong {
            Some((argument, status)) => unfit(argument, format!("refused: {status}")),
            None => QueryError::Device(refusal(result.status_code)),
        });
    }
    Ok(result.output_arguments.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn argument(name: &str) -> Argument {
        Argument { name: name.into(), ..Argument::default() }
    }

    fn ordered(input: Json, names: &[&str]) -> Result<Vec<Json>, String> {
        let taken: Vec<Argument> = names.iter().map(|name| argument(name)).collect();
        let input = Input::of(input);
        let found = in_order(&input, &taken);
        found.map(|it| it.into_iter().cloned().collect()).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments_are_given_by_place_or_by_name() {
        let both = Ok(vec![json!(1), json!("x")]);
        assert_eq!(ordered(json!([1, "x"]), &["speed", "mode"]), both);
        assert_eq!(ordered(json!({"mode": "x", "speed": 1}), &["speed", "mode"]), both);
        assert_eq!(ordered(json!(1), &["speed"]), Ok(vec![json!(1)]));
        assert_eq!(ordered(json!(null), &[]), Ok(vec![]));
    }

    #[test]
    fn what_is_missing_or_too_much_is_named() {
        for (input, names, reason) in [
            (json!([1]), ["a", "b"].as_slice(), "input: 1 arguments, and the method takes 2: a, b"),
            (json!([1]), &[], "input: 1 arguments, and the method takes none"),
            (json!({"a": 1}), &["a", "b"], "b: it is missing"),
            (json!({"c": 1}), &["a"], "c: the method has no argument of this name"),
        ] {
            assert_eq!(ordered(input, names), Err(reason.to_owned()));
        }
    }

    #[test]
    fn a_refused_argument_is_named() {
        let result = CallMethodResult {
            status_code: StatusCode::BadInvalidArgument,
            input_argument_results: Some(vec![StatusCode::Good, StatusCode::BadOutOfRange]),
            ..CallMethodResult::default()
        };
        let error = returned(result.clone(), &[argument("a"), argument("b")]).unwrap_err();
        assert_eq!(error.to_string(), "b: refused: BadOutOfRange");
        let error = returned(CallMethodResult { input_argument_results: None, ..result }, &[]);
        assert_eq!(error.unwrap_err().code(), "illegal_value");
    }
}
