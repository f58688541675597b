//! Tokens of each algorithm, and the ways in which tokens have been forged.

use super::keys::KeyError;
use super::*;
use proto::Role;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::json;

const NOW: TimestampMs = TimestampMs(1_000_000_000);
const SECRET: &[u8] = b"thirty-two bytes are the shortest";

/// The key and the token of RFC 7515 A.2, whose claims are `iss` joe and `exp` 1300819380.
const RSA_KEY: &str = concat!(
    "{\"keys\":[{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8",
    "W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r",
    "2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665",
    "xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs",
    "91kzk2PAcDTW9gb54h4FRWyuXpoQ\"}]}",
);
const RSA_TOKEN: &str = concat!(
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGx",
    "lLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5R",
    "Zmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrn",
    "byTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHW",
    "EsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0ig",
    "cN_IoypGlUPQGe77Rw",
);

fn encoded(json: &Json) -> String {
    URL_SAFE_NO_PAD.encode(json.to_string())
}

fn signed(header: &Json, claims: &Json, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn hmac_with(key: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, key);
    move |message| ring::hmac::sign(&key, message).as_ref().to_vec()
}

fn claims() -> Json {
    json!({ "sub": "joe", "role": "app", "exp": 1_000_100 })
}

fn checked(keys: &KeySet, token: &str) -> Result<(), TokenError> {
    check(keys, &TokenParts::parse(token.as_bytes())?)
}

/// Keys as an issuer configures them.
fn issuer(file: &std::path::Path, contents: &[u8]) -> JwtConfig {
    std::fs::write(file, contents).unwrap();
    JwtConfig { jwks_file: Some(file.to_owned()), ..JwtConfig::default() }
}

#[test]
fn each_algorithm_is_verified_with_keys_of_pem_and_of_a_key_set() {
    let random = SystemRandom::new();
    let algorithm = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    let ec = EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap();
    let document = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    let ed = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let (point, ed_key) = (ec.public_key().as_ref(), ed.public_key().as_ref());
    let base64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let set = json!({ "keys": [
        { "kty": "EC", "crv": "P-256", "kid": "e", "x": base64(&point[1..33]), "y": base64(&point[33..]) },
        { "kty": "OKP", "crv": "Ed25519", "kid": "d", "x": base64(ed_key) },
        { "kty": "oct", "kid": "s", "k": base64(SECRET) },
        { "kty": "post-quantum", "kid": "p" },
    ] });
    let keys = KeySet::from_jwks(set.to_string().as_bytes(), true).unwrap();
    let es = |message: &[u8]| ec.sign(&random, message).unwrap().as_ref().to_vec();
    let dsa = |message: &[u8]| ed.sign(message).as_ref().to_vec();
    for (token, what) in [
        (signed(&json!({ "alg": "ES256", "kid": "e" }), &claims(), es), "ES256"),
        (signed(&json!({ "alg": "EdDSA", "kid": "d" }), &claims(), dsa), "EdDSA"),
        (signed(&json!({ "alg": "HS256", "kid": "s" }), &claims(), hmac_with(SECRET)), "HS256"),
        (signed(&json!({ "alg": "ES256" }), &claims(), es), "no key identifier"),
    ] {
        assert_eq!(checked(&keys, &token), Ok(()), "{what}");
    }
    let other = signed(&json!({ "alg": "EdDSA", "kid": "new" }), &claims(), dsa);
    assert_eq!(checked(&keys, &other), Err(TokenError::UnknownKey));
    let rsa = KeySet::from_jwks(RSA_KEY.as_bytes(), false).unwrap();
    assert_eq!(checked(&rsa, RSA_TOKEN), Ok(()), "RS256");
    let public = KeySet::from_jwks(set.to_string().as_bytes(), false).unwrap();
    let secret = signed(&json!({ "alg": "HS256" }), &claims(), hmac_with(SECRET));
    assert_eq!(checked(&public, &secret), Err(TokenError::Signature), "secrets are not published");
}

#[test]
fn no_token_chooses_how_it_is_checked() {
    let rsa = KeySet::from_jwks(RSA_KEY.as_bytes(), false).unwrap();
    // The public key as the secret of an HMAC, in the forms in which it is published.
    for secret in [RSA_KEY.as_bytes(), &RSA_KEY.as_bytes()[40..200]] {
        let forged = signed(&json!({ "alg": "HS256" }), &claims(), hmac_with(secret));
        assert_eq!(checked(&rsa, &forged), Err(TokenError::Signature));
    }
    let secret = KeySet::from_secret(SECRET).unwrap();
    for (header, expected) in [
        (json!({ "alg": "none" }), TokenError::Algorithm),
        (json!({ "alg": "None" }), TokenError::Algorithm),
        (json!({ "alg": "hs256" }), TokenError::Algorithm),
        (json!({ "alg": "HS512" }), TokenError::Algorithm),
        (json!({ "alg": "RS256" }), TokenError::Signature),
        (json!({ "alg": "HS256", "crit": ["exp"] }), TokenError::Malformed),
        (json!({ "kid": "x" }), TokenError::Malformed),
    ] {
        let token = signed(&header, &claims(), hmac_with(SECRET));
        assert_eq!(checked(&secret, &token), Err(expected), "{header}");
    }
    let unsigned = signed(&json!({ "alg": "HS256" }), &claims(), |_| Vec::new());
    assert_eq!(checked(&secret, &unsigned), Err(TokenError::Signature));
    let good = signed(&json!({ "alg": "HS256" }), &claims(), hmac_with(SECRET));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let other = encoded(&json!({ "sub": "admin", "exp": 1_000_100 }));
    let forged = format!("{}.{other}.{signature}", head.split('.').next().unwrap());
    assert_eq!(checked(&secret, &forged), Err(TokenError::Signature));
    for broken in ["", "ey", "ey.ey", "ey.ey.ey.ey", "eyJ.!.x", &"e".repeat(20_000)] {
        assert_eq!(checked(&secret, broken), Err(TokenError::Malformed), "{broken:.20}");
    }
}

#[test]
fn keys_that_cannot_guard_anything_are_refused() {
    for (keys, expected) in [
        (KeySet::from_secret(b"short\n"), KeyError::ShortSecret),
        (KeySet::from_pem("nothing"), KeyError::Empty),
        (KeySet::from_jwks(b"{}", true), KeyError::Jwks),
        (KeySet::from_jwks(b"{\"keys\":[]}", true), KeyError::Empty),
        (KeySet::from_jwks(b"{\"keys\":[{\"kty\":\"oct\",\"k\":\"AA\"}]}", true), KeyError::Empty),
    ] {
        assert_eq!(keys.err(), Some(expected));
    }
    let with_line_break = [SECRET, b"\n"].concat();
    let token = signed(&json!({ "alg": "HS256" }), &claims(), hmac_with(SECRET));
    assert_eq!(checked(&KeySet::from_secret(&with_line_break).unwrap(), &token), Ok(()));
}

#[tokio::test]
async fn a_token_is_taken_from_the_issuer_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let key = |secret: &[u8]| {
        json!({ "keys": [{ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret) }] }).to_string()
    };
    let other_secret = b"another secret with enough bytes in it";
    let mut first = issuer(&folder.path().join("a"), key(SECRET).as_bytes());
    first.issuer = "a".to_owned();
    let mut second = issuer(&folder.path().join("b"), key(other_secret).as_bytes());
    second.issuer = "b".to_owned();
    second.roles = vec![Role::User];
    let tokens = Tokens::open(&[first, second]).unwrap();
    let token = |issuer: &str, role: &str, secret: &[u8]| {
        let mut claims = claims();
        (claims["iss"], claims["role"]) = (issuer.into(), role.into());
        signed(&json!({ "alg": "HS256" }), &claims, hmac_with(secret))
    };
    let verify = |token: String| {
        let token = TokenParts::parse(token.as_bytes())?;
        tokens.verify(&token, NOW).map(|it| it.role)
    };
    assert_eq!(verify(token("a", "app", SECRET)), Ok(Role::App));
    assert_eq!(verify(token("b", "user", other_secret)), Ok(Role::User));
    assert_eq!(verify(token("b", "app", other_secret)), Err(TokenError::Role));
    assert_eq!(verify(token("b", "user", SECRET)), Err(TokenError::Signature));
    assert_eq!(verify(token("c", "user", SECRET)), Err(TokenError::Issuer));
}

#[tokio::test]
async fn an_issuer_without_one_source_of_keys_is_refused() {
    let nowhere = || Some(std::path::PathBuf::from("/nowhere/keys"));
    for config in [
        JwtConfig::default(),
        JwtConfig { jwks_file: nowhere(), secret_file: nowhere(), ..JwtConfig::default() },
        JwtConfig { public_key_file: nowhere(), ..JwtConfig::default() },
        JwtConfig { jwks_url: Some("ftp://host/keys".to_owned()), ..JwtConfig::default() },
    ] {
        assert!(Tokens::open(std::slice::from_ref(&config)).is_err(), "{config:?}");
    }
}
