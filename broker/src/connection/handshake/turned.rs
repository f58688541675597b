//! How a client that is not let in is told so.

use super::{Socket, Turned};
use crate::codec;
use crate::denial::{Denial, Limit};
use crate::packet::{ConnAck, Manner, Reply};
use crate::reason::Reason;
use crate::space::Space;
use bytes::BytesMut;
use tokio::io::AsyncWriteExt;

/// Why there is no session for a client.
pub(super) fn not_opened(reason: Reason, space: &Space) -> Turned {
    match reason {
        Reason::QuotaExceeded => {
            let max = space.quota().limits().sessions_max;
            Denial::full(reason, Limit::NamespaceSessions, max).into()
        }
        Reason::ClientIdNotValid => Turned::new(reason, "the client id is not for this client"),
        _ => Turned::new(reason, "the session is held by a connection that does not end"),
    }
}

/// Writes the refusal and closes. A client whose version is unknown is just closed, and so is one before MQTT 5.0
/// whose refusal has no return code.
pub(super) async fn refuse<S: Socket>(socket: &mut S, manner: Option<Manner>, turned: &Turned) {
    let (Some(manner), Turned::Refused { reason, why, .. } | Turned::Unproved { reason, why }) =
        (manner, turned)
    else {
        return;
    };
    let conn_ack = ConnAck {
        outcome: Err(Denial::new(*reason, why.clone())),
        session_present: false,
        assigned_client_id: None,
        session_expiry_secs: None,
        server_keep_alive_secs: None,
        receive_max: 0,
        topic_alias_max: 0,
        packet_bytes_max: 0,
        response_info: None,
        auth: None,
    };
    let mut out = BytesMut::new();
    codec::encode(manner, &Reply::ConnAck(Box::new(conn_ack)), &mut out);
    if out.len() > manner.packet_bytes_max as usize {
        out.clear();
    }
    // The client may be gone already; there is nobody else to tell.
    let _ = socket.write_all(&out).await;
    let _ = socket.shutdown().await;
}
