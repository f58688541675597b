//! The duty to tell a machine that what it has pushed is kept.

use std::fmt;

/// Something that waits for what was pushed to be kept. Dropped without a word, it has not been: whoever pushed it may
/// do so again.
#[derive(Default)]
pub struct Receipt(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Receipt {
    /// One that calls `kept`.
    pub fn new(kept: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(kept)))
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// It is kept, durably.
    pub fn kept(self) {
        if let Some(kept) = self.0 {
            kept();
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Receipt(nobody)" } else { "Receipt(somebody)" })
    }
}
