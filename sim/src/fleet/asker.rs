//! A connection that asks, as its pace and its window allow, and matches what comes with what it has asked.

use std::collections::HashSet;
use std::rc::Rc;

use anyhow::{Context as _, Result};
use tokio::time::Instant;

use super::account::{Account, PATIENCE};
use super::line::Line;
use super::scene::{Answers, Part};
use crate::load::connection::Endpoint;
use crate::load::pace::Pace;

/// See the module.
pub(super) struct Asker {
    line: Line,
    part: Part,
    account: Rc<Account>,
    pace: Pace,
    /// The stamps of what is not answered.
    open: HashSet<u64>,
    /// Without answers here: how many are not acknowledged.
    unacknowledged: u64,
    last_stamp: u64,
    asked: usize,
}

impl Asker {
    pub(super) async fn open(
        endpoint: &Endpoint,
        part: Part,
        account: Rc<Account>,
    ) -> Result<Self> {
        let line = Line::open(endpoint, &part.client_id, &part.filters).await?;
        let pace = Pace::new(part.rate, part.place.1, part.place.0);
        Ok(Self {
            line,
            part,
            account,
            pace,
            open: HashSet::new(),
            unacknowledged: 0,
            last_stamp: 0,
            asked: 0,
        })
    }

    /// Asks until the time is over, then waits for the last answers.
    pub(super) async fn run(mut self) -> Result<()> {
        self.pace.restart(self.account.now_ns());
        let end_ns = self.account.end_ns();
        let give_up_ns = end_ns + PATIENCE.as_nanos() as u64;
        loop {
            let now_ns = self.account.now_ns();
            let is_over = now_ns >= end_ns || self.is_done();
            if is_over {
                self.account.is_over();
                if self.waiting() == 0 || now_ns >= give_up_ns {
                    break;
                }
            } else {
                self.ask(now_ns);
            }
            let until = self.next_look(is_over, end_ns, give_up_ns);
            self.turn(until).await.with_context(|| self.part.client_id.clone())?;
        }
        self.line.leave().await
    }

    fn is_done(&self) -> bool {
        self.part.is_once && self.asked >= self.part.topics.len()
    }

    fn waiting(&self) -> usize {
        match self.part.scene.answers() {
            Answers::Here => self.open.len(),
            Answers::Elsewhere => self.unacknowledged as usize,
        }
    }

    /// Asks what is due and has room.
    fn ask(&mut self, now_ns: u64) {
        while self.waiting() < self.part.window && self.pace.due(now_ns) > 0 && !self.is_done() {
            // No two are the same, or an answer could not be told from that to another one.
            let stamp = self.pace.take(now_ns).max(self.last_stamp + 1);
            self.last_stamp = stamp;
            let topic = &self.part.topics[self.asked % self.part.topics.len()];
            self.line.push(topic, &self.part.scene.request(stamp));
            self.asked += 1;
            self.account.sent();
            match self.part.scene.answers() {
                Answers::Here => drop(self.open.insert(stamp)),
                Answers::Elsewhere => self.unacknowledged += 1,
            }
        }
    }

    /// When there is something to do even if nothing comes.
    fn next_look(&self, is_over: bool, end_ns: u64, give_up_ns: u64) -> Instant {
        let ns = match is_over {
            true => give_up_ns,
            false if self.waiting() >= self.part.window => end_ns,
            false => self.pace.next_ns().min(end_ns),
        };
        self.account.at(ns)
    }

    async fn turn(&mut self, until: Instant) -> Result<()> {
        let (open, account, scene) = (&mut self.open, &self.account, self.part.scene);
        let hear = |payload: &[u8]| match scene.answer(payload) {
            Some((stamp, is_good)) if open.remove(&stamp) => {
                account.answered(stamp, account.now_ns());
                if !is_good {
                    account.refused();
                }
            }
            _ => account.unasked(),
        };
        let acknowledged = self.line.turn(Some(until), hear).await?;
        self.unacknowledged = self.unacknowledged.saturating_sub(acknowledged);
        Ok(())
    }
}
