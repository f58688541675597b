//! Who a client is: a chain of ways to prove it, tried in the order of the configuration.
//!
//! Each way says one of three things: it is this client, with these permissions until then; it is refused; or what
//! was shown is not for this way. A client that no way takes for its own is refused. Failures are watched
//! ([`lockout`]), and what a slow hash guards is checked [`password::HASHES_AT_ONCE`] at a time, so that guessing
//! neither succeeds nor keeps devices out, whose secrets are checked with a keyed hash in microseconds.

mod certified;
mod config;
mod enhanced;
mod entitled;
mod expiry;
mod fetch;
mod hook;
mod lockout;
mod made_up;
mod notice;
mod own_token;
mod password;
mod refusal;
mod scram;
mod token;

pub use config::{AuthConfig, AuthMethod, HookConfig, JwtAlgorithm, JwtConfig, LockoutConfig};
pub(crate) use enhanced::{Answer, Dialogue};
pub(crate) use entitled::{Proof, Standing as NameStanding, TokenProof};
pub(crate) use expiry::Expiries;
pub(crate) use notice::{Notices, Stranger};
pub(crate) use refusal::Refusal;
pub use token::JWT_ISSUERS_MAX;

use crate::credential::{ApiToken, ApiTokenKey, Credential, CredentialIdentity, system_namespace};
use crate::figures::Counters;
use crate::peer::PeerAddress;
use crate::permissions::acl::{AclRule, AnyOf};
use crate::reload::Reloaded;
use crate::space::Shared;
use entitled::Entitled;
use hook::Hook;
use lockout::{Lockout, Noted, Standing};
use own_token::TokenKey;
use parking_lot::Mutex;
use password::Passwords;
use proto::{Identity, Namespace, Role, TimestampMs, UserId, UserName};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use store::{ReadError, Snapshot};
use token::{Claims, TokenError, TokenParts, Tokens};

/// Checks who clients are.
pub(crate) struct Authenticator {
    shared: Arc<Shared>,
    chain: Vec<AuthMethod>,
    passwords: Passwords,
    tokens: Tokens,
    /// Signs and checks API tokens.
    token_key: TokenKey,
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
    /// What it may do within its role: what all of these allow.
    pub(crate) lists: Vec<AnyOf>,
    /// By what it has proved who it is.
    pub(crate) proof: Proof,
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
        let token_key = TokenKey::read_or_make(&shared)?;
        Ok(Self {
            chain: config.chain.clone(),
            passwords: Passwords::default(),
            tokens,
            token_key,
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
            lists: anonymous.acl.clone().into_iter().map(|acl| vec![acl]).collect(),
            proof: Proof::Nothing,
            expires_at: None,
        })
    }

    /// The JWT of an API token.
    pub(crate) fn sign_token(&self, key: &ApiTokenKey, row: &ApiToken) -> String {
        self.token_key.sign(key, row)
    }

    fn by_token(&self, shown: Presented<'_>, asked: Option<&UserName>) -> Verdict {
        let token = shown.password.filter(|it| token::is_token(it));
        let Some(token) = token else { return Verdict::NotMine(Refusal::NoPassword) };
        // Without issuers only what this node has signed is a token; all else may be a password.
        let is_own = || TokenParts::parse(token).is_ok_and(|token| self.token_key.is_of(&token));
        if self.tokens.is_empty() && !is_own() {
            return Verdict::NotMine(Refusal::NoPassword);
        }
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
        let snapshot = self.snapshot()?;
        let key = (certified.namespace.clone(), certified.name.clone());
        let credential = snapshot.get::<Credential>(&key)?;
        let why = "nobody is registered under the certificate's name";
        let credential = credential.ok_or(Refusal::Certificate(why))?;
        self.grant(&Found { home: certified.namespace.clone(), credential }, &certified)
    }

    /// Whether a certificate is one of the ways in.
    pub(crate) fn takes_certificates(&self) -> bool {
        self.chain.contains(&AuthMethod::Certificate)
    }

    /// Whoever bears the token. A user name beside it has to be the same.
    fn token_grant(&self, token: &[u8], asked: Option<&UserName>) -> Result<Grant, Refusal> {
        let token = TokenParts::parse(token)?;
        if self.token_key.is_of(&token) {
            return self.api_token_grant(&token, asked);
        }
        let claims = self.tokens.verify(&token, self.shared.clock.now())?;
        if let Some(asked) = asked
            && (asked.namespace != claims.namespace || asked.name != claims.name)
        {
            return Err(Refusal::OtherName);
        }
        let Claims { namespace, name, role, acl, expires_at } = claims;
        let (identity, own) = self.identity_in(&namespace, name, role)?;
        let lists = own.into_iter().chain(acl.map(|list| vec![list])).collect();
        let expires_at = Some(expires_at);
        Ok(Grant { namespace, identity, lists, proof: Proof::Elsewhere, expires_at })
    }

    /// Whoever bears an API token. One of an operator of the whole system opens every namespace, as its password does.
    fn api_token_grant(
        &self,
        token: &TokenParts<'_>,
        asked: Option<&UserName>,
    ) -> Result<Grant, Refusal> {
        let now = self.shared.clock.now();
        let (key, serial) = self.token_key.verify(token, now)?;
        let snapshot = self.snapshot()?;
        let row = snapshot.get::<ApiToken>(&key)?.filter(|row| row.serial == serial);
        let row = row.ok_or(TokenError::Revoked)?;
        if now >= row.expires {
            return Err(TokenError::Expired.into());
        }
        let (home, name, token) = key;
        let credential = snapshot.get::<Credential>(&(home.clone(), name.clone()))?;
        let credential = credential.ok_or(TokenError::Revoked)?;
        let at = match asked {
            None => home.clone(),
            Some(asked) if asked.name != name => return Err(Refusal::OtherName),
            Some(asked) if asked.namespace == home => home.clone(),
            Some(asked) if home == system_namespace() => {
                let own = (asked.namespace.clone(), name.clone());
                match snapshot.contains::<Credential>(&own)? {
                    true => return Err(Refusal::OtherName),
                    false => asked.namespace.clone(),
                }
            }
            Some(_) => return Err(Refusal::OtherName),
        };
        let entitled = Entitled::read(&snapshot, &home, &name, &credential)?;
        if entitled.is_disabled || row.is_disabled {
            return Err(Refusal::Disabled);
        }
        Ok(Grant {
            namespace: at,
            lists: entitled.lists(Some(&row)),
            identity: entitled.identity,
            proof: Proof::Token(Arc::new(TokenProof { token, serial })),
            expires_at: Some(row.expires),
        })
    }

    /// Who somebody is that others vouch for, and the lists of its credential if it has one. A device or an edge node
    /// has to be registered here; a name that is disabled here stays out.
    fn identity_in(
        &self,
        namespace: &Namespace,
        name: UserId,
        role: Role,
    ) -> Result<(Identity, Vec<AnyOf>), Refusal> {
        let key = (namespace.clone(), name);
        let snapshot = self.snapshot()?;
        let credential = snapshot.get::<Credential>(&key)?;
        if credential.as_ref().is_some_and(|it| it.is_disabled) {
            return Err(Refusal::Disabled);
        }
        let lists = match &credential {
            Some(it) => Entitled::read(&snapshot, namespace, &key.1, it)?.lists(None),
            None => Vec::new(),
        };
        let kind = credential.map(|it| it.identity);
        let identity = match (role, kind) {
            (Role::Device, Some(CredentialIdentity::Thing(thing))) => Identity::Thing(thing),
            (Role::Edge, Some(CredentialIdentity::Edge(edge))) => Identity::Edge(edge),
            (Role::Device | Role::Edge, _) => return Err(Refusal::Unregistered),
            (role, _) => Identity::User { name: key.1, role },
        };
        Ok((identity, lists))
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
    fn find(&self, asked: &UserName) -> Result<Option<Found>, Refusal> {
        let snapshot = self.snapshot()?;
        for home in [asked.namespace.clone(), system_namespace()] {
            let found = snapshot.get::<Credential>(&(home.clone(), asked.name.clone()))?;
            if let Some(credential) = found {
                return Ok(Some(Found { home, credential }));
            }
        }
        Ok(None)
    }

    /// What a credential gives to whoever has proved to be `asked`.
    fn grant(&self, found: &Found, asked: &UserName) -> Result<Grant, Refusal> {
        let Found { home, credential } = found;
        if credential.is_disabled {
            return Err(Refusal::Disabled);
        }
        let entitled = Entitled::read(&self.snapshot()?, home, &asked.name, credential)?;
        Ok(Grant {
            namespace: asked.namespace.clone(),
            lists: entitled.lists(None),
            identity: entitled.identity,
            proof: Proof::Credential,
            expires_at: None,
        })
    }

    fn snapshot(&self) -> Result<Snapshot, Refusal> {
        Ok(self.shared.store.read()?)
    }
}

/// A credential, and the namespace in which it is kept.
struct Found {
    home: Namespace,
    credential: Credential,
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Store(error.to_string())
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
