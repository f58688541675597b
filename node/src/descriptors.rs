//! The limit of open file descriptors: every connection takes one, and the usual limit is 1,024.
//!
//! The soft limit exists for programs that use `select`; a server raises it to the hard limit,
//! which is the administrator's. If even that is below `limits.connections_max`, the log says so.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are no client's: store, listeners, log, HTTP, drivers.
const RESERVE: u64 = 256;

/// Raises the limit as far as allowed, for so many connections.
pub(crate) fn raise_limit(connections_max: usize) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let limit = match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            current
        }
    };
    let needed = connections_max as u64 + RESERVE;
    // No limit at all is told as none.
    if let Some(limit) = limit.filter(|limit| *limit < needed) {
        tracing::warn!(limit, needed, "fewer open files are allowed than limits.connections_max");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_reaches_the_hard_limit() {
        raise_limit(1);
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
