//! Who asks for what: the caller, its rank, and the strict reading of the body.

use proto::id::RequestId;
use proto::{ClientId, Identity, Refusal, RefusalCode, Role};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

/// The name of the platform itself as a caller; no user has it.
pub(super) const PLATFORM: &str = "$platform";

/// Who asks.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Its name, as it stands in the audit.
    pub(super) name: String,
    /// What it may do.
    pub(super) role: Role,
    /// Where it asks from.
    pub(super) client_id: ClientId,
}

/// The body of a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Body {
    fields: Map<String, Json>,
    /// Makes a repeated mutation harmless.
    pub(super) request_id: Option<RequestId>,
}

impl Caller {
    /// The caller behind an identity; devices and edge nodes have no place here.
    pub(super) fn of(identity: &Identity, client_id: &ClientId) -> Result<Self, Refusal> {
        let name = match identity {
            Identity::User { name, .. } => name.to_string(),
            Identity::Platform => PLATFORM.to_owned(),
            Identity::Thing(_) | Identity::Edge(_) => {
                let message = format!("the admin API is not for {identity}");
                return Err(Refusal::new(RefusalCode::Forbidden, message));
            }
        };
        Ok(Self { name, role: identity.role(), client_id: client_id.clone() })
    }

    /// Whether it may do what needs `role`.
    pub(super) fn is_at_least(&self, role: Role) -> bool {
        rank(self.role) >= rank(role)
    }
}

/// The order of the roles: system over tenant over project over those who only read here.
pub(super) fn rank(role: Role) -> u8 {
    match role {
        Role::SystemAdmin => 4,
        Role::TenantAdmin => 3,
        Role::ProjectAdmin => 2,
        Role::App | Role::User => 1,
        Role::Device | Role::Edge | Role::Enrolment => 0,
    }
}

impl Body {
    /// Reads a payload; an empty one is an empty object.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Refusal> {
        let bad = |message: String| Refusal::new(RefusalCode::BadRequest, message);
        let mut fields = match payload {
            [] => Map::new(),
            payload => match serde_json::from_slice(payload) {
                Ok(Json::Object(fields)) => fields,
                Ok(_) => return Err(bad("the request is not a JSON object".to_owned())),
                Err(error) => return Err(bad(format!("not JSON: {error}"))),
            },
        };
        let request_id = match fields.remove("request_id") {
            None => None,
            Some(Json::String(text)) => match RequestId::parse(&text) {
                Ok(request_id) => Some(request_id),
                Err(error) => return Err(bad(error.to_string()).at("request_id")),
            },
            Some(_) => return Err(bad("it must be a text".to_owned()).at("request_id")),
        };
        Ok(Self { fields, request_id })
    }

    /// One that the platform itself asks with; what is no object is empty.
    pub(super) fn of(fields: Json) -> Self {
        let fields = match fields {
            Json::Object(fields) => fields,
            _ => Map::new(),
        };
        Self { fields, request_id: None }
    }

    /// Takes one field out, for what does not go with the rest.
    pub(super) fn take<T: DeserializeOwned>(&mut self, field: &str) -> Result<Option<T>, Refusal> {
        match self.fields.remove(field) {
            None => Ok(None),
            Some(json) => read(json).map(Some).map_err(|refusal| below(refusal, field)),
        }
    }

    /// Takes one field out that has to be there.
    pub(super) fn must_take<T: DeserializeOwned>(&mut self, field: &str) -> Result<T, Refusal> {
        self.take(field)?.ok_or_else(|| {
            Refusal::new(RefusalCode::BadRequest, format!("missing field `{field}`")).at(field)
        })
    }

    /// Its fields, but for the request id.
    pub(super) fn fields(&self) -> &Map<String, Json> {
        &self.fields
    }

    /// The rest, as the fields of an object.
    pub(super) fn into_fields(self) -> Map<String, Json> {
        self.fields
    }

    /// Reads the rest; a field too many or too few is a mistake worth a reply.
    pub(super) fn read<T: DeserializeOwned>(self) -> Result<T, Refusal> {
        read(Json::Object(self.fields))
    }
}

/// Reads JSON as a request; the refusal names the field that is wrong.
pub(crate) fn read<T: DeserializeOwned>(json: Json) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let reason = error.inner().to_string();
        let field = match (path.as_str(), named(&reason)) {
            ("." | "", Some(field)) => field.to_owned(),
            (path, Some(field)) if !path.ends_with(field) => format!("{path}.{field}"),
            ("." | "", None) => return Refusal::new(RefusalCode::BadRequest, reason),
            (path, _) => path.to_owned(),
        };
        Refusal::new(RefusalCode::BadRequest, reason).at(field)
    })
}

/// The field in serde's "unknown field `x`" and "missing field `x`".
fn named(reason: &str) -> Option<&str> {
    let rest = reason.strip_prefix("unknown field `").or(reason.strip_prefix("missing field `"))?;
    rest.split('`').next()
}

/// The same refusal, of something below `field`.
pub(super) fn below(mut refusal: Refusal, field: &str) -> Refusal {
    refusal.field = Some(match refusal.field {
        None => field.to_owned(),
        Some(inner) => format!("{field}.{inner}"),
    });
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        count: u8,
    }

    #[test]
    fn refusals_name_the_field() {
        let cases = [
            (r#"{"name":"a","x":1}"#, Some("x")),
            ("{}", Some("name")),
            (r#"{"name":5}"#, Some("name")),
            (r#"{"name":"a","inner":{"count":300}}"#, Some("inner.count")),
            (r#"{"name":"a","inner":{"count":1,"y":2}}"#, Some("inner.y")),
            (r#"{"name":"a","inner":{}}"#, Some("inner.count")),
            (r#"{"name":"a","request_id":5}"#, Some("request_id")),
            ("[]", None),
            ("{", None),
        ];
        for (payload, field) in cases {
            let outcome = Body::parse(payload.as_bytes()).and_then(Body::read::<Sample>);
            let refusal = outcome.unwrap_err();
            assert_eq!(refusal.code, RefusalCode::BadRequest, "{payload}");
            assert_eq!(refusal.field.as_deref(), field, "{payload}: {refusal}");
        }
    }

    #[test]
    fn an_empty_payload_is_an_empty_object_and_the_request_id_is_not_a_field() {
        assert_eq!(Body::parse(b"").unwrap().into_fields(), Map::new());
        let body = Body::parse(br#"{"name":"a","request_id":"r-1"}"#).unwrap();
        assert_eq!(body.request_id.as_ref().unwrap().as_str(), "r-1");
        assert_eq!(body.read::<Sample>().unwrap().name, "a");
    }
}
