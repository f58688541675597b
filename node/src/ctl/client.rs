//! A call of the command line: where the node is, who asks, and what a failure means to an operator.
//!
//! Everything together has one deadline. A node that cannot be reached, or does not answer in time, is told apart
//! from one that refuses.

use super::tls::Tls;
use super::url::NodeUrl;
use crate::call::{Call, Login, Lost, Request};
use crate::outcome::Failure;
use proto::Refusal;
use proto::admin::Reply;
use rumqttc::{ConnectReturnCode, PubAckReason};
use serde_json::Value;
use std::time::Duration;

/// Connection, request and answer together.
const DEADLINE: Duration = Duration::from_secs(10);

/// What the command line says of the caller: nothing at all, or a user (`admin` unless named) and its secret.
pub(crate) fn login(user: Option<&str>, secret: Option<&str>) -> Login {
    if user.is_none() && secret.is_none() {
        return Login::Nobody;
    }
    let secret = secret.unwrap_or_default().to_owned();
    Login::User(user.unwrap_or("admin").to_owned(), secret.into())
}

/// The outcome of a call that reached the node.
pub(crate) type Answer = Result<Value, Refusal>;

/// Sends a request and waits for its answer.
pub(crate) async fn call(
    url: &NodeUrl,
    tls: Option<Tls>,
    login: Login,
    request: &Request,
) -> Result<Answer, Failure> {
    let mut line = Line::open(url, tls, login).map_err(|lost| told(&lost, url))?;
    let answer = line.ask(request).await?;
    line.close().await;
    Ok(answer)
}

/// A connection for several requests, one after the other; made with the first.
pub(crate) struct Line<'a> {
    url: &'a NodeUrl,
    call: Call,
}

impl<'a> Line<'a> {
    /// One that has not connected yet.
    pub(crate) fn open(url: &'a NodeUrl, tls: Option<Tls>, login: Login) -> Result<Self, Lost> {
        let call = Call::new("ctl", (&url.host, url.port), login, |options| {
            options.set_connect_timeout(DEADLINE);
            let Some(Tls { connector, name }) = tls else { return };
            options.set_socket_connector(move |host, network| {
                let (connector, name) = (connector.clone(), name.clone());
                async move {
                    let socket = rumqttc::default_socket_connect(host, network).await?;
                    connector.connect(name, socket).await
                }
            });
        })?;
        Ok(Self { url, call })
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        match tokio::time::timeout(DEADLINE, self.call.ask(request)).await {
            Ok(Ok(payload)) => read_answer(&payload),
            Ok(Err(lost)) => Err(told(&lost, self.url)),
            Err(_) => {
                let message =
                    format!("no answer from {} within {} s", self.url, DEADLINE.as_secs());
                Err(Failure::Unreachable(message))
            }
        }
    }

    /// Says farewell.
    pub(crate) async fn close(mut self) {
        self.call.leave().await;
    }
}

pub(super) fn told(lost: &Lost, url: &NodeUrl) -> Failure {
    match lost {
        Lost::Refused(
            ConnectReturnCode::BadUserNamePassword
            | ConnectReturnCode::NotAuthorized
            | ConnectReturnCode::Banned,
        ) => Failure::failed(format_args!(
            "unauthorized: {url} refused the credentials; give --user and --secret, or \
             MANIFOLD_USER and MANIFOLD_SECRET"
        )),
        Lost::Refused(code) => {
            Failure::failed(format_args!("{url} refused the connection: {code:?}"))
        }
        Lost::NoReply(code) => {
            Failure::failed(format_args!("forbidden: the node refused the reply topic ({code:?})"))
        }
        Lost::NotTaken(PubAckReason::NotAuthorized, _) => {
            Failure::failed("forbidden: this user may not call the admin API")
        }
        Lost::NotTaken(PubAckReason::NoMatchingSubscribers, _) => {
            Failure::failed("unavailable: the node does not serve the admin API here")
        }
        Lost::NotTaken(reason, _) => {
            Failure::failed(format_args!("the node refused the request: {reason:?}"))
        }
        Lost::Ended(reason) => {
            Failure::failed(format_args!("{url} ended the connection: {reason:?}"))
        }
        Lost::TooLarge => Failure::failed("too_large: the request is larger than the node takes"),
        Lost::Unreachable(why) => Failure::Unreachable(format!("cannot reach {url}: {why}")),
        Lost::Fault(why) => Failure::failed(why),
    }
}

fn read_answer(payload: &[u8]) -> Result<Answer, Failure> {
    serde_json::from_slice::<Reply>(payload)
        .map(Reply::into_outcome)
        .map_err(|error| Failure::failed(format_args!("the answer is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_alone_is_that_of_admin() {
        assert_eq!(login(None, None), Login::Nobody);
        assert_eq!(login(None, Some("s")), Login::User("admin".to_owned(), "s".into()));
        assert_eq!(login(Some("u"), None), Login::User("u".to_owned(), "".into()));
    }

    #[test]
    fn answers_are_told_apart() {
        assert!(read_answer(br#"{"ok":true,"data":[1]}"#).unwrap().is_ok());
        let refused = br#"{"ok":false,"error":{"code":"not_found","message":"m"}}"#;
        assert!(read_answer(refused).unwrap().is_err());
        assert_eq!(read_answer(b"hello").unwrap_err().code(), 1);
    }

    #[tokio::test]
    async fn a_port_where_nobody_listens_is_unreachable() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let url = NodeUrl { host: "127.0.0.1".to_owned(), port, is_tls: false };
        let request = Request::new("things", "list", "{}").unwrap();
        let failure = call(&url, None, Login::Nobody, &request).await.unwrap_err();
        assert_eq!(failure.code(), 3, "{}", failure.reason());
    }
}
