//! The rules as a table of interleavings, and held against a simple model.

use super::*;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

const LIMITS: Limits = Limits { open_max: 3, remembered_max: 4, remembered_ms: 1000 };

/// A book, a clock, and whether the device listens.
struct Scene {
    book: Book,
    now: u64,
    is_heard: bool,
    limits: Limits,
}

fn id(text: &str) -> CommandId {
    CommandId::parse(text).unwrap()
}

fn name(text: &str) -> CommandName {
    CommandName::parse(text).unwrap()
}

/// `+a` taken, `>a` sent, `a:succeeded` ended, `-a` forgotten, `~a` redirected.
fn shown(changes: &[Change]) -> String {
    let words = changes.iter().map(|change| match change {
        Change::Taken(id, _) => format!("+{id}"),
        Change::Sent(id, _) => format!(">{id}"),
        Change::Redirected(id, _) => format!("~{id}"),
        Change::Ended(id, ended, _) => {
            let status = serde_json::to_value(ended.status).unwrap();
            format!("{id}:{}", status.as_str().unwrap())
        }
        Change::Forgotten(id) => format!("-{id}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

impl Scene {
    fn new() -> Self {
        Self { book: Book::default(), now: 0, is_heard: true, limits: LIMITS }
    }

    /// What a step leads to, what was due before it included.
    fn step(&mut self, step: &str) -> String {
        let due = self.book.due(TimestampMs(self.now), &self.limits);
        let mut said = self.put_in_force(due);
        let words: Vec<&str> = step.split(' ').collect();
        let decided = match words.as_slice() {
            ["invoke", which] => self.invoke("run", which, 100, true),
            ["invoke", which, timeout] => self.invoke("run", which, timeout.parse().unwrap(), true),
            ["try", which] => self.invoke("run", which, 100, false),
            ["other", which] => self.invoke("stop", which, 100, true),
            ["ok", which] => self.respond("run", which, Ok(json!(7))),
            ["failed", which] => self.respond("run", which, Err(json!("jam"))),
            ["other-ok", which] => self.respond("stop", which, Ok(Json::Null)),
            ["cancel", which] => self.book.cancel(&id(which), TimestampMs(self.now), &self.limits),
            ["hear"] => {
                self.is_heard = true;
                Ok(self.book.hand_over(TimestampMs(self.now), |_| true))
            }
            ["deaf"] => {
                self.is_heard = false;
                Ok(Vec::new())
            }
            ["at", time] => {
                self.now = time.parse().unwrap();
                Ok(self.book.due(TimestampMs(self.now), &self.limits))
            }
            ["retire"] => Ok(self.book.retire(TimestampMs(self.now), &self.limits)),
            other => panic!("no such step: {other:?}"),
        };
        match decided {
            Ok(changes) => said.extend(self.put_in_force(changes)),
            Err(refusal) => said.push(format!("!{}", refusal.code)),
        }
        said.join(" ")
    }

    fn invoke(
        &mut self,
        command: &str,
        which: &str,
        timeout_ms: u64,
        queue: bool,
    ) -> Result<Vec<Change>, Refusal> {
        let invocation =
            Invocation { id: id(which), input: Json::Null, timeout_ms, queue, progress: false };
        let asker = Asker { by: "app".into(), reply: None, is_broadcast: false };
        let (now, is_heard) = (TimestampMs(self.now), self.is_heard);
        let command = name(command);
        let invoked =
            self.book.invoke((&command, invocation), asker, now, |_| is_heard, &self.limits)?;
        Ok(match invoked {
            Invoked::New(changes) | Invoked::Running(changes) => changes,
            Invoked::Over => Vec::new(),
        })
    }

    fn respond(
        &mut self,
        command: &str,
        which: &str,
        outcome: Result<Json, Json>,
    ) -> Result<Vec<Change>, Refusal> {
        let response = Response { id: id(which), outcome };
        self.book.respond(&name(command), response, TimestampMs(self.now), &self.limits)
    }

    fn put_in_force(&mut self, changes: Vec<Change>) -> Vec<String> {
        for change in &changes {
            self.book.apply(change);
        }
        if changes.is_empty() { Vec::new() } else { vec![shown(&changes)] }
    }
}

#[test]
fn interleavings_lead_to_what_the_table_says() {
    #[rustfmt::skip]
    let cases: &[&[(&str, &str)]] = &[
        // The usual way, and its repetitions.
        &[("invoke a", "+a >a"), ("ok a", "a:succeeded"), ("ok a", "!invalid"), ("invoke a", "")],
        &[("invoke a", "+a >a"), ("invoke a", ""), ("failed a", "a:failed"), ("ok a", "!invalid")],
        // Deadlines, with the timer in time, late, or never.
        &[("invoke a", "+a >a"), ("at 99", ""), ("ok a", "a:succeeded")],
        &[("invoke a", "+a >a"), ("at 100", "a:timed_out"), ("ok a", "!invalid")],
        &[("deaf", ""), ("invoke a", "+a"), ("at 100", "a:expired"), ("hear", ""), ("invoke a", "")],
        &[("deaf", ""), ("invoke a 0", "a:expired"), ("invoke b 1", "+b"), ("at 1", "b:expired")],
        // Waiting for the device, in order.
        &[("deaf", ""), ("invoke a", "+a"), ("invoke b", "+b"), ("hear", ">a >b"), ("hear", "")],
        &[("deaf", ""), ("invoke b", "+b"), ("invoke a", "+a"), ("at 50", ""), ("hear", ">b >a"),
          ("ok a", "a:succeeded"), ("at 100", "b:timed_out")],
        &[("deaf", ""), ("try a", "a:rejected"), ("hear", ""), ("try a", ""), ("try b", "+b >b")],
        // A device that is handed a command is not handed it again.
        &[("invoke a", "+a >a"), ("deaf", ""), ("hear", ""), ("ok a", "a:succeeded")],
        // Responses to nothing that waits for one.
        &[("ok a", "!not_found"), ("invoke a", "+a >a"), ("other-ok a", "!not_found")],
        &[("deaf", ""), ("invoke a", "+a"), ("ok a", "!not_found"), ("hear", ">a")],
        // An id is one command's.
        &[("invoke a", "+a >a"), ("other a", "!already_exists"), ("ok a", "a:succeeded"),
          ("other a", "!already_exists")],
        // Taken back.
        &[("invoke a", "+a >a"), ("cancel a", "a:rejected"), ("ok a", "!invalid"),
          ("cancel a", "!invalid")],
        &[("deaf", ""), ("invoke a", "+a"), ("cancel a", "a:rejected"), ("hear", "")],
        &[("cancel a", "!not_found")],
        &[("invoke a", "+a >a"), ("invoke b", "+b >b"), ("retire", "a:rejected b:rejected")],
        // Bounds: three wait, four are remembered, for a second.
        &[("invoke a", "+a >a"), ("invoke b", "+b >b"), ("invoke c", "+c >c"),
          ("invoke d", "d:rejected"), ("ok a", "a:succeeded"), ("invoke e", "+e >e"),
          ("ok b", "b:succeeded"), ("ok c", "c:succeeded"), ("ok e", "e:succeeded -d"),
          ("invoke d", "+d >d"), ("ok d", "d:succeeded -a")],
        &[("invoke a", "+a >a"), ("ok a", "a:succeeded"), ("at 999", ""), ("invoke a", ""),
          ("at 1000", "-a"), ("invoke a", "+a >a")],
    ];
    for case in cases {
        let mut scene = Scene::new();
        for (step, expected) in *case {
            assert_eq!(scene.step(step), *expected, "{step} in {case:?}");
        }
    }
}

#[test]
fn who_asks_again_is_answered_where_it_asks_now() {
    let mut scene = Scene::new();
    scene.step("invoke a");
    let topic = proto::TopicName::parse("apps/2".to_owned()).unwrap();
    let reply = Some(ReplyTo { topic, correlation: None });
    let ask = |book: &Book, reply: Option<ReplyTo>| {
        let invocation = Invocation {
            id: id("a"),
            input: Json::Null,
            timeout_ms: 5,
            queue: true,
            progress: false,
        };
        let asker = Asker { by: "app".into(), reply, is_broadcast: false };
        book.invoke((&name("run"), invocation), asker, TimestampMs(1), |_| true, &LIMITS).unwrap()
    };
    let Invoked::Running(changes) = ask(&scene.book, reply.clone()) else { panic!() };
    assert_eq!(shown(&changes), "~a");
    scene.put_in_force(changes);
    assert_eq!(ask(&scene.book, reply.clone()), Invoked::Running(Vec::new()));
    assert_eq!(ask(&scene.book, None), Invoked::Running(Vec::new()));
    let ended = scene.respond("run", "a", Ok(Json::Null)).unwrap();
    let [Change::Ended(_, _, told)] = ended.as_slice() else { panic!("{ended:?}") };
    assert_eq!(*told, reply);
}

/// What the model knows of one id.
#[derive(Debug, Clone, PartialEq)]
enum Known {
    Queued(u64),
    Sent(u64),
    Over,
}

proptest! {
    /// Whatever happens, in whatever order: one end for each id, at most one hand-over, none after the deadline or
    /// out of order, and no command left open after its deadline. Restarts in between make no difference.
    #[test]
    fn every_id_ends_once(steps in proptest::collection::vec(
        (0..8_u8, 0..6_u8, 1..40_u64), 1..60,
    )) {
        let mut scene = Scene::new();
        scene.limits = Limits { open_max: 3, remembered_max: 1000, remembered_ms: u64::MAX };
        let mut model: BTreeMap<String, Known> = BTreeMap::new();
        let mut order: Vec<String> = Vec::new();
        for (what, which, ms) in steps {
            let which = ["a", "b", "c", "d", "e", "f"][usize::from(which)];
            let step = match what {
                0 | 1 => format!("invoke {which} {ms}"),
                2 => format!("try {which}"),
                3 => format!("ok {which}"),
                4 => format!("cancel {which}"),
                5 => format!("at {}", scene.now + ms),
                6 => ["hear", "deaf"][usize::from(ms % 2 == 0)].to_owned(),
                _ => {
                    let Book { open, ended } = scene.book.clone();
                    scene.book = Book::new(open.into(), ended.into());
                    continue;
                }
            };
            let before = scene.now;
            for word in scene.step(&step).split(' ').filter(|word| !word.is_empty()) {
                if let Some(taken) = word.strip_prefix('+') {
                    let timeout = if what == 2 { 100 } else { ms };
                    let known = Known::Queued(before + timeout);
                    prop_assert_eq!(model.insert(taken.to_owned(), known), None);
                    order.push(taken.to_owned());
                } else if let Some(sent) = word.strip_prefix('>') {
                    let Some(Known::Queued(deadline)) = model.get(sent).cloned() else {
                        return Err(TestCaseError::fail(format!("{sent} was not waiting")));
                    };
                    prop_assert!(scene.now < deadline, "{} is handed over too late", sent);
                    let place = order.iter().position(|it| it == sent).unwrap();
                    let overtaken = order[..place].iter().any(|it| matches!(model[it], Known::Queued(_)));
                    prop_assert!(!overtaken, "{} overtakes", sent);
                    model.insert(sent.to_owned(), Known::Sent(deadline));
                } else if let Some((ended, status)) = word.split_once(':') {
                    let known = model.insert(ended.to_owned(), Known::Over);
                    let is_right = match (known, status) {
                        (Some(Known::Queued(deadline)), "expired")
                        | (Some(Known::Sent(deadline)), "timed_out") => deadline <= scene.now,
                        (Some(Known::Sent(deadline)), "succeeded") => scene.now < deadline,
                        (Some(Known::Queued(_) | Known::Sent(_)), "rejected") => what == 4,
                        (None, "rejected") => what <= 2,
                        _ => false,
                    };
                    prop_assert!(is_right, "{} ends as {}", ended, status);
                }
            }
            let open = |it: &&Known| !matches!(it, Known::Over);
            prop_assert_eq!(scene.book.open.len(), model.values().filter(open).count());
        }
        scene.step(&format!("at {}", scene.now + 200));
        prop_assert_eq!(scene.book.open.len(), 0);
        prop_assert_eq!(scene.book.ended.len(), model.len());
    }
}
