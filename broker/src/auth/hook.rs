//! An HTTP service that says who clients are, or what those that others have let in may do.
//!
//! A POST of [`Question`] is answered with [`Reply`]. Without an answer in time nobody comes in. Questions at a time
//! are bounded, and so are the answers that are remembered: for as long as they say, under a keyed hash of everything
//! that was asked, so that no password is kept. At the bound a new answer is not remembered.

use super::config::HookConfig;
use super::fetch::{FetchError, Fetcher};
use super::{Authenticator, Grant, Presented, Proof, Refusal, Verdict};
use crate::credential::scram_keys::code;
use crate::figures::Counters;
use crate::permissions::acl::AclRule;
use crate::space::Shared;
use hashbrown::HashMap;
use parking_lot::Mutex;
use proto::{Identity, Namespace, Role, TimestampMs, UserId, UserName};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The longest time that an answer may let a client stay, in seconds: ten years.
const EXPIRES_IN_MAX: u64 = 10 * 365 * 24 * 3600;

/// Why the hook cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum HookError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error("cannot read {0}: {1}")]
    Token(String, std::io::Error),
}

/// See the module.
pub(super) struct Hook {
    config: HookConfig,
    fetcher: Fetcher,
    slots: Semaphore,
    key: [u8; 32],
    answers: Mutex<Answers>,
}

#[derive(Default)]
struct Answers {
    by_question: HashMap<[u8; 32], (Reply, TimestampMs)>,
    /// When the old ones were sought out last.
    swept: TimestampMs,
}

/// What is asked.
#[derive(Debug, Serialize)]
struct Question<'a> {
    /// `authenticate`: who is it? `authorise`: it is `identity`; what may it do?
    action: &'static str,
    client_id: &'a str,
    user_name: Option<&'a str>,
    /// Only to authenticate.
    password: Option<&'a str>,
    address: std::net::IpAddr,
    namespace: Option<String>,
    identity: Option<&'a Identity>,
}

/// What is answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reply {
    result: Outcome,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<UserId>,
    #[serde(default)]
    role: Option<Role>,
    #[serde(default)]
    acl: Option<Vec<AclRule>>,
    /// Seconds.
    #[serde(default)]
    expires_in: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Allow,
    Deny,
    /// As if it had not been asked.
    Ignore,
}

impl Hook {
    pub(super) fn open(config: &HookConfig, shared: &Shared) -> Result<Self, HookError> {
        let read = |path: &std::path::PathBuf| {
            std::fs::read_to_string(path)
                .map(|text| text.trim().to_owned())
                .map_err(|error| HookError::Token(path.display().to_string(), error))
        };
        let bearer = config.token_file.as_ref().map(read).transpose()?;
        let timeout = Duration::from_millis(config.timeout_ms);
        let fetcher = Fetcher::new(&config.url, config.ca_file.as_deref(), timeout)?;
        let mut key = [0; 32];
        shared.entropy.fill(&mut key);
        Ok(Self {
            config: config.clone(),
            fetcher: fetcher.bearing(bearer),
            slots: Semaphore::new(config.requests_max),
            key,
            answers: Mutex::default(),
        })
    }

    /// Whether clients that others have let in are asked about.
    pub(super) fn authorises(&self) -> bool {
        self.config.authorise
    }

    async fn ask(&self, question: &Question<'_>, shared: &Shared) -> Result<Reply, Refusal> {
        let body = serde_json::to_vec(question).map_err(|it| Refusal::NoAnswer(it.to_string()))?;
        let key = code(&self.key, &[&body]);
        let now = shared.clock.now();
        let known = self.answers.lock().by_question.get(&key).cloned();
        if let Some((reply, _)) = known.filter(|(_, until)| *until > now) {
            Counters::add(&shared.counters.hook_remembered, 1);
            return Ok(reply);
        }
        Counters::add(&shared.counters.hook_requests, 1);
        let asked = async {
            let _slot = self.slots.acquire().await.map_err(|_| "it is closed".to_owned())?;
            self.fetcher.post(body.into()).await.map_err(|error| error.to_string())
        };
        let timeout = Duration::from_millis(self.config.timeout_ms);
        let answered = tokio::time::timeout(timeout, asked).await;
        let body = answered.unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
        let reply = body.and_then(|body| {
            serde_json::from_slice::<Reply>(&body).map_err(|error| error.to_string())
        });
        let reply = reply.map_err(|error| {
            Counters::add(&shared.counters.hook_failures, 1);
            Refusal::NoAnswer(error)
        })?;
        self.remember(key, &reply, now);
        Ok(reply)
    }

    fn remember(&self, key: [u8; 32], reply: &Reply, now: TimestampMs) {
        let ttl_secs = match reply.result {
            Outcome::Allow => self.config.allow_ttl_secs.min(reply.expires_in.unwrap_or(u64::MAX)),
            Outcome::Deny | Outcome::Ignore => self.config.deny_ttl_secs,
        };
        let mut answers = self.answers.lock();
        if answers.by_question.len() >= self.config.answers_max && now.0 >= answers.swept.0 + 1000 {
            answers.by_question.retain(|_, (_, until)| *until > now);
            answers.swept = now;
        }
        if ttl_secs > 0 && answers.by_question.len() < self.config.answers_max {
            let until = TimestampMs(now.0 + ttl_secs * 1000);
            answers.by_question.insert(key, (reply.clone(), until));
        }
    }
}

impl Authenticator {
    /// Asks who a client is.
    pub(super) async fn by_hook(
        &self,
        hook: &Hook,
        shown: Presented<'_>,
        asked: Option<&UserName>,
    ) -> Verdict {
        let Ok(password) = shown.password.map(std::str::from_utf8).transpose() else {
            return Verdict::NotMine(Refusal::NoPassword);
        };
        let question = Question {
            action: "authenticate",
            client_id: shown.client_id,
            user_name: shown.user_name,
            password,
            address: shown.place(),
            namespace: None,
            identity: None,
        };
        let reply = match hook.ask(&question, &self.shared).await {
            Ok(reply) => reply,
            Err(refusal) => return Verdict::Refuse(refusal),
        };
        match reply.result {
            Outcome::Ignore => return Verdict::NotMine(Refusal::UnknownName),
            Outcome::Deny => return Verdict::Refuse(Refusal::Denied),
            Outcome::Allow => {}
        }
        match self.hook_grant(hook, reply, asked) {
            Ok(grant) => Verdict::Accept(grant),
            Err(refusal) => Verdict::Refuse(refusal),
        }
    }

    /// Whoever the answer names, or else the user name.
    fn hook_grant(
        &self,
        hook: &Hook,
        reply: Reply,
        asked: Option<&UserName>,
    ) -> Result<Grant, Refusal> {
        let namespace = match &reply.namespace {
            Some(text) => Namespace::parse(text).map_err(|_| Refusal::Namespace)?,
            None => asked.map(|asked| asked.namespace.clone()).unwrap_or_default(),
        };
        // The operators of the whole system are in no other service's hands.
        if namespace.tenant.as_str() == "system" {
            return Err(Refusal::Namespace);
        }
        let name = reply.name.or_else(|| asked.map(|asked| asked.name.clone()));
        let name = name.ok_or(Refusal::NoName)?;
        let role = reply.role.unwrap_or(Role::User);
        if !hook.config.roles.contains(&role) {
            return Err(Refusal::Denied);
        }
        let (identity, own) = self.identity_in(&namespace, name, role)?;
        Ok(Grant {
            namespace,
            identity,
            lists: own.into_iter().chain(reply.acl.map(|list| vec![list])).collect(),
            expires_at: reply.expires_in.map(|secs| self.after(secs)),
            proof: Proof::Elsewhere,
        })
    }

    /// Asks what a client that another way has let in may do.
    pub(crate) async fn authorise(
        &self,
        mut grant: Grant,
        shown: Presented<'_>,
    ) -> Result<Grant, Refusal> {
        let Some(hook) = self.hook.as_ref().filter(|hook| hook.authorises()) else {
            return Ok(grant);
        };
        let question = Question {
            action: "authorise",
            client_id: shown.client_id,
            user_name: shown.user_name,
            password: None,
            address: shown.place(),
            namespace: Some(grant.namespace.to_string()),
            identity: Some(&grant.identity),
        };
        let reply = hook.ask(&question, &self.shared).await?;
        match reply.result {
            Outcome::Deny => return Err(Refusal::Denied),
            Outcome::Ignore => return Ok(grant),
            Outcome::Allow => {}
        }
        grant.lists.extend(reply.acl.map(|list| vec![list]));
        if let Some(secs) = reply.expires_in {
            let at = self.after(secs);
            grant.expires_at = Some(grant.expires_at.map_or(at, |earlier| earlier.min(at)));
        }
        // What the credential says is no longer all that counts.
        grant.proof = Proof::Elsewhere;
        Ok(grant)
    }

    fn after(&self, secs: u64) -> TimestampMs {
        TimestampMs(self.shared.clock.now().0 + secs.min(EXPIRES_IN_MAX) * 1000)
    }
}
