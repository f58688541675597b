//! The limits of `[security]`, chain, tokens, hook and lock-out apart from the files that they name.

use super::super::Problems;
use super::SecurityConfig;
use broker::{AuthMethod, HookConfig, JWT_ISSUERS_MAX, JwtConfig, LockoutConfig};

const DAY_SECS: u64 = 86_400;

/// Finds every value outside its limits.
pub(super) fn check(security: &SecurityConfig, problems: &mut Problems) {
    chain(security, problems);
    lockout(&security.lockout, problems);
    if security.jwt.len() > JWT_ISSUERS_MAX {
        problems.add("security.jwt", format_args!("more than {JWT_ISSUERS_MAX} issuers"));
    }
    for issuer in &security.jwt {
        jwt(issuer, problems);
    }
    if let Some(hook) = &security.http {
        http(hook, problems);
    }
}

fn chain(security: &SecurityConfig, problems: &mut Problems) {
    let key = "security.chain";
    if security.chain.is_empty() {
        problems.add(key, "nobody could come in");
    }
    let is_twice = |(at, method): (usize, &AuthMethod)| security.chain[..at].contains(method);
    if security.chain.iter().enumerate().any(is_twice) {
        problems.add(key, "a way in stands there twice");
    }
    let lacks = |method| !security.chain.contains(&method);
    if lacks(AuthMethod::Jwt) && !security.jwt.is_empty() {
        problems.add("security.jwt", "\"jwt\" is not in security.chain");
    }
    let is_only_asked_who = security.http.as_ref().is_some_and(|hook| !hook.authorise);
    if lacks(AuthMethod::Http) && is_only_asked_who {
        problems.add("security.http", "\"http\" is not in security.chain");
    }
}

fn lockout(it: &LockoutConfig, problems: &mut Problems) {
    let mut within = |key: &str, value: u64, allowed| {
        problems.within(&format!("security.lockout.{key}"), value, allowed);
    };
    within("failures_max", it.failures_max.into(), 0..=1_000_000);
    within("spread_failures_max", it.spread_failures_max.into(), 1..=1_000_000);
    within("window_secs", it.window_secs, 1..=DAY_SECS);
    within("first_secs", it.first_secs, 1..=DAY_SECS);
    within("longest_secs", it.longest_secs, 1..=7 * DAY_SECS);
    within("watched_max", it.watched_max as u64, 16..=10_000_000);
}

fn jwt(it: &JwtConfig, problems: &mut Problems) {
    let files = [&it.public_key_file, &it.secret_file, &it.jwks_file];
    let sources =
        files.iter().filter(|it| it.is_some()).count() + usize::from(it.jwks_url.is_some());
    if sources != 1 {
        let sources = "public_key_file, secret_file, jwks_file, jwks_url";
        problems.add("security.jwt", format_args!("exactly one of {sources} is needed"));
    }
    if it.algorithms.is_empty() {
        problems.add("security.jwt.algorithms", "no token could be taken");
    }
    if it.name_claim.is_empty() {
        problems.add("security.jwt.name_claim", "a token has to name its bearer");
    }
    if it.namespace.tenant.as_str() == "system" {
        problems.add("security.jwt.namespace", "the tenant `system` takes no tokens");
    }
    problems.within("security.jwt.leeway_secs", it.leeway_secs, 0..=600);
    problems.within("security.jwt.refresh_secs", it.refresh_secs, 5..=DAY_SECS);
    problems.within("security.jwt.keys_max_age_secs", it.keys_max_age_secs, 60..=30 * DAY_SECS);
}

fn http(it: &HookConfig, problems: &mut Problems) {
    let uri = it.url.parse::<axum::http::Uri>();
    let is_good = uri.is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !is_good {
        let url = &it.url;
        problems.add(
            "security.http.url",
            format_args!("`{url}` is not a URL such as https://host/path"),
        );
    }
    let mut within = |key: &str, value: u64, allowed| {
        problems.within(&format!("security.http.{key}"), value, allowed);
    };
    within("timeout_ms", it.timeout_ms, 10..=60_000);
    within("requests_max", it.requests_max as u64, 1..=1024);
    within("allow_ttl_secs", it.allow_ttl_secs, 0..=DAY_SECS);
    within("deny_ttl_secs", it.deny_ttl_secs, 0..=DAY_SECS);
    within("answers_max", it.answers_max as u64, 0..=1_000_000);
}
