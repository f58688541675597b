//! What to do about one driver, by what each end has.
//!
//! What has changed at one end only goes to the other. If both have changed since they were last the same, the hub is
//! right. An edge node that has gone back in time (restored from a backup, or with a new data folder) has changed
//! nothing by that: it gets what the hub has.

use super::rows::Base;
use crate::driver::row::Version;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// The edge node gets what the hub has.
    Push {
        /// What has changed at the edge node is lost by it.
        overrules: bool,
    },
    /// The hub takes what the edge node has.
    Pull,
    /// Deleted at the hub.
    DeleteThere,
    /// Deleted at the edge node.
    DeleteHere,
    /// Neither has it any more.
    Forget,
}

/// What each end has of a driver.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ends {
    pub(super) hub: Option<Version>,
    pub(super) edge: Option<Version>,
    /// What they had when they were last the same.
    pub(super) base: Option<Base>,
}

/// What to do; `is_older`: the edge node has gone back in time.
pub(super) fn step(ends: Ends, is_older: bool) -> Step {
    let Ends { hub, edge, base } = ends;
    let has_hub_changed = hub != base.map(|base| base.hub);
    let differs = edge != base.map(|base| base.edge);
    let has_edge_changed = differs && !is_older;
    match (hub, edge) {
        (None, None) => Step::Forget,
        (None, Some(_)) if base.is_none() => Step::Pull,
        (None, Some(_)) => Step::DeleteThere,
        (Some(_), None) if base.is_some() && !has_hub_changed && !is_older => Step::DeleteHere,
        (Some(_), None) => Step::Push { overrules: false },
        (Some(_), Some(_)) if !has_hub_changed && !differs => Step::Nothing,
        (Some(_), Some(_)) if !has_hub_changed && has_edge_changed => Step::Pull,
        (Some(_), Some(_)) => Step::Push { overrules: has_edge_changed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::TimestampMs;

    fn version(revision: u64) -> Version {
        Version { created: TimestampMs(1), revision }
    }

    fn of(hub: u64, edge: u64, base: Option<(u64, u64)>) -> Ends {
        let some = |revision: u64| (revision > 0).then(|| version(revision));
        let base = base.map(|(hub, edge)| Base { hub: version(hub), edge: version(edge) });
        Ends { hub: some(hub), edge: some(edge), base }
    }

    #[test]
    fn what_changed_at_one_end_goes_to_the_other_and_the_hub_is_right() {
        let push = |overrules| Step::Push { overrules };
        let cases = [
            (of(0, 0, None), Step::Forget, Step::Forget),
            (of(0, 0, Some((1, 1))), Step::Forget, Step::Forget),
            // Never seen before.
            (of(1, 0, None), push(false), push(false)),
            (of(0, 1, None), Step::Pull, Step::Pull),
            (of(1, 1, None), push(true), push(false)),
            // The same as ever.
            (of(3, 2, Some((3, 2))), Step::Nothing, Step::Nothing),
            // Changed at the hub, at the edge node, at both.
            (of(4, 2, Some((3, 2))), push(false), push(false)),
            (of(3, 5, Some((3, 2))), Step::Pull, push(false)),
            (of(4, 5, Some((3, 2))), push(true), push(false)),
            // Deleted at the hub, whatever the edge node did to it; at the edge node.
            (of(0, 2, Some((3, 2))), Step::DeleteThere, Step::DeleteThere),
            (of(0, 5, Some((3, 2))), Step::DeleteThere, Step::DeleteThere),
            (of(3, 0, Some((3, 2))), Step::DeleteHere, push(false)),
            // Deleted at the edge node, and changed at the hub meanwhile.
            (of(4, 0, Some((3, 2))), push(false), push(false)),
        ];
        for (ends, expected, of_older) in cases {
            assert_eq!(step(ends, false), expected, "{ends:?}");
            assert_eq!(step(ends, true), of_older, "older: {ends:?}");
        }
    }

    #[test]
    fn one_that_is_deleted_and_created_again_has_changed() {
        let mut ends = of(3, 2, Some((3, 2)));
        ends.edge = Some(Version { created: TimestampMs(9), revision: 2 });
        assert_eq!(step(ends, false), Step::Pull);
    }
}
