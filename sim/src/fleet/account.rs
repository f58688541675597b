//! What was sent, and what was answered when: counted while it happens, told as figures in the end.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::options::Plan;
use crate::load::histogram::Histogram;
use crate::load::procfs::{self, Usage};
use crate::table::markdown;

/// How long an answer may take to come after the last request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// See the module. Times are nanoseconds since [`Account::begin`].
pub(super) struct Account {
    warmup: Duration,
    time: Duration,
    pid: Option<u32>,
    began: Cell<Instant>,
    cost_before: Cell<Option<Usage>>,
    cost_after: Cell<Option<Usage>>,
    /// When the last request had been sent.
    over_ns: Cell<Option<u64>>,
    latency: RefCell<Histogram>,
    sent: Cell<u64>,
    answered: Cell<u64>,
    measured: Cell<u64>,
    refused: Cell<u64>,
    unasked: Cell<u64>,
}

/// What a run has shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// The load, in a line.
    pub title: String,
    /// Answers a second in the measured part.
    pub answered_per_second: f64,
    /// Of the time from when a request was due to its answer.
    pub p50_ms: Option<f64>,
    /// See `p50_ms`.
    pub p99_ms: Option<f64>,
    /// See `p50_ms`.
    pub max_ms: Option<f64>,
    /// Requests that were sent, warm-up included.
    pub sent: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Answers that are a refusal.
    pub refused: u64,
    /// Answers to what was not asked, or was answered before.
    pub unasked: u64,
    /// Processor time of the node for an answer, if its process is known.
    pub node_cpu_micros: Option<f64>,
    /// Resident memory of the node at the end, if its process is known.
    pub node_resident_mib: Option<f64>,
}

impl Account {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            warmup: plan.warmup,
            time: plan.time,
            pid: plan.pid,
            began: Cell::new(Instant::now()),
            cost_before: Cell::new(None),
            cost_after: Cell::new(None),
            over_ns: Cell::new(None),
            latency: RefCell::default(),
            sent: Cell::new(0),
            answered: Cell::new(0),
            measured: Cell::new(0),
            refused: Cell::new(0),
            unasked: Cell::new(0),
        }
    }

    /// Time starts now.
    pub(super) fn begin(&self) {
        self.began.set(Instant::now());
        self.cost_before.set(self.pid.and_then(procfs::usage));
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.began.get().elapsed().as_nanos() as u64
    }

    /// The moment of a time.
    pub(super) fn at(&self, ns: u64) -> Instant {
        self.began.get() + Duration::from_nanos(ns)
    }

    /// When the last request is sent.
    pub(super) fn end_ns(&self) -> u64 {
        (self.warmup + self.time).as_nanos() as u64
    }

    pub(super) fn sent(&self) {
        add(&self.sent, 1);
    }

    /// An answer to what was due at `due_ns` has come.
    pub(super) fn answered(&self, due_ns: u64, now_ns: u64) {
        add(&self.answered, 1);
        let measured = self.warmup.as_nanos() as u64..self.end_ns();
        if measured.contains(&now_ns) {
            add(&self.measured, 1);
            self.latency.borrow_mut().record(now_ns.saturating_sub(due_ns));
        }
    }

    pub(super) fn refused(&self) {
        add(&self.refused, 1);
    }

    pub(super) fn unasked(&self) {
        add(&self.unasked, 1);
    }

    /// Whether every request has its answer.
    pub(super) fn is_complete(&self) -> bool {
        self.answered.get() >= self.sent.get()
    }

    /// The last request is sent, and only answers are waited for.
    pub(super) fn is_over(&self) {
        if self.over_ns.get().is_none() {
            self.over_ns.set(Some(self.now_ns().min(self.end_ns())));
            self.cost_after.set(self.pid.and_then(procfs::usage));
        }
    }

    pub(super) fn report(&self, title: String) -> Report {
        let latency = self.latency.borrow();
        let ms = |share: f64| latency.quantile_ns(share).map(|ns| ns as f64 / 1e6);
        let (before, after) = (self.cost_before.get(), self.cost_after.get());
        let answered = self.answered.get();
        let end_ns = self.over_ns.get().unwrap_or(self.end_ns());
        let seconds = (Duration::from_nanos(end_ns).saturating_sub(self.warmup)).as_secs_f64();
        let cpu_seconds = before.zip(after).map(|(it, then)| then.cpu_seconds - it.cpu_seconds);
        let node_cpu_micros = cpu_seconds.map(|it| it * 1e6 / answered.max(1) as f64);
        Report {
            title,
            answered_per_second: self.measured.get() as f64 / seconds.max(1e-3),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
            sent: self.sent.get(),
            lost: self.sent.get().saturating_sub(answered),
            refused: self.refused.get(),
            unasked: self.unasked.get(),
            node_cpu_micros,
            node_resident_mib: after.map(|it| it.resident_kib as f64 / 1024.0),
        }
    }
}

fn add(counter: &Cell<u64>, count: u64) {
    counter.set(counter.get() + count);
}

impl Report {
    /// Whether each request was answered once, as it should be.
    #[must_use]
    pub fn is_faultless(&self) -> bool {
        (self.lost, self.refused, self.unasked) == (0, 0, 0)
    }

    /// A table for people, which is Markdown, too.
    #[must_use]
    pub fn table(&self) -> String {
        let number = |value: Option<f64>| value.map_or_else(|| "-".into(), |it| format!("{it:.2}"));
        let rows = [
            ("figure", "node".to_owned()),
            ("answered per second", format!("{:.0}", self.answered_per_second)),
            ("p50, ms", number(self.p50_ms)),
            ("p99, ms", number(self.p99_ms)),
            ("max, ms", number(self.max_ms)),
            ("sent", self.sent.to_string()),
            ("lost", self.lost.to_string()),
            ("refused", self.refused.to_string()),
            ("answered, but not asked", self.unasked.to_string()),
            ("node CPU µs per answer", number(self.node_cpu_micros)),
            ("node resident MiB", number(self.node_resident_mib)),
        ];
        let rows = rows.map(|(name, value)| vec![name.to_owned(), value]);
        format!("{}\n\n{}", self.title, markdown(&rows, 1))
    }
}
