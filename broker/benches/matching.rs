//! Matching measured at a million subscriptions, half of them with wildcards: what a subscription
//! costs in time and memory, and what a message costs that is routed through them.
//!
//! `cargo bench -p manifold-broker --bench matching` uses 1,000,000 subscriptions of 10,000
//! clients, or as many as are given as `-- --subscriptions N`. Times are those of the processor where
//! the system tells them (Linux), so that other work on the machine does not count, else those of
//! the clock. Memory is what the process has resident, so it is known on Linux only.
#![allow(
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and ends at the first failure"
)]

mod clock;

use broker::measure::{Matching, Publisher};
use clock::{Moment, report};
use proto::{TopicFilter, TopicName};
use std::hint::black_box;

const CLIENTS: usize = 10_000;
const TOPICS: usize = 200_000;

fn main() {
    let count = std::env::args().skip_while(|arg| arg != "--subscriptions").nth(1);
    let count = count.map_or(1_000_000, |it| it.parse().unwrap());
    let filters: Vec<TopicFilter> = (0..count).map(filter).collect();
    let text_bytes: usize = filters.iter().map(|it| it.as_str().len()).sum();
    let matching = Matching::new(CLIENTS as u64);

    let before_kib = resident_kib();
    let began = Moment::now();
    for (number, filter) in filters.iter().enumerate() {
        assert!(matching.subscribe(number % CLIENTS, filter));
    }
    report("subscribe", count, &began);
    if let (Some(before), Some(after)) = (before_kib, resident_kib()) {
        let each = ((after - before) * 1024) as f64 / count as f64;
        let text = text_bytes as f64 / count as f64;
        println!("{:<28} {:>10.0} bytes each, {:.0} beyond the text", "memory", each, each - text);
    }
    publish(&matching, count);
    churn(&matching, count);

    let began = Moment::now();
    for (number, filter) in filters.iter().enumerate() {
        assert!(matching.unsubscribe(number % CLIENTS, filter));
    }
    report("unsubscribe", count, &began);
}

/// Each topic is matched once, then again and again.
fn publish(matching: &Matching, count: usize) {
    let topics: Vec<TopicName> = (0..TOPICS).map(|number| topic(number * 7 % count)).collect();
    let began = Moment::now();
    let heard: usize = topics.iter().map(|topic| matching.match_new(topic)).sum();
    report("match a new topic", TOPICS, &began);
    println!("{:<28} {:>10.1}", "subscribers of a topic", heard as f64 / TOPICS as f64);

    let mut publisher = Publisher::default();
    let known = &topics[..500];
    for topic in known {
        black_box(matching.match_again(&mut publisher, topic));
    }
    let began = Moment::now();
    for number in 0..TOPICS * 10 {
        black_box(matching.match_again(&mut publisher, &known[number % known.len()]));
    }
    report("match a known topic", TOPICS * 10, &began);
}

/// The same while a client elsewhere subscribes and unsubscribes before each message.
fn churn(matching: &Matching, count: usize) {
    let known: Vec<TopicName> = (0..500).map(|number| topic(number * 7 % count)).collect();
    let passing: Vec<TopicFilter> = (0..1000)
        .map(|number| TopicFilter::parse(format!("visitors/v{number}/news")).unwrap())
        .collect();
    let mut publisher = Publisher::default();
    let mut round = |is_publishing: bool| {
        let began = Moment::now();
        for number in 0..TOPICS {
            let filter = &passing[number % passing.len()];
            assert!(matching.subscribe(1, filter) && matching.unsubscribe(1, filter));
            if is_publishing {
                black_box(matching.match_again(&mut publisher, &known[number % known.len()]));
            }
        }
        began.elapsed()
    };
    let (alone, both) = (round(false), round(true));
    let nanos = both.saturating_sub(alone).as_nanos() as f64 / TOPICS as f64;
    println!("{:<28} {nanos:>10.0} ns each", "known topic, under churn");
}

/// Four sites of 50 lines; half of the filters hold wildcards.
fn filter(number: usize) -> TopicFilter {
    let (site, line, machine) = place(number);
    let text = match number % 4 {
        0 => format!("plant/{site}/{line}/{machine}/temperature"),
        1 => format!("plant/{site}/+/{machine}/pressure"),
        2 => format!("plant/{site}/{line}/{machine}/state"),
        _ => format!("plant/{site}/{line}/{machine}/#"),
    };
    TopicFilter::parse(text).unwrap()
}

fn topic(number: usize) -> TopicName {
    let (site, line, machine) = place(number);
    let value = ["temperature", "pressure", "state", "speed"][number % 4];
    TopicName::parse(format!("plant/{site}/{line}/{machine}/{value}")).unwrap()
}

fn place(number: usize) -> (String, String, String) {
    let machine = number / 2;
    (
        format!("site{}", machine % 4),
        format!("line{}", machine / 4 % 50),
        format!("machine{machine}"),
    )
}

fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}
