//! Requests of any function, for operators: its code and its data in hexadecimal digits, as what the machine answers.

use super::pdu::PDU_BYTES_MAX;
use crate::port::{Call, Input, QueryError};
use serde_json::Value as Json;

/// The request that a call means.
pub(crate) fn request(call: &Call) -> Result<Vec<u8>, QueryError> {
    let refuse =
        |reason: &str| QueryError::Address { address: call.method.clone(), reason: reason.into() };
    if call.object.is_some() {
        return Err(refuse("Modbus has no objects, leave it out"));
    }
    let code = match call.method.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => call.method.parse().ok(),
    };
    let code = code.filter(|code| (1..=127).contains(code));
    let code =
        code.ok_or_else(|| refuse("expected a function code from 1 to 127, such as 65 or 0x41"))?;
    let invalid =
        |reason: &str| QueryError::Input { argument: "input".into(), reason: reason.into() };
    let given = match &call.input {
        Input::Places(places) => places.as_slice(),
        Input::Names(_) => {
            return Err(invalid("expected hexadecimal digits, such as \"0001000A\""));
        }
    };
    let digits = match given {
        [] => "",
        [Json::String(digits)] => digits,
        _ => return Err(invalid("expected hexadecimal digits, such as \"0001000A\"")),
    };
    let data = bytes(digits).ok_or_else(|| invalid("not pairs of hexadecimal digits"))?;
    if data.len() >= PDU_BYTES_MAX {
        return Err(invalid("more than 252 bytes"));
    }
    Ok([&[code], data.as_slice()].concat())
}

/// Bytes in hexadecimal digits.
pub(crate) fn digits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_bytes().as_chunks::<2>() else { return None };
    let digit = |it: u8| char::from(it).to_digit(16);
    pairs.iter().map(|pair| u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(method: &str, input: Json) -> Result<Vec<u8>, &'static str> {
        let call = Call { method: method.to_owned(), object: None, input: Input::of(input) };
        request(&call).map_err(|error| error.code())
    }

    #[test]
    fn a_call_is_a_function_and_its_data() {
        assert_eq!(of("65", json!("00ff0A")), Ok(vec![65, 0, 255, 10]));
        assert_eq!(of("0x41", json!(null)), Ok(vec![65]));
        assert_eq!(digits(&[0, 255, 10]), "00FF0A");
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for method in ["", "0", "128", "0x80", "fill", "-1"] {
            assert_eq!(of(method, json!(null)), Err("invalid_address"), "{method}");
        }
        for input in [json!("0"), json!("0g"), json!(7), json!(["00", "01"]), json!({"a": 1})] {
            assert_eq!(of("65", input.clone()), Err("invalid_input"), "{input}");
        }
        assert_eq!(of("65", json!("00".repeat(253))), Err("invalid_input"));
        let on = Some("x".to_owned());
        let call = Call { method: "65".to_owned(), object: on, input: Input::of(json!(null)) };
        assert_eq!(request(&call).unwrap_err().code(), "invalid_address");
    }
}
