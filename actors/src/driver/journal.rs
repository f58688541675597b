//! What is logged of a machine: that it answers, and that it is lost with the reason, once each. One that lets itself
//! be connected to and never answers fills no log.

/// What was logged last.
#[derive(Debug, Default)]
pub(super) struct Journal {
    is_heard: bool,
    lost: Option<String>,
}

impl Journal {
    /// It was read well.
    pub(super) fn heard(&mut self) {
        if self.is_news_heard() {
            tracing::info!("machine answers");
        }
    }

    /// Its connection is lost, or could not be made.
    pub(super) fn lost(&mut self, reason: Option<&str>) {
        let reason = reason.unwrap_or("the connection ended");
        if self.is_news_lost(reason) {
            tracing::warn!(reason, "machine lost");
        }
    }

    fn is_news_heard(&mut self) -> bool {
        self.lost = None;
        !std::mem::replace(&mut self.is_heard, true)
    }

    fn is_news_lost(&mut self, reason: &str) -> bool {
        self.is_heard = false;
        let is_news = self.lost.as_deref() != Some(reason);
        if is_news {
            self.lost = Some(reason.to_owned());
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_is_told_once() {
        let mut journal = Journal::default();
        assert!(journal.is_news_heard());
        assert!(!journal.is_news_heard());
        assert!(journal.is_news_lost("no answer"));
        assert!(!journal.is_news_lost("no answer"));
        assert!(journal.is_news_lost("refused"));
        assert!(journal.is_news_heard());
        assert!(journal.is_news_lost("refused"));
    }
}
