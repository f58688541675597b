//! `/api/<resource>/<verb>`: the body of a POST, or the query of a GET, as a request of the admin API.
//!
//! GET is for what changes nothing. `Idempotency-Key` is the `request_id` of the request.

use super::Read;
use crate::call;
use crate::fields;
use axum::http::{HeaderMap, Method, header};
use bytes::Bytes;
use proto::{Refusal, RefusalCode};
use serde_json::{Map, Value as Json};
use std::borrow::Cow;

/// Makes a repeated request harmless.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The field of the admin API for it.
const REQUEST_ID: &str = "request_id";

/// Reads a request.
pub(super) fn request(read: &Read) -> Result<call::Request, Refusal> {
    let path = read.uri.path().strip_prefix("/api/").and_then(|rest| rest.split_once('/'));
    let words = path.and_then(|(resource, verb)| Some((unescape(resource)?, unescape(verb)?)));
    let (resource, verb) = words.ok_or_else(|| bad("the path is not UTF-8"))?;
    let body = match read.method {
        Method::POST => of_body(read)?,
        Method::GET => of_query(read, &resource, &verb)?,
        _ => return Err(no_method("POST, and GET for what changes nothing")),
    };
    call::Request::new(&resource, &verb, body).map_err(|message| bad(&message))
}

fn of_body(read: &Read) -> Result<Bytes, Refusal> {
    if read.uri.query().is_some_and(|query| !query.is_empty()) {
        return Err(bad("a POST has its fields in the body, and no query"));
    }
    if !read.body.is_empty() && !is_json(&read.headers) {
        let message = "the body must be JSON, with Content-Type: application/json";
        return Err(Refusal::new(RefusalCode::UnsupportedEncoding, message));
    }
    let Some(key) = read.headers.get(IDEMPOTENCY_KEY) else { return Ok(read.body.clone()) };
    let refused = |message| Err(bad(message).at("Idempotency-Key"));
    let Ok(key) = key.to_str() else { return refused("it is not text") };
    // As RFC 9651 writes a string, or bare.
    let key = key.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(key);
    let mut fields = match &*read.body {
        [] => Map::new(),
        body => match serde_json::from_slice(body) {
            Ok(Json::Object(fields)) => fields,
            // The admin API says what is wrong.
            _ => return Ok(read.body.clone()),
        },
    };
    match fields.insert(REQUEST_ID.to_owned(), key.into()) {
        Some(other) if other != key => refused("the request has another request_id"),
        _ => Ok(Json::Object(fields).to_string().into()),
    }
}

fn of_query(read: &Read, resource: &str, verb: &str) -> Result<Bytes, Refusal> {
    if !read.body.is_empty() {
        return Err(bad("a GET has its fields in the query, and no body"));
    }
    let operation = fields::operation(resource, verb);
    if operation.is_some_and(|it| it.changes) {
        return Err(no_method("POST"));
    }
    let schema = operation.map_or(&Json::Null, |it| &it.request);
    let query = read.uri.query().unwrap_or_default();
    let pairs = form_urlencoded::parse(query.as_bytes());
    let mut request = Map::new();
    for (key, text) in pairs {
        let value = fields::read(schema, &key, &text);
        fields::insert(&mut request, &key, value).map_err(|error| bad(&error).at(&*key))?;
    }
    Ok(Json::Object(request).to_string().into())
}

/// Whether the body says of itself that it is JSON. A form on a page of another site cannot say so.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
    let essence = value.and_then(|it| it.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// The text behind percent-encoding; `None` if it is not UTF-8. A plus sign is itself.
pub(super) fn unescape(text: &str) -> Option<String> {
    percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned)
}

fn no_method(there_is: &str) -> Refusal {
    Refusal::new(RefusalCode::UnknownOperation, format!("not with this method: {there_is}"))
}

fn bad(message: &str) -> Refusal {
    Refusal::new(RefusalCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_is_undone_once() {
        for (text, plain) in [
            ("plant/a%20b", "plant/a b"),
            ("%E6%B8%A9/1", "温/1"),
            ("a+b", "a+b"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%2525", "%25"),
        ] {
            assert_eq!(unescape(text).as_deref(), Some(plain));
        }
        assert_eq!(unescape("%ff"), None);
    }

    #[test]
    fn json_says_that_it_is_json() {
        let said = |text: &str| {
            let value = text.parse().unwrap();
            is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
        };
        assert!(said("application/json") && said("Application/JSON; charset=utf-8"));
        assert!(!said("text/plain") && !said("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }
}
