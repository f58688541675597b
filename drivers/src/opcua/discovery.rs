//! Who is at an address, and how it can be connected to (FindServers and GetEndpoints, OPC 10000-4, 5.5.2 and 5.5.4).
//! Nothing of it is trusted, and nobody has to trust us.

use super::config::OpcUaConfig;
use super::endpoint::policy_of;
use super::link;
use super::trust::Trust;
use crate::open::Site;
use crate::port::{ConnectError, Discovered};
use opcua::types::{
    ApplicationDescription, ApplicationType, EndpointDescription, MessageSecurityMode, UAString,
    UserTokenType,
};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::timeout;

/// The most servers that a discovery server is believed to know.
const SERVERS_MAX: usize = 100;

/// The servers at the address of a configuration: the one that listens there, with its endpoints, and those that it
/// knows of.
pub(crate) async fn discover(
    config: &OpcUaConfig,
    site: &Site,
) -> Result<Vec<Discovered>, ConnectError> {
    let (client, endpoints) = link::endpoints(config, site).await?;
    let within = Duration::from_millis(config.timeout_ms.into());
    let known = timeout(within, client.find_servers(config.url.as_str(), None, None)).await;
    // A server need not know others.
    let mut known = known.ok().and_then(Result::ok).unwrap_or_default();
    known.truncate(SERVERS_MAX);
    let here = endpoints.first().map(|it| it.server.clone());
    let mut told: Vec<Discovered> = Vec::new();
    if let Some(here) = &here {
        let mut server = server_of(here);
        let endpoints = endpoints.iter().filter_map(|it| endpoint_of(config, site, it));
        server.insert("endpoints".to_owned(), Json::Array(endpoints.collect()));
        told.push(server);
    }
    let is_here = |it: &ApplicationDescription| {
        here.as_ref().is_some_and(|here| here.application_uri == it.application_uri)
    };
    told.extend(known.iter().filter(|it| !is_here(it)).map(server_of));
    Ok(told)
}

/// What a server says of itself.
fn server_of(server: &ApplicationDescription) -> Discovered {
    let is = match server.application_type {
        ApplicationType::DiscoveryServer => "discovery_server",
        ApplicationType::Client => "client",
        ApplicationType::Server | ApplicationType::ClientAndServer => "server",
    };
    let urls = server.discovery_urls.iter().flatten().map(UAString::as_ref).collect::<Vec<_>>();
    let mut told = Discovered::new();
    told.insert("name".to_owned(), json!(server.application_name.text.as_ref()));
    told.insert("application_uri".to_owned(), json!(server.application_uri.as_ref()));
    told.insert("product_uri".to_owned(), json!(server.product_uri.as_ref()));
    told.insert("is".to_owned(), json!(is));
    told.insert("urls".to_owned(), json!(urls));
    told
}

/// A way to connect, in the words of a configuration; `None` for one that no configuration can name.
fn endpoint_of(config: &OpcUaConfig, site: &Site, endpoint: &EndpointDescription) -> Option<Json> {
    let policy = policy_of(endpoint)?;
    let mode = match endpoint.security_mode {
        MessageSecurityMode::Sign => "sign",
        MessageSecurityMode::SignAndEncrypt => "sign_and_encrypt",
        MessageSecurityMode::None | MessageSecurityMode::Invalid => "none",
    };
    let users = endpoint.user_identity_tokens.iter().flatten().map(|it| match it.token_type {
        UserTokenType::Anonymous => "nobody",
        UserTokenType::UserName => "name",
        UserTokenType::Certificate => "certificate",
        UserTokenType::IssuedToken => "token",
    });
    let mut users: Vec<&str> = users.collect();
    users.sort_unstable();
    users.dedup();
    let mut told = json!({
        "url": endpoint.endpoint_url.as_ref(), "security_policy": policy, "security_mode": mode, "users": users,
    });
    if let Some(certificate) = certificate_of(config, site, endpoint) {
        told["certificate"] = certificate;
    }
    Some(told)
}

/// The certificate of a server, and whether it is trusted.
fn certificate_of(
    config: &OpcUaConfig,
    site: &Site,
    endpoint: &EndpointDescription,
) -> Option<Json> {
    let trust = Trust::of(config, endpoint, site.trust.clone()).ok()??;
    let certificate = &trust.certificate;
    Some(json!({
        "sha256": trust.fingerprint,
        "subject": certificate.subject_name(),
        "not_before": certificate.not_before().ok().map(|it| it.to_rfc3339()),
        "not_after": certificate.not_after().ok().map(|it| it.to_rfc3339()),
        "is_trusted": trust.holds(),
    }))
}
