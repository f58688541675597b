//! Why an operation of a driver failed: one enum for each operation, each kind with a stable code.
//!
//! The codes appear in replies, documents and metrics labels: they never change, and they are the
//! same for every protocol. Messages name the request in the words of the protocol.

use super::PointId;
use proto::Datum;
use thiserror::Error;

/// The machine answered, and the answer is a refusal. Named as in Modbus, which has the fewest
/// words; a protocol with more of them keeps its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
pub enum DeviceError {
    /// The machine does not know this kind of request.
    #[error("illegal function")]
    IllegalFunction,
    /// The machine has nothing at this address.
    #[error("illegal address")]
    IllegalAddress,
    /// The machine does not take this value or quantity.
    #[error("illegal value")]
    IllegalValue,
    /// The machine failed while it did what was asked.
    #[error("device failure")]
    DeviceFailure,
    /// The machine is busy with something longer.
    #[error("device busy")]
    DeviceBusy,
    /// A gateway answered in place of the machine, which it cannot reach.
    #[error("the gateway cannot reach the device")]
    GatewayFailure,
    /// A code that the protocol's specification does not name.
    #[error("exception code {0}")]
    Other(u8),
    /// A refusal in the words of the protocol, such as the name of a status code.
    #[error("{name}")]
    Named {
        /// The stable code: one of those above, or `not_permitted`.
        code: &'static str,
        /// The name in the protocol.
        name: &'static str,
    },
}

impl DeviceError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::IllegalFunction => "illegal_function",
            Self::IllegalAddress => "illegal_address",
            Self::IllegalValue => "illegal_value",
            Self::DeviceFailure => "device_failure",
            Self::DeviceBusy => "device_busy",
            Self::GatewayFailure => "gateway_failure",
            Self::Other(_) => "device_error",
            Self::Named { code, .. } => code,
        }
    }
}

/// Why there is no connection any more.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Lost {
    /// There was none to begin with.
    #[error("not connected")]
    NotConnected,
    /// The machine did not answer in time.
    #[error("no answer within {timeout_ms} ms to {request}")]
    Timeout {
        /// What was asked.
        request: String,
        /// How long the driver waited.
        timeout_ms: u32,
    },
    /// The machine or the network closed the connection.
    #[error("connection lost during {request}: {reason}")]
    Closed {
        /// What was asked.
        request: String,
        /// What the operating system said.
        reason: String,
    },
    /// The answer is not one that the protocol allows, so nothing after it can be trusted.
    #[error("the answer to {request} breaks the protocol: {reason}")]
    Protocol {
        /// What was asked.
        request: String,
        /// What is wrong with the answer.
        reason: String,
    },
}

impl Lost {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Timeout { .. } => "timeout",
            Self::Closed { .. } => "connection_lost",
            Self::Protocol { .. } => "protocol_violation",
        }
    }
}

/// Why a machine cannot be connected to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectError {
    /// Nothing listens there.
    #[error("{address} refused the connection")]
    Refused {
        /// The configured address.
        address: String,
    },
    /// Nothing answered in time.
    #[error("no connection to {address} within {timeout_ms} ms")]
    Timeout {
        /// The configured address.
        address: String,
        /// How long the driver waited.
        timeout_ms: u32,
    },
    /// The name is unknown, the network is down, or the like.
    #[error("cannot reach {address}: {reason}")]
    Unreachable {
        /// The configured address.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// The machine is there, but it does not take us, or is not the one that we trust. It needs an operator.
    #[error("{address}: {reason}")]
    NotTrusted {
        /// The configured address.
        address: String,
        /// Who does not trust whom, and what to do.
        reason: String,
    },
}

impl ConnectError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "refused",
            Self::Timeout { .. } => "timeout",
            Self::Unreachable { .. } => "unreachable",
            Self::NotTrusted { .. } => "not_trusted",
        }
    }
}

/// Why one point has no value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ReadError {
    /// The driver was opened without such a point.
    #[error("there is no point {}", .0.0)]
    UnknownPoint(PointId),
    /// The machine refused.
    #[error("cannot read {target}: {error}")]
    Device {
        /// What was asked for.
        target: String,
        /// How it refused.
        error: DeviceError,
    },
    /// The machine answered with something that is no value of the tag's type, such as NaN.
    #[error("{target} holds no value of type {data_type}: {reason}")]
    NoValue {
        /// What was read.
        target: String,
        /// The tag's type.
        data_type: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The connection was lost before the point was read; [`ReadOutcome::lost`](super::ReadOutcome)
    /// says why.
    #[error("the connection was lost")]
    ConnectionLost,
}

impl ReadError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownPoint(_) => "unknown_point",
            Self::Device { error, .. } => error.code(),
            Self::NoValue { .. } => "no_value",
            Self::ConnectionLost => "connection_lost",
        }
    }
}

/// A value as an error shows it: arrays and structures may be long.
fn brief(value: &Datum) -> String {
    let text = value.to_string();
    match text.char_indices().nth(BRIEF_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The longest that an error shows of a value.
const BRIEF_CHARS_MAX: usize = 100;

/// Why a point was not written, or not as asked.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum WriteError {
    /// The driver was opened without such a point.
    #[error("there is no point {}", .0.0)]
    UnknownPoint(PointId),
    /// The tag may only be read.
    #[error("{target} is read only")]
    ReadOnly {
        /// What should have been written.
        target: String,
    },
    /// The value is of another kind than the tag.
    #[error("{} is no value of type {data_type} for {target}", brief(value))]
    WrongType {
        /// What should have been written.
        target: String,
        /// The value asked for.
        value: Datum,
        /// The tag's type.
        data_type: String,
    },
    /// The value does not fit the tag's type after scaling; nothing was sent.
    #[error("{} is out of the range of type {data_type} for {target}", brief(value))]
    OutOfRange {
        /// What should have been written.
        target: String,
        /// The value asked for.
        value: Datum,
        /// The tag's type.
        data_type: String,
    },
    /// A part of an array or structure is not what the machine has there; nothing was sent.
    #[error("cannot write {target}: {reason}")]
    Misfit {
        /// What should have been written.
        target: String,
        /// What does not fit where.
        reason: String,
    },
    /// The machine refused; nothing was written.
    #[error("cannot write {target}: {error}")]
    Device {
        /// What should have been written.
        target: String,
        /// How it refused.
        error: DeviceError,
    },
    /// Nothing was sent, since something has to be known of the point first that cannot be read.
    #[error("not written: {0}")]
    NotWritten(ReadError),
    /// The machine accepted the value but holds another one.
    #[error("wrote {} to {target}, read back {}", brief(written), brief(found))]
    NotVerified {
        /// What was written.
        target: String,
        /// The value the machine accepted.
        written: Datum,
        /// The value it holds.
        found: Datum,
    },
    /// The machine accepted the value, but it cannot be read back.
    #[error("written, but not verified: {0}")]
    NotReadBack(ReadError),
    /// The connection was lost: whether the value was written is unknown, except for
    /// [`Lost::NotConnected`], when nothing was sent.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl WriteError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::UnknownPoint(_) => "unknown_point",
            Self::ReadOnly { .. } => "read_only",
            Self::WrongType { .. } => "wrong_type",
            Self::OutOfRange { .. } => "out_of_range",
            Self::Misfit { .. } => "misfit",
            Self::Device { error, .. } => error.code(),
            Self::NotWritten(_) => "not_written",
            Self::NotVerified { .. } => "not_verified",
            Self::NotReadBack(_) => "not_read_back",
            Self::Lost(lost) => lost.code(),
        }
    }
}

/// Why a machine does not push changes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubscribeError {
    /// The protocol only answers questions: poll instead.
    #[error("the protocol has no subscriptions")]
    Unsupported,
    /// The driver was opened without such a point.
    #[error("there is no point {}", .0.0)]
    UnknownPoint(PointId),
    /// The machine refused.
    #[error("cannot subscribe: {0}")]
    Device(DeviceError),
    /// The connection was lost.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl SubscribeError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::UnknownPoint(_) => "unknown_point",
            Self::Device(error) => error.code(),
            Self::Lost(lost) => lost.code(),
        }
    }
}

/// Why a machine does not tell what it has, or who it is, or does not do what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum QueryError {
    /// The protocol has no such question.
    #[error("the protocol has no such request")]
    Unsupported,
    /// What was asked about cannot be an address.
    #[error("{address:?} is no address: {reason}")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An argument of a call is not what the method takes.
    #[error("{argument}: {reason}")]
    Input {
        /// Which one, by the name that the method gives it.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The machine refused.
    #[error("the machine refuses: {0}")]
    Device(DeviceError),
    /// The connection was lost.
    #[error(transparent)]
    Lost(#[from] Lost),
}

impl QueryError {
    /// The stable code of this kind.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unsupported => "unsupported",
            Self::Address { .. } => "invalid_address",
            Self::Input { .. } => "invalid_input",
            Self::Device(error) => error.code(),
            Self::Lost(lost) => lost.code(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_shows_the_beginning_of_a_long_value() {
        let value = Datum::from_json(json!(vec![1.5; 1000])).unwrap();
        let (target, data_type) = ("holding:0".to_owned(), "uint16".to_owned());
        let text = WriteError::WrongType { target, value, data_type }.to_string();
        assert!(text.starts_with("[1.5,1.5,") && text.contains("…"), "{text}");
        assert!(text.ends_with("is no value of type uint16 for holding:0"), "{text}");
        assert!(text.len() < 200, "{text}");
    }
}
