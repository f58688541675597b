//! Who a client is: a chain of ways to prove it, tried in the order of the configuration.
//!
//! Each way says one of three things: it is this client, with these permissions until then; it is refused; or what
//! was shown is not for this way. A client that no way takes for its own is refused. Failures are watched
//! ([`lockout`]), and what a slow hash guards is checked [`password::HASHES_AT_ONCE`] at a time, so that guessing
//! neither succeeds nor keeps devices out, whose secrets are checked with a keyed hash in microseconds.

mod config;
mod enhanced;
mod expiry;
mod fetch;
mod hook;
mod lockout;
mod made_up;
mod notice;
mod password;
mod refusal;
mod scram;
mod token;

pub use config::{AuthConfig, AuthMethod, HookConfig, JwtAlgorithm, JwtConfig, LockoutConfig};
pub(crate) use enhanced::{Answer, Dialogue};
pub(crate) use expiry::Expiries;
pub(crate) use notice::{Notices, Stranger};
pub(crate) use refusal::Refusal;
pub use token::JWT_ISSUERS_MAX;

use crate::credential::{Credential, CredentialIdentity, system_namespace};
use crate::figures::Counters;
use crate::peer::PeerAddress;
use crate::permissions::acl::AclRule;
use crate::reload::Reloaded;
use crate::space::Shared;
use hook::Hook;
use lockout::{Lockout, Noted, Standing};
use parking_lot::Mutex;
use password::Passwords;
use proto::{Identity, Namespace, Role, TimestampMs, UserId, UserName};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use store::ReadError;
use token::{Claims, Tokens};

/// Checks who clients are.
pub(crate) struct Authenticator {
    shared: Arc<Shared>,
    chain: Vec<AuthMethod>,
    passwords: Passwords,
    tokens: Tokens,
    hook: Option<Hook>,
    lockout: Mutex<Lockout>,
    /// From which the salts of names that do not exist are made up.
    made_up: [u8; 32],
    /// Where a client without a user name goes, and as what; `None` refuses it.
    anonymous: Option<Anonymous>,
    pub(crate) expiries: Arc<Expiries>,
    pub(crate) notices: Notices,
}

/// How a client without a user name is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anonymous {
    /// Its namespace.
    pub namespace: Namespace,
    /// Its role.
    pub role: Role,
    /// What it may do within its role; absent: all of that.
    pub acl: Option<Vec<AclRule>>,
}

/// The configuration of authentication cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("security: {0}")]
pub struct AuthError(String);

/// What a client shows of itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Presented<'a> {
    pub(crate) address: PeerAddress,
    pub(crate) client_id: &'a str,
    pub(crate) user_name: Option<&'a str>,
    pub(crate) password: Option<&'a [u8]>,
}

impl Presented<'_> {
    /// Where failures are watched: the processes of this machine are one place.
    fn place(&self) -> IpAddr {
        self.address.ip().unwrap_or(Ipv4Addr::LOCALHOST.into())
    }
}

/// A client that has proved who it is.
#[derive(Debug, Clone)]
pub(crate) struct Grant {
    pub(crate) namespace: Namespace,
    pub(crate) identity: Identity,
    /// What it may do within its role: what all of these lists allow.
    pub(crate) acls: Vec<Vec<AclRule>>,
    /// Whether its role and lists are those of its credential, and nobody else's.
    pub(crate) is_by_credential: bool,
    /// When it has to prove it again, or go.
    pub(crate) expires_at: Option<TimestampMs>,
}

/// What one way says of a client.
pub(crate) enum Verdict {
    Accept(Grant),
    Refuse(Refusal),
    /// What was shown is not for this way; why the client is refused if no other takes it.
    NotMine(Refusal),
}

impl Authenticator {
    /// Reads the keys of tokens again.
    pub(crate) fn reload_keys(&self) -> Vec<Reloaded> {
        self.tokens.reload()
    }

    /// Reads keys and secrets. Must run inside a tokio runtime.
    pub(crate) fn open(
        shared: Arc<Shared>,
        config: &AuthConfig,
        anonymous: Option<Anonymous>,
    ) -> Result<Self, AuthError> {
        let tokens = Tokens::open(&config.jwt).map_err(|error| AuthError(error.to_string()))?;
        let hook = config.http.as_ref().map(|hook| Hook::open(hook, &shared)).transpose();
        let hook = hook.map_err(|error| AuthError(format!("http: {error}")))?;
        let made_up = made_up::read_or_make(&shared)?;
        Ok(Self {
            chain: config.chain.clone(),
            passwords: Passwords::default(),
            tokens,
            hook,
            lockout: Mutex::new(Lockout::new(config.lockout)),
            made_up,
            anonymous,
            expiries: Expiries::start(Arc::clone(&shared)),
            notices: Notices::new(Arc::clone(&shared)),
            shared,
        })
    }

    /// The namespace, identity and permissions of a client that shows what CONNECT has room for.
    pub(crate) async fn authenticate(&self, shown: Presented<'_>) -> Result<Grant, Refusal> {
        if shown.user_name.is_none() && shown.password.is_none() {
            return self.authorise(self.anonymous()?, shown).await;
        }
        let asked = asked(shown.user_name)?;
        let standing = self.standing(shown.place(), asked.as_ref())?;
        let outcome = self.try_all(shown, asked.as_ref(), standing).await;
        self.note(shown.place(), asked.as_ref(), &outcome);
        outcome
    }

    async fn try_all(
        &self,
        shown: Presented<'_>,
        asked: Option<&UserName>,
        standing: Standing,
    ) -> Result<Grant, Refusal> {
        let mut reason = Refusal::NoName;
        for method in &self.chain {
            let verdict = match method {
                AuthMethod::Jwt => self.by_token(shown, asked),
                AuthMethod::Password => self.by_password(shown, asked, standing).await,
                AuthMethod::Http => match &self.hook {
                    Some(hook) => self.by_hook(hook, shown, asked).await,
                    None => continue,
                },
                // These have their say elsewhere: at the handshake of TLS, and in AUTH packets.
                AuthMethod::Certificate | AuthMethod::Scram => continue,
            };
            match verdict {
                Verdict::Accept(grant) if *method == AuthMethod::Http => return Ok(grant),
                Verdict::Accept(grant) => return self.authorise(grant, shown).await,
                Verdict::Refuse(refusal) => return Err(refusal),
                Verdict::NotMine(refusal) => reason = refusal,
            }
        }
        Err(reason)
    }

    /// Whether a hook has a say in what clients may do that others let in.
    pub(crate) fn asks_a_hook(&self) -> bool {
        self.hook.as_ref().is_some_and(Hook::authorises)
    }

    fn anonymous(&self) -> Result<Grant, Refusal> {
        let anonymous = self.anonymous.as_ref().ok_or(Refusal::NoName)?;
        Ok(Grant {
            namespace: anonymous.namespace.clone(),
            identity: Identity::User { name: anonymous_name(), role: anonymous.role },
            acls: anonymous.acl.clone().into_iter().collect(),
            is_by_credential: false,
            expires_at: None,
        })
    }

    fn by_token(&self, shown: Presented<'_>, asked: Option<&UserName>) -> Verdict {
        let token = shown.password.filter(|it| !self.tokens.is_empty() && token::is_token(it));
        let Some(token) = token else { return Verdict::NotMine(Refusal::NoPassword) };
        match self.token_grant(token, asked) {
            Ok(grant) => Verdict::Accept(grant),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// A client whose certificate has been verified and gives its name. A user name in CONNECT must be the same; a
    /// password adds nothing. Operators of the whole system come in by secret only, so that an authority for machines
    /// cannot make one.
    pub(crate) fn vouch(
        &self,
        certified: Option<&str>,
        user_name: Option<&str>,
    ) -> Result<Grant, Refusal> {
        let certified =
            certified.ok_or(Refusal::Certificate("the certificate gives no user name"))?;
        let certified = UserName::parse(certified)
            .map_err(|_| Refusal::Certificate("the certificate gives a malformed user name"))?;
        let is_other = |name: &str| UserName::parse(name).as_ref() != Ok(&certified);
        if user_name.is_some_and(is_other) {
            let why = "the user name is not that of the certificate";
            return Err(Refusal::Certificate(why));
        }
        if certified.namespace == system_namespace() {
            return Err(Refusal::Certificate("no operator comes in by certificate"));
        }
        let found = self.row(&(certified.namespace.clone(), certified.name.clone()));
        let credential = found.map_err(|error| Refusal::Store(error.to_string()))?;
        let why = "nobody is registered under the certificate's name";
        Grant::of(&credential.ok_or(Refusal::Certificate(why))?, &certified)
    }

    /// Whether a certificate is one of the ways in.
    pub(crate) fn takes_certificates(&self) -> bool {
        self.chain.contains(&AuthMethod::Certificate)
    }

    /// Whoever bears the token. A user name beside it has to be the same.
    fn token_grant(&self, token: &[u8], asked: Option<&UserName>) -> Result<Grant, Refusal> {
        let claims = self.tokens.verify(token, self.shared.clock.now())?;
        if let Some(asked) = asked
            && (asked.namespace != claims.namespace || asked.name != claims.name)
        {
            return Err(Refusal::OtherName);
        }
        let Claims { namespace, name, role, acl, expires_at } = claims;
        let (identity, own) = self.identity_in(&namespace, name, role)?;
        let acls = own.into_iter().chain(acl).collect();
        Ok(Grant {
            namespace,
            identity,
            acls,
            is_by_credential: false,
            expires_at: Some(expires_at),
        })
    }

    /// Who somebody is that others vouch for, and the list of its credential if it has one. A device or an edge node
    /// has to be registered here; a name that is disabled here stays out.
    fn identity_in(
        &self,
        namespace: &Namespace,
        name: UserId,
        role: Role,
    ) -> Result<(Identity, Option<Vec<AclRule>>), Refusal> {
        let key = (namespace.clone(), name);
        let credential = self.row(&key).map_err(|error| Refusal::Store(error.to_string()))?;
        if credential.as_ref().is_some_and(|it| it.is_disabled) {
            return Err(Refusal::Disabled);
        }
        let (kind, acl) = credential.map(|it| (it.identity, it.acl)).unzip();
        let identity = match (role, kind) {
            (Role::Device, Some(CredentialIdentity::Thing(thing))) => Identity::Thing(thing),
            (Role::Edge, Some(CredentialIdentity::Edge(edge))) => Identity::Edge(edge),
            (Role::Device | Role::Edge, _) => return Err(Refusal::Unregistered),
            (role, _) => Identity::User { name: key.1, role },
        };
        Ok((identity, acl.flatten()))
    }

    /// Refuses who has failed too often.
    fn standing(&self, address: IpAddr, asked: Option<&UserName>) -> Result<Standing, Refusal> {
        let name = asked.map(|asked| (asked.namespace.clone(), asked.name.clone()));
        let now = self.shared.clock.now();
        match self.lockout.lock().standing(now, address, name.as_ref()) {
            Standing::Locked => Err(Refusal::LockedOut),
            standing => Ok(standing),
        }
    }

    /// Remembers how an attempt ended.
    fn note(&self, address: IpAddr, asked: Option<&UserName>, outcome: &Result<Grant, Refusal>) {
        let Err(refusal) = outcome else { return };
        if !refusal.is_guess() {
            return;
        }
        let known = asked.filter(|_| refusal.is_of_a_known_name());
        let name = known.map(|asked| (asked.namespace.clone(), asked.name.clone()));
        let now = self.shared.clock.now();
        match self.lockout.lock().failed(now, address, name.as_ref()) {
            Noted::Counted => {}
            Noted::Locked => {
                Counters::add(&self.shared.counters.lockouts, 1);
                let name = name.map(|(namespace, name)| format!("{namespace}/{name}"));
                tracing::warn!(%address, name, "locked out after repeated failures");
            }
            Noted::NoRoom => Counters::add(&self.shared.counters.lockouts_without_room, 1),
        }
    }

    /// The credential of a name in its namespace, or else among the operators of the whole system.
    fn find(&self, asked: &UserName) -> Result<Option<Credential>, ReadError> {
        let own = self.row(&(asked.namespace.clone(), asked.name.clone()))?;
        if own.is_some() {
            return Ok(own);
        }
        self.row(&(system_namespace(), asked.name.clone()))
    }

    fn row(&self, key: &(Namespace, UserId)) -> Result<Option<Credential>, ReadError> {
        self.shared.store.read()?.get::<Credential>(key)
    }
}

impl Grant {
    /// What a credential gives to whoever has proved to be `asked`.
    fn of(credential: &Credential, asked: &UserName) -> Result<Self, Refusal> {
        if credential.is_disabled {
            return Err(Refusal::Disabled);
        }
        Ok(Self {
            namespace: asked.namespace.clone(),
            identity: credential.identity(&asked.name),
            acls: credential.acl.iter().cloned().collect(),
            is_by_credential: true,
            expires_at: None,
        })
    }
}

/// The name that a client gives; an empty one is none.
fn asked(user_name: Option<&str>) -> Result<Option<UserName>, Refusal> {
    let given = user_name.filter(|name| !name.is_empty());
    given.map(UserName::parse).transpose().map_err(|_| Refusal::MalformedName)
}

fn anonymous_name() -> UserId {
    match UserId::parse("anonymous") {
        Ok(name) => name,
        Err(error) => unreachable!("a constant: {error}"),
    }
}
