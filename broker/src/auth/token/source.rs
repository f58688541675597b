//! Where the keys of an issuer come from, and when they are looked at again.
//!
//! Files are read at start, where a fault is an error, and again when they have changed, where a fault leaves the
//! keys as they were. What is behind a URL is fetched in the background, again every `refresh_secs`, and sooner when
//! a token names a key that is not there, though not more often than every [`PAUSE`]. Keys that could not be fetched
//! again are taken for `keys_max_age_secs`.

use super::keys::{KeyError, KeySet};
use crate::auth::config::JwtConfig;
use crate::auth::fetch::{FetchError, Fetcher};
use crate::reload::ReloadOutcome;
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The least time between two looks.
const PAUSE: Duration = Duration::from_secs(5);

/// How long a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest file or answer that is read.
const KEYS_BYTES_MAX: usize = 1024 * 1024;

/// Keys that cannot be had.
#[derive(Debug, thiserror::Error)]
pub(in crate::auth) enum SourceError {
    /// None, or more than one, of the sources is configured.
    #[error(
        "an issuer of tokens needs exactly one of public_key_file, secret_file, jwks_file, jwks_url"
    )]
    Ambiguous,
    /// A file is not there or not readable.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// A file has no keys that can be used.
    #[error("{} is refused: {reason}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The URL or what is needed to fetch it.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

/// The keys of one issuer.
pub(super) struct KeySource {
    place: Place,
    current: RwLock<Option<Current>>,
    max_age: Option<Duration>,
    again: Arc<Notify>,
}

struct Current {
    keys: Arc<KeySet>,
    since: Instant,
}

#[derive(Clone)]
enum Place {
    Pem(PathBuf),
    Secret(PathBuf),
    Jwks(PathBuf),
    Url(Arc<Fetcher>),
}

impl KeySource {
    /// Must run inside a tokio runtime.
    pub(super) fn open(config: &JwtConfig) -> Result<Arc<Self>, SourceError> {
        let place = Place::of(config)?;
        let is_url = matches!(place, Place::Url(_));
        let source = Arc::new(Self {
            place: place.clone(),
            current: RwLock::new(None),
            max_age: is_url.then(|| Duration::from_secs(config.keys_max_age_secs)),
            again: Arc::default(),
        });
        let period = Duration::from_secs(config.refresh_secs);
        if let Place::Url(fetcher) = place {
            tokio::spawn(fetch_again(Arc::downgrade(&source), fetcher, period));
        } else {
            let seen = changed(&place);
            source.set(place.read()?);
            tokio::spawn(read_again(Arc::downgrade(&source), place, seen));
        }
        Ok(source)
    }

    /// The keys, unless they are too old to be believed.
    pub(super) fn keys(&self) -> Option<Arc<KeySet>> {
        let current = self.current.read();
        let current = current.as_ref()?;
        let is_stale = self.max_age.is_some_and(|max_age| current.since.elapsed() > max_age);
        (!is_stale).then(|| Arc::clone(&current.keys))
    }

    /// Reads a file again, or has a URL asked again; says where they are. Keys that cannot be used change nothing.
    pub(super) fn reload(&self) -> (String, Result<ReloadOutcome, SourceError>) {
        let Some(path) = self.place.path() else {
            self.ask_again();
            let Place::Url(fetcher) = &self.place else {
                return (String::new(), Err(SourceError::Ambiguous));
            };
            return (fetcher.url().to_owned(), Ok(ReloadOutcome::Asked));
        };
        let read = self.place.read().map(|keys| {
            self.set(keys);
            ReloadOutcome::Reloaded
        });
        (path.display().to_string(), read)
    }

    /// Has the keys looked at soon.
    pub(super) fn ask_again(&self) {
        self.again.notify_one();
    }

    /// Resolves when somebody has asked for a look.
    fn asked(&self) -> impl Future<Output = ()> + Send + use<> {
        let again = Arc::clone(&self.again);
        async move { again.notified().await }
    }

    fn set(&self, keys: KeySet) {
        *self.current.write() = Some(Current { keys: Arc::new(keys), since: Instant::now() });
    }
}

impl Place {
    fn of(config: &JwtConfig) -> Result<Self, SourceError> {
        match (&config.public_key_file, &config.secret_file, &config.jwks_file, &config.jwks_url) {
            (Some(path), None, None, None) => Ok(Self::Pem(path.clone())),
            (None, Some(path), None, None) => Ok(Self::Secret(path.clone())),
            (None, None, Some(path), None) => Ok(Self::Jwks(path.clone())),
            (None, None, None, Some(url)) => {
                let fetcher = Fetcher::new(url, config.ca_file.as_deref(), FETCH_TIMEOUT)?;
                Ok(Self::Url(Arc::new(fetcher.taking(KEYS_BYTES_MAX))))
            }
            _ => Err(SourceError::Ambiguous),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::Pem(path) | Self::Secret(path) | Self::Jwks(path) => Some(path),
            Self::Url(_) => None,
        }
    }

    /// The keys in a file. Short and rare enough not to need a thread of its own.
    fn read(&self) -> Result<KeySet, SourceError> {
        let Some(path) = self.path() else { return Err(SourceError::Ambiguous) };
        let read = std::fs::read(path);
        let bytes = read.map_err(|error| SourceError::Read { path: path.to_owned(), error })?;
        let keys = match self {
            Self::Pem(_) => KeySet::from_pem(&String::from_utf8_lossy(&bytes)),
            Self::Secret(_) => KeySet::from_secret(&bytes),
            Self::Jwks(_) | Self::Url(_) => KeySet::from_jwks(&bytes, true),
        };
        let refused = |error: KeyError| SourceError::Keys {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        keys.map_err(refused)
    }
}

/// When a file was written last, and its length; `None` if it is not there.
fn changed(place: &Place) -> Option<(SystemTime, u64)> {
    let metadata = std::fs::metadata(place.path()?).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Reads a file whenever it has changed, for as long as anybody needs its keys.
async fn read_again(source: Weak<KeySource>, place: Place, mut seen: Option<(SystemTime, u64)>) {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(source) = source.upgrade() else { return };
        let now = changed(&place);
        if now == seen {
            continue;
        }
        match place.read() {
            Ok(keys) => {
                tracing::info!(file = ?place.path(), "the keys of tokens have been read again");
                source.set(keys);
            }
            Err(error) => tracing::warn!(%error, "the keys of tokens stay as they were"),
        }
        seen = now;
    }
}

/// Fetches a URL at once, then periodically and when asked, for as long as anybody needs its keys.
async fn fetch_again(source: Weak<KeySource>, fetcher: Arc<Fetcher>, period: Duration) {
    loop {
        let fetched = fetcher.get().await;
        let Some(source) = source.upgrade() else { return };
        let keys = fetched.map_err(|error| error.to_string()).and_then(|body| {
            // A secret that anybody can fetch is none.
            KeySet::from_jwks(&body, false).map_err(|error| error.to_string())
        });
        let pause = match keys {
            Ok(keys) => {
                tracing::debug!(url = fetcher.url(), "the keys of tokens have been fetched");
                source.set(keys);
                period
            }
            Err(error) => {
                tracing::warn!(url = fetcher.url(), error, "cannot fetch the keys of tokens");
                PAUSE
            }
        };
        let asked = source.asked();
        drop(source);
        tokio::time::sleep(PAUSE.min(pause)).await;
        let _ = tokio::time::timeout(pause.saturating_sub(PAUSE), asked).await;
    }
}
