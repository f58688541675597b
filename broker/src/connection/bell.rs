//! The bell between a socket and its task: of the sockets that one thread finds readable, the first is read first.
//!
//! The runtime takes the task that was woken last before those that were woken earlier. That suits a subscriber whom
//! its publisher has woken, but of several sockets that became readable it is the latest that comes before all others:
//! who publishes right after somebody else has subscribed would be heard before that. Whose bell was the last of
//! several therefore goes to the end of the line once, and then everybody is heard in the order of arrival.

use futures_util::task::{ArcWake, WakerRef, waker_ref};
use std::cell::Cell;
use std::ptr;
use std::sync::Arc;
use std::task::{Context, Waker};

thread_local! {
    static RUNG: Cell<Rung> = const { Cell::new(Rung::NONE) };
}

/// Which bells have rung on this thread since the last of them has been heard.
#[derive(Debug, Clone, Copy)]
struct Rung {
    count: u32,
    /// To be compared only: the bell may be gone.
    last: *const Bell,
}

impl Rung {
    const NONE: Self = Self { count: 0, last: ptr::null() };
}

/// See the module.
#[derive(Debug)]
pub(super) struct Bell {
    task: Waker,
}

impl Bell {
    /// The bell of the task in `cx`: the one it has, or a new one.
    pub(super) fn of<'a>(hung: &'a mut Option<Arc<Self>>, cx: &Context<'_>) -> &'a Arc<Self> {
        if hung.as_ref().is_some_and(|bell| !bell.task.will_wake(cx.waker())) {
            *hung = None;
        }
        hung.get_or_insert_with(|| Arc::new(Self { task: cx.waker().clone() }))
    }

    /// Whether its task has to let others go first, whose bells have rung before; said once.
    pub(super) fn is_out_of_turn(self: &Arc<Self>) -> bool {
        let rung = RUNG.get();
        if !ptr::eq(rung.last, Arc::as_ptr(self)) {
            return false;
        }
        RUNG.set(Rung::NONE);
        rung.count > 1
    }

    /// What a socket wakes.
    pub(super) fn waker(self: &Arc<Self>) -> WakerRef<'_> {
        waker_ref(self)
    }
}

impl ArcWake for Bell {
    fn wake_by_ref(bell: &Arc<Self>) {
        let count = RUNG.get().count.saturating_add(1);
        RUNG.set(Rung { count, last: Arc::as_ptr(bell) });
        bell.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bell() -> Arc<Bell> {
        Arc::new(Bell { task: Waker::noop().clone() })
    }

    #[test]
    fn the_last_of_several_waits_once() {
        let (first, second) = (bell(), bell());
        first.waker().wake_by_ref();
        assert!(!first.is_out_of_turn(), "it is alone");
        first.waker().wake_by_ref();
        second.waker().wake_by_ref();
        assert!(second.is_out_of_turn());
        assert!(!first.is_out_of_turn() && !second.is_out_of_turn());
    }
}
