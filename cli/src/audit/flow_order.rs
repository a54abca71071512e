//! Which steps come before which.

use super::flow::{Exit, Flow, Region, RegionKind, Step, What};

impl<'a> Flow<'a> {
    /// The region and those around it, from the inside.
    pub(super) fn around(&self, region: u32) -> impl Iterator<Item = (u32, &Region<'a>)> {
        let mut next = Some(region);
        std::iter::from_fn(move || {
            let at = next?;
            let region = self.regions.get(at as usize)?;
            next = region.parent;
            Some((at, region))
        })
    }

    /// Returns whether the second step can come after the first in one run.
    pub(super) fn reaches(&self, first: u32, second: u32) -> bool {
        let (Some(a), Some(b)) = (self.step(first), self.step(second)) else {
            return false;
        };
        first < second && self.leads(a.region, b.region)
    }

    /// Returns whether a run that is in one region can come to another, if that lies behind it.
    pub(super) fn leads(&self, from: u32, to: u32) -> bool {
        let below: Vec<u32> = self.around(to).map(|(at, _)| at).collect();
        if !self.fuel.burn(below.len()) {
            return false;
        }
        // A path that returns from a helper goes on behind its call.
        let helper = |region: u32| {
            let mut path = self
                .around(region)
                .take_while(|(at, _)| !below.contains(at));
            path.any(|(_, it)| matches!(it.kind, RegionKind::Helper))
        };
        let mut loop_left = false;
        let mut last: Option<&Region<'a>> = None;
        for (at, region) in self.around(from) {
            if below.contains(&at) {
                // The regions just below the one that both share.
                let other = below.iter().take_while(|it| **it != at).last();
                let other = other.and_then(|at| self.regions.get(*at as usize));
                if let (Some(one), Some(other)) = (last, other)
                    && let (
                        RegionKind::Branch { group, arm },
                        RegionKind::Branch { group: g, arm: a },
                    ) = (one.kind, other.kind)
                {
                    return group != g || arm == a;
                }
                return true;
            }
            match region.exits {
                Some(Exit::Raise) => {
                    let caught = self
                        .around(from)
                        .any(|(_, it)| matches!(it.kind, RegionKind::Try(_)));
                    if !caught {
                        return false;
                    }
                }
                Some(Exit::Return) if !helper(at) => return false,
                Some(Exit::Leave) if !loop_left => return false,
                _ => {}
            }
            loop_left |= matches!(region.kind, RegionKind::Loop);
            last = Some(region);
        }
        true
    }

    /// Returns whether each run that comes to the second step has been at the first.
    pub(super) fn dominates(&self, first: u32, second: u32) -> bool {
        let (Some(a), Some(b)) = (self.step(first), self.step(second)) else {
            return false;
        };
        let mut own = a.region;
        for (at, region) in self.around(a.region) {
            own = at;
            let is_through = matches!(
                region.kind,
                RegionKind::Helper | RegionKind::With(_) | RegionKind::Try(_)
            );
            if !is_through {
                break;
            }
        }
        first < second && self.around(b.region).any(|(at, _)| at == own)
    }

    /// Returns whether the test decides if the later step happens.
    pub(super) fn decides(&self, test: u32, later: u32) -> bool {
        let Some(Step {
            what: What::Test(_, group),
            ..
        }) = self.step(test)
        else {
            return false;
        };
        let Some(step) = self.step(later) else {
            return false;
        };
        if test >= later {
            return false;
        }
        let in_group = |kind: RegionKind<'a>| matches!(kind, RegionKind::Branch { group: g, .. } if g == *group);
        let inside = self.around(step.region).any(|(_, it)| in_group(it.kind));
        inside || (self.reaches(test, later) && !self.exits_of(*group).is_empty())
    }

    /// The answer of a test behind which a later step happens, if it does so behind one alone.
    pub(super) fn answer(&self, test: u32, later: u32) -> Option<bool> {
        let What::Test(_, group) = self.step(test)?.what else {
            return None;
        };
        let arm_of = |kind: RegionKind<'a>| match kind {
            RegionKind::Branch { group: g, arm } if g == group => Some(arm == 0),
            _ => None,
        };
        let inside = self
            .around(self.step(later)?.region)
            .find_map(|(_, it)| arm_of(it.kind));
        inside.or_else(|| {
            // A path that returns from a helper goes on behind its call.
            let below: Vec<u32> = self
                .around(self.step(later)?.region)
                .map(|(at, _)| at)
                .collect();
            let mut path = self.around(self.step(test)?.region);
            let in_helper = path
                .find(|(at, it)| below.contains(at) || matches!(it.kind, RegionKind::Helper))
                .is_some_and(|(at, _)| !below.contains(&at));
            let left = self.regions.iter().filter(|it| match it.exits {
                Some(Exit::Return) => !in_helper,
                exits => exits.is_some(),
            });
            let left: Vec<bool> = left.filter_map(|it| arm_of(it.kind)).collect();
            match left.as_slice() {
                [arm] => Some(!arm),
                _ => None,
            }
        })
    }
}
