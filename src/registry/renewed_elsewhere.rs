//! Sets that another server, or `a2md`, has put into `domains/` since the start of this one: nothing is ordered for them.

use jiff::Timestamp;

use crate::crypto::Summary;
use crate::model::{Job, JobResult, State, time};
use crate::registry::domain::Entry;
use crate::registry::{Registry, next_ca};
use crate::sets::{Active, Advice, LiveSet, StagedView, active};
use crate::store::{Aspect, Group};

impl Registry {
    /// The set that somebody else has put into `domains/` since the start of this server, if it leaves nothing to renew.
    #[must_use]
    pub fn renewed_elsewhere(&self, entry: &Entry, advice: &Advice, now: Timestamp) -> Option<LiveSet> {
        let written = active::told(&self.vault, &entry.md)?;
        // What was told before the start was in domains/ when the start read that.
        if entry.told == Some(written) {
            return None;
        }
        let active: Active = self.vault.load_json(Group::Active, entry.md.name.as_str(), &Aspect::ActiveJson)?;
        if active.ca_url.as_deref().is_none_or(|url| next_ca::is_gone(&entry.md, url)) {
            return None;
        }
        let set = LiveSet::told(&self.vault, &entry.md, &active);
        let is_revoked = |own: &Summary| self.stapling.is_revoked(entry.md.name.as_str(), own);
        let does = set.state == Some(State::Complete) && !set.certificates.iter().flatten().any(is_revoked);
        let does = does && set.renew_at(entry.md.renew_window, advice, now) > now;
        does.then_some(set)
    }

    /// Whether the server restarts itself for a set that somebody else has put into `domains/`. For the parent.
    #[must_use]
    pub fn restarts_for_others(&self) -> bool {
        let now = self.clock.now();
        let is_renewed = |entry: &Entry| {
            let advice = Advice::load(&self.vault, &entry.md);
            entry.renew_at(&advice, now) <= now && self.renewed_elsewhere(entry, &advice, now).is_some()
        };
        self.entries.iter().any(|entry| entry.restarts() && is_renewed(entry))
    }

    /// The report on a renewal that somebody else has made of a domain whose renewal is due here.
    #[must_use]
    pub fn report_elsewhere(&self, entry: &Entry, advice: &Advice, now: Timestamp) -> Option<StagedView> {
        let set = self.renewed_elsewhere(entry, advice, now)?;
        let valid_from = set.certificates.iter().flatten().map(|own| own.validity().0).max();
        let since = valid_from.map(time::format_gmt).unwrap_or_default();
        let detail = format!(
            "The certificate for the managed domain has been renewed by another server, or by a2md, and can be used (valid since \
             {since}). A graceful server restart now is all that is needed."
        );
        let last = JobResult { detail: Some(detail), valid_from, ..JobResult::default() };
        let job = Job { finished: true, last: Some(last), valid_from, ..Job::new(entry.md.name.as_str()) };
        let scts = set.certificates.iter().map(|_| Vec::new()).collect();
        Some(StagedView { job, certificates: set.certificates, scts })
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use crate::clock::Clock as _;
    use crate::model::{ActivationMode, DomainName};
    use crate::registry::renewed_elsewhere::*;
    use crate::renewals::Renewals;
    use crate::store::Store;
    use crate::testing::{World, logged, watch_log};

    /// A server that has started, and does not look before it is told to.
    fn server(world: &World) -> Renewals {
        world.renewals_with(true, world.moving_clock(), |_| None)
    }

    /// Another server renews the domain and activates that.
    fn renew(world: &World) {
        drop(world.run(true));
        drop(world.start(true));
    }

    fn look(world: &World, renewals: &Renewals, times: usize) -> usize {
        for _ in 0..times {
            world.go_on(renewals);
            world.clock.advance(SignedDuration::from_hours(13));
        }
        world.ca.ordered().len()
    }

    #[test]
    fn what_another_server_has_renewed_and_uses_is_ordered_when_that_is_due() {
        watch_log();
        let name = "other.active.test";
        for mode in [ActivationMode::Restart, ActivationMode::Live] {
            let mut world = World::new(&[name]);
            world.declared[0].settings.activation = Some(mode);
            let (known, told) = (server(&world), logged("MD0058", name));
            renew(&world);
            assert_eq!((look(&world, &known, 3), logged("MD0058", name)), (1, told + 1), "{mode:?}");
            assert!(world.store.list(Group::Staging).unwrap().is_empty());
            world.clock.advance(SignedDuration::from_hours(24 * 70));
            assert_eq!(look(&world, &known, 1), 2, "{mode:?}");
        }
    }

    #[test]
    fn it_is_shown_as_what_a_restart_is_for() {
        let mut world = World::new(&["shown.active.test"]);
        world.declared[0].settings.activation = Some(ActivationMode::Graceful);
        let registry = world.start(true);
        let (entry, now) = (&registry.entries[0], world.clock.now());
        let report = || registry.report_elsewhere(entry, &Advice::default(), now);
        assert!(report().is_none() && !registry.restarts_for_others());
        renew(&world);
        let view = report().unwrap();
        assert!(view.job.finished && view.job.last.unwrap().detail.unwrap().contains("all that is needed"));
        assert_eq!(view.certificates.len(), 1);
        assert!(registry.restarts_for_others());
        let after = world.start(true);
        assert_eq!(after.entries[0].live.certificates, view.certificates);
        assert!(!after.restarts_for_others());
    }

    #[test]
    fn a_set_that_does_not_do_or_is_gone_again_is_no_reason_not_to_renew() {
        let damages: [fn(&str) -> String; 2] =
            [|text| text.replace("https://", "https://former."), |_| "{}".to_owned()];
        for damage in damages {
            let world = World::new(&["x.test"]);
            let known = server(&world);
            renew(&world);
            let text = world.text(Group::Active, "x.test", &Aspect::ActiveJson).unwrap();
            world.put(Group::Active, "x.test", &Aspect::ActiveJson, &damage(&text));
            assert_eq!(look(&world, &known, 1), 2, "{text}");
        }
        // The server that looks wants one more name.
        let mut world = World::new(&["x.test"]);
        let before = world.declared.clone();
        world.declared[0].names.push(DomainName::parse("www.x.test").unwrap());
        let known = server(&world);
        world.declared = before;
        renew(&world);
        assert_eq!(look(&world, &known, 1), 2);
        // The administrator has put an older set back before the start.
        let world = World::new(&["x.test"]);
        renew(&world);
        world.store.purge(Group::Domains, "x.test").unwrap();
        assert_eq!(look(&world, &server(&world), 1), 2);
    }
}
