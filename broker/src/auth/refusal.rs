//! Why a client is not let in: the code it is told, the name under which it is counted and logged.

use super::scram::ScramError;
use super::token::TokenError;
use crate::denial::Why;
use crate::figures::Counters;
use crate::permissions::acl::AclError;
use crate::reason::Reason;
use std::sync::atomic::AtomicU64;

/// Why a client is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("no user name was given")]
    NoName,
    #[error("the user name is malformed")]
    MalformedName,
    #[error("no password was given")]
    NoPassword,
    #[error("unknown user name")]
    UnknownName,
    #[error("wrong password")]
    WrongSecret,
    #[error("the name is disabled")]
    Disabled,
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error("the user name is another than the one that was proved")]
    OtherName,
    #[error("no such device or edge node is registered")]
    Unregistered,
    #[error(transparent)]
    Scram(#[from] ScramError),
    #[error("the authentication method is not offered")]
    Method,
    #[error("it has failed too often")]
    LockedOut,
    #[error("too many passwords are being checked")]
    Busy,
    #[error("the store does not answer: {0}")]
    Store(String),
    #[error("the hook does not answer: {0}")]
    NoAnswer(String),
    #[error("nobody registers devices now")]
    NoRegistrar,
    #[error("the hook refuses it")]
    Denied,
    #[error("the access list is refused: {0}")]
    Acl(#[from] AclError),
    #[error("there is no such namespace")]
    Namespace,
    #[error("the listener is for another namespace")]
    Listener,
    #[error("{0}")]
    Certificate(&'static str),
}

impl Refusal {
    /// What the client is told (MQTT 5.0 3.2.2.2). Names that do not exist and wrong secrets look the same.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Self::NoName
            | Self::MalformedName
            | Self::NoPassword
            | Self::UnknownName
            | Self::Certificate(_)
            | Self::WrongSecret => Reason::BadUserNameOrPassword,
            Self::Token(_)
            | Self::OtherName
            | Self::Unregistered
            | Self::Disabled
            | Self::Denied
            | Self::Acl(_)
            | Self::Namespace
            | Self::Listener
            | Self::Scram(ScramError::WrongProof | ScramError::NotOffered) => Reason::NotAuthorized,
            Self::Scram(ScramError::Malformed) => Reason::ProtocolError,
            Self::Method => Reason::BadAuthenticationMethod,
            Self::LockedOut => Reason::Banned,
            Self::Busy => Reason::ServerBusy,
            Self::Store(_) | Self::NoAnswer(_) | Self::NoRegistrar => Reason::ServerUnavailable,
        }
    }

    /// Why, as the client is told it (MQTT 5.0 3.2.2.3.9). Of what is there it learns no more than from the code.
    pub(crate) fn told(&self) -> Why {
        Why::Rule(match self {
            Self::NoName => "no user name was given",
            Self::MalformedName => "the user name is not of the form name or tenant/project/name",
            Self::NoPassword => "no password was given",
            Self::UnknownName | Self::WrongSecret => "user name or password is wrong",
            Self::Certificate(_) => "the certificate lets nobody in",
            Self::Token(_) | Self::OtherName | Self::Scram(_) => {
                return Why::said(&self.to_string());
            }
            Self::Acl(_) => "the access list cannot be used",
            Self::Unregistered
            | Self::Disabled
            | Self::Denied
            | Self::Namespace
            | Self::Listener => "the client is not allowed to come in here",
            Self::Method => "the authentication method is not offered (security.chain)",
            Self::LockedOut => "too many failures, try again later (security.lockout)",
            Self::Busy => "too many passwords are being checked, try again later",
            Self::Store(_) | Self::NoAnswer(_) | Self::NoRegistrar => {
                "nobody can be checked now, try again later"
            }
        })
    }

    /// A stable name for logs, events and figures.
    pub(crate) fn as_str(&self) -> &'static str {
        match self {
            Self::NoName | Self::MalformedName | Self::NoPassword => "no_credentials",
            Self::UnknownName => "unknown_name",
            Self::WrongSecret => "wrong_password",
            Self::Disabled => "disabled",
            Self::Token(_) => "token",
            Self::OtherName => "other_name",
            Self::Unregistered => "unregistered",
            Self::Scram(_) => "scram",
            Self::Method => "method",
            Self::LockedOut => "locked_out",
            Self::Busy => "busy",
            Self::Store(_) => "store",
            Self::NoAnswer(_) => "hook_failed",
            Self::NoRegistrar => "registrar_failed",
            Self::Denied => "denied",
            Self::Acl(_) => "access_list",
            Self::Namespace | Self::Listener => "namespace",
            Self::Certificate(_) => "certificate",
        }
    }

    /// Whether it may have been a guess, which counts towards a lock.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(
            self,
            Self::UnknownName
                | Self::WrongSecret
                | Self::Denied
                | Self::Token(TokenError::Signature | TokenError::Algorithm)
                | Self::Scram(ScramError::WrongProof)
        )
    }

    /// Whether somebody of the name that was given exists, and may be guarded.
    pub(crate) fn is_of_a_known_name(&self) -> bool {
        matches!(self, Self::WrongSecret | Self::Scram(ScramError::WrongProof))
    }

    /// Where it is counted.
    pub(crate) fn counter<'a>(&self, counters: &'a Counters) -> &'a AtomicU64 {
        match self {
            Self::LockedOut => &counters.refused_locked_out,
            Self::Busy => &counters.refused_busy,
            Self::Store(_) | Self::NoAnswer(_) | Self::NoRegistrar => &counters.refused_unavailable,
            Self::Token(_) => &counters.refused_tokens,
            Self::Disabled
            | Self::Denied
            | Self::Acl(_)
            | Self::Namespace
            | Self::Listener
            | Self::Unregistered => &counters.refused_not_allowed,
            _ => &counters.refused_credentials,
        }
    }
}
