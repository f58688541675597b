//! Status codes (OPC 10000-4, 7.39) in the words of the port.

use crate::port::{DeviceError, Lost};
use opcua::types::StatusCode;
use proto::Quality;

/// How far a server trusts a value.
pub(crate) fn quality(status: StatusCode) -> Quality {
    match status {
        it if it.is_good() => Quality::Good,
        it if it.is_uncertain() => Quality::Uncertain,
        _ => Quality::Bad,
    }
}

/// A refusal of the server, with its own name for it.
pub(crate) fn refusal(status: StatusCode) -> DeviceError {
    let name = status.sub_code().name();
    let code = match status.sub_code() {
        _ if is_about_address(status) => "illegal_address",
        _ if is_about_value(status) => "illegal_value",
        _ if is_about_rights(status) => "not_permitted",
        _ if is_about_service(status) => "illegal_function",
        _ => "device_error",
    };
    DeviceError::Named { code, name }
}

fn is_about_address(status: StatusCode) -> bool {
    [
        StatusCode::BadNodeIdUnknown,
        StatusCode::BadNodeIdInvalid,
        StatusCode::BadNoMatch,
        StatusCode::BadBrowseNameInvalid,
        StatusCode::BadAttributeIdInvalid,
        StatusCode::BadIndexRangeNoData,
        StatusCode::BadIndexRangeInvalid,
        StatusCode::BadMethodInvalid,
    ]
    .contains(&status)
}

fn is_about_value(status: StatusCode) -> bool {
    [StatusCode::BadTypeMismatch, StatusCode::BadOutOfRange, StatusCode::BadInvalidArgument]
        .contains(&status)
}

fn is_about_rights(status: StatusCode) -> bool {
    [
        StatusCode::BadNotWritable,
        StatusCode::BadNotReadable,
        StatusCode::BadUserAccessDenied,
        StatusCode::BadSecurityModeInsufficient,
    ]
    .contains(&status)
}

fn is_about_service(status: StatusCode) -> bool {
    [
        StatusCode::BadServiceUnsupported,
        StatusCode::BadNotSupported,
        StatusCode::BadNotImplemented,
        StatusCode::BadWriteNotSupported,
    ]
    .contains(&status)
}

/// Whether the server does not do this at all, whatever is asked.
pub(crate) fn is_unsupported(status: StatusCode) -> bool {
    is_about_service(status) || status == StatusCode::BadHistoryOperationUnsupported
}

/// Whether a request was too large, and can be asked again in parts.
pub(crate) fn is_too_much(status: StatusCode) -> bool {
    [
        StatusCode::BadTooManyOperations,
        StatusCode::BadRequestTooLarge,
        StatusCode::BadResponseTooLarge,
        StatusCode::BadEncodingLimitsExceeded,
        StatusCode::BadTcpMessageTooLarge,
    ]
    .contains(&status)
}

/// Whether a request failed because there is no connection any more, and not because the server said no.
pub(crate) fn loss(status: StatusCode, request: &str, timeout_ms: u32) -> Option<Lost> {
    let request = request.to_owned();
    let is_lost = [
        StatusCode::BadConnectionClosed,
        StatusCode::BadNotConnected,
        StatusCode::BadServerNotConnected,
        StatusCode::BadCommunicationError,
        StatusCode::BadSecureChannelClosed,
        StatusCode::BadSecureChannelIdInvalid,
        StatusCode::BadSessionIdInvalid,
        StatusCode::BadSessionClosed,
        StatusCode::BadSessionNotActivated,
        StatusCode::BadServerHalted,
        StatusCode::BadShutdown,
    ];
    if status == StatusCode::BadTimeout || status == StatusCode::BadRequestTimeout {
        return Some(Lost::Timeout { request, timeout_ms });
    }
    if status == StatusCode::BadUnexpectedError
        || status == StatusCode::BadDecodingError
        || status == StatusCode::BadUnknownResponse
    {
        let reason = status.to_string();
        return Some(Lost::Protocol { request, reason });
    }
    is_lost.contains(&status).then(|| Lost::Closed { request, reason: status.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_have_a_stable_code_and_the_name_of_the_server() {
        for (status, code, name) in [
            (StatusCode::BadNodeIdUnknown, "illegal_address", "BadNodeIdUnknown"),
            (StatusCode::BadTypeMismatch, "illegal_value", "BadTypeMismatch"),
            (StatusCode::BadUserAccessDenied, "not_permitted", "BadUserAccessDenied"),
            (StatusCode::BadServiceUnsupported, "illegal_function", "BadServiceUnsupported"),
            (StatusCode::BadSensorFailure, "device_error", "BadSensorFailure"),
        ] {
            let refusal = refusal(status);
            assert_eq!((refusal.code(), refusal.to_string().as_str()), (code, name));
            assert_eq!(loss(status, "reading", 1000), None);
        }
    }

    #[test]
    fn losses_are_told_from_refusals() {
        let lost = loss(StatusCode::BadTimeout, "reading", 1000).unwrap();
        assert_eq!(lost.code(), "timeout");
        let lost = loss(StatusCode::BadConnectionClosed, "reading", 1000).unwrap();
        assert_eq!(lost.code(), "connection_lost");
    }

    #[test]
    fn qualities() {
        assert_eq!(quality(StatusCode::Good), Quality::Good);
        assert_eq!(quality(StatusCode::UncertainLastUsableValue), Quality::Uncertain);
        assert_eq!(quality(StatusCode::BadSensorFailure), Quality::Bad);
    }
}
