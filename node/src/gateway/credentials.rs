//! Who asks: HTTP Basic (RFC 7617) as user name and secret, Bearer (RFC 6750) as a token.
//!
//! They become the user name and password of a CONNECT, so the chain of authentication decides what they are worth.
//! Without either the caller is whoever the broker takes a client without a name for: nobody, unless configured.

use crate::call::Login;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proto::{Refusal, RefusalCode};

/// Reads the credentials of a request.
pub(super) fn read(headers: &HeaderMap) -> Result<Login, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Login::Nobody) };
    if values.next().is_some() {
        return Err(unreadable("there is more than one header"));
    }
    let text = value.to_str().map_err(|_| unreadable("it is not text"))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        basic(rest)
    } else if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        Ok(Login::Token(Bytes::copy_from_slice(rest.as_bytes())))
    } else {
        Err(unreadable("it must be Basic or Bearer"))
    }
}

fn basic(rest: &str) -> Result<Login, Refusal> {
    let pair = STANDARD.decode(rest).map_err(|_| unreadable("it is not base64"))?;
    let colon = pair.iter().position(|byte| *byte == b':');
    let colon = colon.ok_or_else(|| unreadable("there is no colon after the user name"))?;
    let name = std::str::from_utf8(&pair[..colon]);
    let name = name.map_err(|_| unreadable("the user name is not UTF-8"))?;
    if name.is_empty() {
        return Err(unreadable("the user name is empty"));
    }
    Ok(Login::User(name.to_owned(), Bytes::copy_from_slice(&pair[colon + 1..])))
}

fn unreadable(why: &str) -> Refusal {
    let message = format!("the header Authorization is not understood: {why}");
    Refusal::new(RefusalCode::Unauthorized, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(value: &[u8]) -> Result<Login, Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.try_into().unwrap());
        read(&headers)
    }

    #[test]
    fn both_schemes_are_read_whatever_their_case() {
        let joe = Login::User("acme/plant/joe".to_owned(), "a:b".into());
        let pair = STANDARD.encode("acme/plant/joe:a:b");
        assert_eq!(login(format!("Basic {pair}").as_bytes()), Ok(joe.clone()));
        assert_eq!(login(format!("bAsIc  {pair} ").as_bytes()), Ok(joe));
        assert_eq!(login(b"bearer a.b.c"), Ok(Login::Token("a.b.c".into())));
        assert_eq!(read(&HeaderMap::new()), Ok(Login::Nobody));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let no_utf8 = format!("Basic {}", STANDARD.encode([0xff, b':', b'x']));
        let bare: [&[u8]; 8] = [
            b"",
            b"Basic",
            b"Basic %%%",
            b"Basic am9l",
            b"Basic OnNlY3JldA==",
            b"Bearer",
            b"Digest x",
            &[0xff],
        ];
        for value in bare.into_iter().chain([no_utf8.as_bytes()]) {
            let refusal = login(value).unwrap_err();
            assert_eq!(refusal.code, RefusalCode::Unauthorized, "{value:?}");
        }
        let mut two = HeaderMap::new();
        for _ in 0..2 {
            two.append(header::AUTHORIZATION, "Bearer x".parse().unwrap());
        }
        assert!(read(&two).is_err());
    }
}
