//! When a rule acts: a pure value; the caller brings the clock.

use super::rule::When;
use proto::Datum;

/// What a rule remembers between two values.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// Whether the condition held with the last good value.
    is_true: bool,
    acted_ms: Option<u64>,
    /// It has come true, and was not acted on yet.
    waits: bool,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    Act,
    /// At this time, if the condition still holds.
    Wait(u64),
    /// The condition holds no more.
    Rest,
}

impl Gate {
    /// One that has acted, or has not, before it was started.
    pub(super) fn new(has_acted: bool) -> Self {
        Self { is_true: has_acted, acted_ms: None, waits: false }
    }

    /// Whether the condition holds, and whether that was acted on.
    pub(super) fn state(&self) -> (bool, bool) {
        (self.is_true, self.is_true && !self.waits)
    }

    /// A good value has come.
    pub(super) fn value(&mut self, when: &When, value: &Datum, pause_ms: u64, now_ms: u64) -> Step {
        let Some(is_true) = holds(when, value, self.is_true) else { return Step::Nothing };
        let was_true = std::mem::replace(&mut self.is_true, is_true);
        match (was_true, is_true) {
            (false, true) => {
                let due_ms = self.acted_ms.map_or(now_ms, |acted_ms| acted_ms + pause_ms);
                if due_ms > now_ms {
                    self.waits = true;
                    return Step::Wait(due_ms);
                }
                self.act(now_ms)
            }
            (true, false) => {
                self.waits = false;
                Step::Rest
            }
            _ => Step::Nothing,
        }
    }

    /// The time that was waited for has come.
    pub(super) fn due(&mut self, now_ms: u64) -> Step {
        if self.waits { self.act(now_ms) } else { Step::Nothing }
    }

    fn act(&mut self, now_ms: u64) -> Step {
        self.waits = false;
        self.acted_ms = Some(now_ms);
        Step::Act
    }
}

/// Whether the condition holds; `None` for a value that cannot be compared.
fn holds(when: &When, value: &Datum, held: bool) -> Option<bool> {
    if let Some(wanted) = &when.equals {
        // 1 and 1.0 are the same number.
        return Some(match (wanted.as_f64(), value.as_f64()) {
            (Some(wanted), Some(value)) => wanted == value,
            _ => wanted == value,
        });
    }
    let value = value.as_f64()?;
    let back = if held { when.hysteresis } else { 0.0 };
    match (when.above, when.below) {
        (Some(limit), _) => Some(value > limit - back),
        (_, Some(limit)) => Some(value < limit + back),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(above: Option<f64>, below: Option<f64>, hysteresis: f64) -> When {
        When { path: "a/_raw/b".to_owned(), above, below, equals: None, hysteresis }
    }

    #[test]
    fn it_acts_when_the_limit_is_crossed_and_again_after_it_was_back() {
        let high = when(Some(90.0), None, 5.0);
        let low = when(None, Some(10.0), 5.0);
        let mirrored = |value: f64| 100.0 - value;
        let steps = [
            (80.0, Step::Nothing),
            (90.0, Step::Nothing),
            (90.5, Step::Act),
            (99.0, Step::Nothing),
            // Within the hysteresis nothing has changed.
            (86.0, Step::Nothing),
            (91.0, Step::Nothing),
            (85.0, Step::Rest),
            (89.0, Step::Nothing),
            (91.0, Step::Act),
        ];
        let (mut above, mut below) = (Gate::default(), Gate::default());
        for (now_ms, (value, expected)) in (0..).step_by(1000).zip(steps) {
            let step = above.value(&high, &Datum::Float(value), 100, now_ms);
            assert_eq!(step, expected, "above, {value}");
            let step = below.value(&low, &Datum::Float(mirrored(value)), 100, now_ms);
            assert_eq!(step, expected, "below, {value}");
        }
    }

    #[test]
    fn what_comes_true_too_soon_waits_and_is_forgotten_if_it_is_over() {
        let rule = when(Some(0.0), None, 0.0);
        let mut gate = Gate::default();
        let (high, low) = (Datum::Int(1), Datum::Int(0));
        assert_eq!(gate.value(&rule, &high, 100, 1000), Step::Act);
        assert_eq!(gate.value(&rule, &low, 100, 1010), Step::Rest);
        assert_eq!(gate.value(&rule, &high, 100, 1020), Step::Wait(1100));
        assert_eq!(gate.state(), (true, false));
        assert_eq!(gate.due(1100), Step::Act);
        assert_eq!(gate.state(), (true, true));
        assert_eq!(gate.due(1101), Step::Nothing);
        gate.value(&rule, &low, 100, 1110);
        assert_eq!(gate.value(&rule, &high, 100, 1120), Step::Wait(1200));
        assert_eq!(gate.value(&rule, &low, 100, 1130), Step::Rest);
        assert_eq!(gate.due(1200), Step::Nothing, "it is over");
    }

    #[test]
    fn what_was_acted_on_before_a_restart_is_not_acted_on_again() {
        let rule = when(Some(0.0), None, 0.0);
        assert_eq!(Gate::new(true).value(&rule, &Datum::Int(1), 0, 5), Step::Nothing);
        assert_eq!(Gate::new(false).value(&rule, &Datum::Int(1), 0, 5), Step::Act);
    }

    #[test]
    fn numbers_truth_values_and_texts_are_equal_to_their_own() {
        let equals = |wanted: Datum| When { equals: Some(wanted), ..when(None, None, 0.0) };
        let text = |it: &str| Datum::Text(it.to_owned());
        for (wanted, same, other) in [
            (Datum::Int(1), Datum::Float(1.0), Datum::Float(1.5)),
            (Datum::Bool(true), Datum::Bool(true), Datum::Bool(false)),
            (text("run"), text("run"), text("stop")),
            (Datum::Int(1), Datum::Int(1), text("1")),
        ] {
            let rule = equals(wanted);
            let mut gate = Gate::default();
            assert_eq!(gate.value(&rule, &other, 0, 0), Step::Nothing, "{rule:?}");
            assert_eq!(gate.value(&rule, &same, 0, 1), Step::Act, "{rule:?}");
            assert_eq!(gate.value(&rule, &other, 0, 2), Step::Rest, "{rule:?}");
        }
        let above = when(Some(1.0), None, 0.0);
        assert_eq!(Gate::default().value(&above, &text("9"), 0, 0), Step::Nothing);
    }
}
