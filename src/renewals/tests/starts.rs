//! Tests of starts: what is activated, merged, refused and cleaned up.

use super::*;
use crate::accounts::Accounts;
use crate::registry::Ports;

#[test]
fn a_retry_after_counts_at_every_start_and_a_back_off_at_a_graceful_one() {
    watch_log();
    // Retry-After, graceful, due now
    let rows = [(None, true, false), (None, false, true), (Some("7200"), true, false), (Some("7200"), false, false)];
    for (index, (retry_after, is_restart, due)) in rows.into_iter().enumerate() {
        let name = format!("back{index}.test");
        let server = failed(&name, retry_after);
        assert_eq!(server.ca.count(Operation::NewOrder), 1);
        let renewals = server.run(is_restart);
        assert_eq!(server.ca.count(Operation::NewOrder), if due { 2 } else { 1 }, "{retry_after:?} {is_restart}");
        assert_eq!(logged("AH10064", &name), usize::from(!is_restart));
        if !due {
            assert_eq!(server.staged_job(&name).errors, u32::from(is_restart));
            server.clock.advance(SignedDuration::from_secs(if retry_after.is_some() { 7200 } else { 30 }));
            server.go_on(&renewals);
        }
        assert!(server.staged_job(&name).finished);
    }
}

/// Returns a server whose first certificate is staged.
fn staged(name: &str) -> TestServer {
    let server = TestServer::new(&[name]);
    drop(server.run(false));
    assert!(server.staged_job(name).finished);
    server
}

#[test]
fn a_staged_set_is_activated_and_the_former_one_archived() {
    watch_log();
    let name = "activated.test";
    let server = staged(name);
    let first = server.text(Group::Staging, name, &chain()).unwrap();
    let registry = server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), first);
    assert!(server.text(Group::Domains, name, &key()).unwrap().starts_with("-----BEGIN PRIVATE KEY-----"));
    for group in [Group::Staging, Group::Tmp, Group::Challenges] {
        assert!(server.store.list(group).unwrap().is_empty(), "{group:?}");
    }
    let job = server.job(Group::Domains, name).unwrap();
    let kinds: Vec<_> = job.log.unwrap().entries.into_iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds[..3], ["message-installed", "message-renewed", "finished"]);
    assert!(job.finished);
    let domain = &registry.domains[0];
    assert_eq!((domain.md.state, domain.md.ca.account.as_deref()), (State::Complete, Some(ACCOUNT)));
    assert_eq!(domain.md.ca.url.as_deref(), Some(FakeCa::DIRECTORY));
    assert_eq!(logged("AH10068", name), 1);
    let mut stored: ManagedDomain = server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
    // The place of a directive is not stored.
    stored.contact_source = Arc::clone(&domain.md.contact_source);
    assert_eq!(stored, *domain.md);

    server.clock.advance(hours(24 * 80));
    drop(server.run(true));
    let second = server.text(Group::Staging, name, &chain()).unwrap();
    server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), second);
    assert_eq!(server.text(Group::Archive, &format!("{name}.2"), &chain()).unwrap(), first);
    assert_ne!(first, second);
}

#[test]
fn a_set_that_is_not_complete_stays() {
    let name = "incomplete.test";
    let server = staged(name);
    let text = server.text(Group::Staging, name, &chain()).unwrap();
    for aspect in [chain(), key()] {
        let before = server.store.load(Group::Staging, name, &aspect).unwrap().unwrap();
        server.store.remove(Group::Staging, name, &aspect).unwrap();
        server.start(true);
        assert!(server.store.exists(Group::Staging, name, &Aspect::MdJson), "{aspect:?}");
        assert!(!server.store.exists(Group::Domains, name, &chain()), "{aspect:?}");
        server.store.save(Group::Staging, name, &aspect, &before).unwrap();
    }
    server.start(true);
    assert_eq!(server.text(Group::Domains, name, &chain()).unwrap(), text);
}

#[test]
fn a_wrong_staged_set_is_dropped_and_the_served_one_stays() {
    watch_log();
    let name = DomainName::parse("x.test").unwrap();
    let self_made = |names: &[DomainName], key: &PrivateKey, days| {
        self_signed(key, "x", names, Timestamp::from_second(1_700_000_000).unwrap(), days).unwrap().to_pem()
    };
    type Spoil = fn(&TestServer, &str, &dyn Fn(&[DomainName], &PrivateKey, u32) -> String, &DomainName);
    let rows: [(&str, Spoil); 4] = [
        ("wrong1.test", |server, md, make, _| {
            let other = PrivateKey::generate(&p256()).unwrap();
            server.put(Group::Staging, md, &chain(), &make(&[DomainName::parse(md).unwrap()], &other, 90));
        }),
        ("wrong2.test", |server, md, make, name| {
            let own = server.documents.load_key(Group::Staging, md, &key()).unwrap();
            server.put(Group::Staging, md, &chain(), &make(std::slice::from_ref(name), &own, 90));
        }),
        ("wrong3.test", |server, md, make, _| {
            let own = server.documents.load_key(Group::Staging, md, &key()).unwrap();
            server.clock.advance(hours(48));
            server.put(Group::Staging, md, &chain(), &make(&[DomainName::parse(md).unwrap()], &own, 1));
        }),
        ("wrong4.test", |server, md, _, _| {
            let text = server.text(Group::Staging, md, &chain()).unwrap();
            server.put(Group::Staging, md, &chain(), &text.replacen("MII", "MIJ", 1).repeat(2));
        }),
    ];
    for (md, spoil) in rows {
        let server = staged(md);
        server.start(true);
        let served = server.text(Group::Domains, md, &chain()).unwrap();
        server.clock.advance(hours(24 * 80));
        drop(server.run(true));
        spoil(&server, md, &self_made, &name);
        server.put(Group::Challenges, md, &Aspect::Http01, "left over");
        server.start(true);
        assert_eq!(logged("AH10069", md), 1, "{md}");
        assert!(server.store.list(Group::Staging).unwrap().is_empty(), "{md}");
        assert!(server.store.list(Group::Challenges).unwrap().is_empty(), "{md}");
        assert_eq!(server.text(Group::Domains, md, &chain()).unwrap(), served);
        server.run(true);
        assert!(server.staged_job(md).finished);
    }
}

#[test]
fn a_claimed_set_waits_for_the_next_start() {
    let server = staged("busy.test");
    let claim = server.store.claim("busy.test").unwrap();
    server.start(true);
    assert!(!server.store.exists(Group::Domains, "busy.test", &chain()));
    drop(claim);
    server.start(true);
    assert!(server.store.exists(Group::Domains, "busy.test", &chain()));
}

#[test]
fn a_start_waits_briefly_for_claims() {
    let server = staged("ending.test");
    let claim = server.store.claim("ending.test").unwrap();
    assert!(claim.is_some());
    std::thread::scope(|scope| {
        let start = scope.spawn(|| server.start(true));
        // The worker has sent one request at least.
        let before = server.store.count(Call::Claim, Group::Staging, None);
        while server.store.count(Call::Claim, Group::Staging, None) < before + 2 && !start.is_finished() {
            std::thread::yield_now();
        }
        drop(claim);
        start.join().unwrap();
    });
    assert!(server.store.exists(Group::Domains, "ending.test", &chain()));
}

#[test]
fn settings_are_merged_with_stored_ones() {
    let mut server = TestServer::new(&["merged.test"]);
    server.start(false);
    let text = |server: &TestServer| server.text(Group::Domains, "merged.test", &Aspect::MdJson).unwrap();
    let written = server.store.modified(Group::Domains, "merged.test", &Aspect::MdJson);
    server.start(true);
    assert_eq!(server.store.modified(Group::Domains, "merged.test", &Aspect::MdJson), written, "nothing has changed");

    let mut stored: ManagedDomain = serde_json::from_str(&text(&server)).unwrap();
    stored.contacts = vec!["mailto:old@x.org".to_owned()].into();
    let ca = Arc::make_mut(&mut stored.ca);
    ca.account = Some("ACME-ca.test-0007".to_owned());
    ca.urls.push("https://other.test/dir".to_owned());
    ca.url = Some("https://other.test/dir".to_owned());
    let save = |server: &TestServer| {
        server.documents.save_json(Group::Domains, "merged.test", &Aspect::MdJson, &stored).unwrap()
    };
    let merged = |server: &TestServer| {
        save(server);
        ManagedDomain::clone(&server.start(true).domains[0].md)
    };
    // The CA in use is no longer configured; neither the CA nor its account is kept.
    let md = merged(&server);
    assert_eq!((md.contacts[0].as_str(), md.ca.account.clone()), ("mailto:admin@x.org", None));
    assert_eq!(md.ca.url.as_deref(), Some(FakeCa::DIRECTORY));
    server.declared[0].settings.contact = None;
    server.declared[0].settings.ca_urls = Some(stored.ca.urls.clone());
    let md = merged(&server);
    assert_eq!(
        (md.contacts.to_vec(), md.ca.url.clone(), md.ca.account.clone()),
        (stored.contacts.to_vec(), stored.ca.url.clone(), stored.ca.account.clone())
    );

    // A ServerAdmin that is of no use is an answer of the configuration.
    server.declared[0].settings.contact = Some(Contact::of_server_admin("webmaster@localhost"));
    assert!(merged(&server).contacts.is_empty());
    // What came from ServerAdmin stays known as such.
    server.declared[0].settings.contact = Some(Contact::of_server_admin("admin@intranet"));
    assert_eq!(merged(&server).contacts[..], ["mailto:admin@intranet"]);
    assert!(
        text(&server).contains(r#""contacts-from":"ServerAdmin""#)
            || text(&server).contains(r#""contacts-from": "ServerAdmin""#)
    );
    server.declared[0].settings.contact = None;
    let md = ManagedDomain::clone(&server.start(true).domains[0].md);
    assert_eq!(
        (&md.contacts[..], &*md.contact_source),
        (&["mailto:admin@intranet".to_owned()][..], &ContactSource::ServerAdmin)
    );

    for damage in ["", "{}", "[1]", "{\"name\":\"merged.test\"", "\0"] {
        server.put(Group::Domains, "merged.test", &Aspect::MdJson, damage);
        server.start(true);
        assert_eq!(serde_json::from_str::<ManagedDomain>(&text(&server)).unwrap().name.as_str(), "merged.test");
    }
}

#[test]
fn the_certificates_make_the_state() {
    let name = "state.test";
    let server = TestServer::new(&[name]);
    let now = server.clock.now();
    let own = PrivateKey::generate(&p256()).unwrap();
    let made = |names: &[&str]| {
        let names: Vec<_> = names.iter().map(|name| DomainName::parse(name).unwrap()).collect();
        self_signed(&own, "x", &names, now, 90).unwrap().to_pem()
    };
    server.documents.save_key(Group::Domains, name, &Aspect::PrivateKey(p256()), &own).unwrap();
    let rows = [
        (None, State::Incomplete, "certificate(P-256) is missing"),
        (Some(String::new()), State::Incomplete, "certificate(P-256) is missing"),
        (Some("x".repeat(1023)), State::Incomplete, "certificate(P-256) is missing"),
        (Some("x".repeat(1024)), State::Error, "error initializing"),
        (Some("-----BEGIN CERTIFICATE-----\nAAAA\n".to_owned()), State::Error, "error initializing"),
        (Some(made(&["other.test"])), State::Incomplete, "certificate(P-256) does not cover all domains."),
        (Some(made(&[name])), State::Complete, ""),
        (Some(made(&["*.test"])), State::Complete, ""),
    ];
    for (text, state, descr) in rows {
        match &text {
            Some(text) => server.put(Group::Domains, name, &chain(), text),
            None => server.store.remove(Group::Domains, name, &chain()).unwrap(),
        }
        let registry = server.start(true);
        let domain = &registry.domains[0];
        assert_eq!((domain.md.state, domain.md.state_descr.as_deref().unwrap_or_default()), (state, descr), "{text:?}");
        let due = domain.renew_at(&Advice::default(), now) <= now;
        assert_eq!(due, state != State::Complete);
        let stored: ManagedDomain = server.documents.load_json(Group::Domains, name, &Aspect::MdJson).unwrap();
        assert_eq!(stored.state, state);
    }
    server.clock.advance(hours(24 * 91));
    let registry = server.start(true);
    assert_eq!(registry.domains[0].md.state, State::Complete, "also when it has expired");
    assert!(registry.domains[0].renew_at(&Advice::default(), server.clock.now()) <= server.clock.now());
}

#[test]
fn challenge_data_of_unknown_names_is_removed_at_a_start() {
    let mut server = TestServer::new(&["own.test"]);
    server.declared[0].names.push(DomainName::parse("alias.test").unwrap());
    for name in ["own.test", "alias.test", "stranger.test"] {
        server.put(Group::Challenges, name, &Aspect::Http01, "data");
    }
    server.start(false);
    assert_eq!(server.store.list(Group::Challenges).unwrap(), ["alias.test", "own.test"]);
}

#[test]
fn a_read_only_start_changes_nothing() {
    let server = staged("readonly.test");
    let start = Start {
        declared: server.declared.clone(),
        main: Settings::default(),
        globals: server.globals.clone(),
        hosts: server.hosts.clone(),
        is_restart: true,
        read_only: true,
        patience: crate::documents::CLAIM_PATIENCE,
        counts: None,
    };
    let setup = Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap();
    let registry = setup.finish(|_| true, &Ports::default()).unwrap();
    assert!(!registry.domains[0].watched);
    assert!(server.staged_job("readonly.test").finished);
    assert!(!server.store.exists(Group::Domains, "readonly.test", &chain()));
}

#[test]
fn domains_without_a_host_are_not_renewed_unless_always() {
    let mut server = TestServer::new(&["a.test", "b.test", "c.test"]);
    server.hosts = vec![host("c.test")];
    server.declared[1].settings.renew_mode = Some(RenewMode::Always);
    server.declared[2].settings.renew_mode = Some(RenewMode::Manual);
    let registry = server.start(false);
    let watched: Vec<_> = registry.domains.iter().map(|domain| (domain.watched, domain.renewable())).collect();
    assert_eq!(watched, [(false, false), (true, true), (true, false)]);
    drop(server.run(false));
    assert_eq!(server.store.list(Group::Staging).unwrap(), ["b.test"]);
}

#[test]
fn a_tls_host_with_two_domains_stops_a_start_but_not_a_restart() {
    let mut server = TestServer::new(&["d.test", "e.test"]);
    server.hosts = vec![Host { aliases: vec![DomainName::parse("e.test").unwrap()], ..host("d.test") }];
    for (is_restart, ok) in [(false, false), (true, true)] {
        let start = Start {
            declared: server.declared.clone(),
            main: Settings::default(),
            globals: server.globals.clone(),
            hosts: server.hosts.clone(),
            is_restart,
            read_only: false,
            patience: crate::documents::CLAIM_PATIENCE,
            counts: None,
        };
        let setup = Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap();
        assert_eq!(setup.domain_of(0).is_some(), ok);
        assert_eq!(setup.finish(|_| true, &Ports::default()).is_ok(), ok);
    }
}

#[test]
fn two_domains_with_a_name_in_common_stop_a_start_but_not_a_restart() {
    let main = Settings::default();
    let globals = Globals::default();
    let all = [declared(&["f.test", "g.test"]), declared(&["h.test", "g.test"])];
    assert!(configured(&all, &main, &globals, false).is_err());
    let left = configured(&all, &main, &globals, true).unwrap().domains;
    let names = |md: &ManagedDomain| md.domains.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(left.iter().map(names).collect::<Vec<_>>(), [vec!["f.test", "g.test"], vec!["h.test"]]);
}

#[test]
fn two_domains_of_one_name_share_no_directory_when_matched_by_server_name() {
    let globals = Globals { match_names: MatchNames::ServerNames, ..Globals::default() };
    let main = Settings::default();
    let names = |md: &ManagedDomain| md.domains.iter().map(ToString::to_string).collect::<Vec<_>>();
    // Names other than the first may be shared.
    let all = [declared(&["i.test", "j.test"]), declared(&["k.test", "j.test"])];
    assert_eq!(configured(&all, &main, &globals, false).unwrap().domains.len(), 2);
    let all = [declared(&["i.test", "j.test"]), declared(&["i.test", "j.test"]), declared(&["i.test"])];
    assert!(configured(&all, &main, &globals, false).is_err());
    let left = configured(&all, &main, &globals, true).unwrap().domains;
    assert_eq!(left.iter().map(names).collect::<Vec<_>>(), [vec!["i.test", "j.test"], vec!["j.test"]]);
    assert_eq!(left[1].name.as_str(), "j.test");
}

/// Stages a self-signed certificate for the staged key, valid from this number of minutes after now. Returns its PEM.
fn stage_early(server: &TestServer, name: &str, minutes: i64) -> String {
    let own = server.documents.load_key(Group::Staging, name, &key()).unwrap();
    let from = server.clock.now() + SignedDuration::from_mins(minutes);
    let text = self_signed(&own, "x", &[DomainName::parse(name).unwrap()], from, 90).unwrap().to_pem();
    server.put(Group::Staging, name, &chain(), &text);
    text
}

#[test]
fn a_certificate_that_is_not_valid_yet_does_not_replace_one_that_is() {
    let name = "early.test";
    let server = staged(name);
    let live = |server: &TestServer| server.text(Group::Domains, name, &chain()).unwrap();
    // A set that is not valid yet is better than none.
    let first = stage_early(&server, name, 60);
    server.start(true);
    assert_eq!(live(&server), first);

    server.clock.advance(hours(24 * 80));
    drop(server.run(true));
    let second = stage_early(&server, name, 10);
    server.start(true);
    assert_eq!(live(&server), first);
    assert!(server.staged_job(name).finished, "it waits");
    server.clock.advance(SignedDuration::from_mins(5));
    server.start(true);
    assert_eq!(live(&server), second, "soon enough");

    // The served certificate has expired.
    server.clock.advance(hours(24 * 91));
    drop(server.run(true));
    let third = stage_early(&server, name, 60);
    server.start(true);
    assert_eq!(live(&server), third);
}

#[test]
fn an_activation_that_cannot_clean_up_is_an_activation() {
    watch_log();
    let name = "unclean.test";
    let server = staged(name);
    server.store.refuse(Call::Remove, Group::Challenges);
    server.start(true);
    assert!(server.store.exists(Group::Domains, name, &chain()));
    assert_eq!((logged("AH10068", name), logged("AH10069", name)), (1, 0));
}

#[test]
fn placeholders_are_made_once_and_anew_when_they_expire() {
    let server = TestServer::new(&["fallback.test"]);
    let setup = || {
        let start = Start {
            declared: server.declared.clone(),
            main: Settings::default(),
            globals: server.globals.clone(),
            hosts: server.hosts.clone(),
            is_restart: true,
            read_only: false,
            patience: crate::documents::CLAIM_PATIENCE,
            counts: None,
        };
        Setup::begin(start, Arc::clone(&server.documents), Arc::clone(&server.clock) as _).unwrap()
    };
    let made = || {
        let setup = setup();
        setup.ensure_placeholder(setup.domain_of(0).unwrap()).unwrap();
        server.text(Group::Domains, "fallback.test", &Aspect::Fallback(p256())).unwrap()
    };
    let first = made();
    assert_eq!(made(), first);
    let leaf = Chain::from_pem(first.as_bytes()).unwrap();
    assert_eq!(leaf.leaf().names(), ["fallback.test"]);
    server.clock.advance(hours(24 * 15));
    assert_ne!(made(), first);
    assert!(setup().usable(setup().domain_of(0).unwrap()).is_empty());
}

#[test]
fn records_of_an_interrupted_order_are_removed_with_it() {
    let server = staged("setups.test");
    let order = OrderRecord {
        url: Some("https://ca.test/order/0".to_owned()),
        challenge_setups: vec!["http-01:other.test".to_owned(), "foo-99:x".to_owned()],
        ..OrderRecord::default()
    };
    server.documents.save_json(Group::Staging, "setups.test", &Aspect::OrderJson, &order).unwrap();
    server.put(Group::Challenges, "other.test", &Aspect::Http01, "data");
    server.start(true);
    assert!(server.store.exists(Group::Domains, "setups.test", &chain()));
    assert!(server.store.list(Group::Challenges).unwrap().is_empty());
}

/// Files with a certificate for the name, as an administrator configures them: chain and key.
fn own_files(directory: &std::path::Path, name: &str) -> (String, String) {
    let key = PrivateKey::generate(&p256()).unwrap();
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let chain = self_signed(&key, name, &[DomainName::parse(name).unwrap()], now, 90).unwrap();
    let path = |end: &str| directory.join(format!("{name}.{end}")).to_str().unwrap().to_owned();
    std::fs::write(path("pem"), chain.to_pem()).unwrap();
    std::fs::write(path("key"), key.to_pem().unwrap()).unwrap();
    (path("pem"), path("key"))
}

fn with_files(server: &mut TestServer, chain: &str, key: &str, mode: RenewMode) {
    let own = &mut server.declared[0].settings;
    (own.cert_files, own.key_files) = (vec![chain.to_owned()], vec![key.to_owned()]);
    own.renew_mode = Some(mode);
}

#[test]
fn files_of_the_administrator_are_served_and_not_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = own_files(directory.path(), "own.test");
    let mut server = TestServer::new(&["own.test"]);
    with_files(&mut server, &chain, &key, RenewMode::Auto);
    let registry = server.start(false);
    let domain = &registry.domains[0];
    assert_eq!((domain.md.renew_mode, domain.renewable(), domain.watched), (RenewMode::Manual, false, true));
    assert_eq!((domain.md.state, domain.at_start.certificates.len()), (State::Complete, 1));
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now() + hours(24 * 50));

    let states =
        [("missing.pem", State::Incomplete, "certificate(0) is missing"), (key.as_str(), State::Incomplete, "")];
    for (file, state, reason) in states {
        with_files(&mut server, file, &key, RenewMode::Auto);
        let md = Arc::clone(&server.start(true).domains[0].md);
        assert!(md.state == state && md.state_descr.as_ref().unwrap().contains(reason), "{:?}", md.state_descr);
    }
}

#[test]
fn a_standby_certificate_is_renewed_behind_files_of_the_administrator_with_mode_always() {
    let directory = tempfile::tempdir().unwrap();
    let (chain, key) = own_files(directory.path(), "ready.test");
    let mut server = TestServer::new(&["ready.test"]);
    with_files(&mut server, &chain, &key, RenewMode::Always);
    // The file expires soon, but the certificate in the store, which is renewed, is not served.
    server.clock.advance(hours(24 * 89));
    drop(server.run(false));
    let renewals = server.run(true);
    assert!(server.store.exists(Group::Domains, "ready.test", &super::chain()));
    server.go_on(&renewals);
    drop(renewals);
    let orders = server.ca.count(Operation::NewOrder);
    drop(server.run(true));
    assert_eq!(server.ca.count(Operation::NewOrder), orders);
    let registry = server.start(true);
    let domain = &registry.domains[0];
    assert!(domain.renew_at(&Advice::default(), server.clock.now()) > server.clock.now());
    assert_ne!(domain.at_start, **domain.standby.as_ref().unwrap());
}

#[test]
fn settings_that_contradict_each_other_stop_a_start_and_put_a_domain_out_of_service_at_a_restart() {
    watch_log();
    let contradicting = |name: &str, certs: usize, keys: usize, protocol: Option<&str>| {
        let mut declared = declared(&[name]);
        declared.settings.cert_files = vec!["c".to_owned(); certs];
        declared.settings.key_files = vec!["k".to_owned(); keys];
        declared.settings.protocol = protocol.map(Into::into);
        declared
    };
    let rows = [
        ("AH10170", contradicting("fewer-keys.test", 2, 1, None)),
        ("AH10170", contradicting("no-keys.test", 1, 0, None)),
        ("AH10171", contradicting("no-certs.test", 0, 1, None)),
        ("AH10172", contradicting("protocol.test", 0, 0, Some("acme"))),
        // All of them have the URL of a directory.
        ("MD0048", contradicting("authority.test", 0, 0, Some("tailscale"))),
    ];
    let main = Settings::default();
    let globals = Globals::default();
    for (number, bad) in rows {
        let name = bad.names[0].clone();
        let all = [bad, declared(&["good.test"])];
        assert!(configured(&all, &main, &globals, false).is_err());
        assert_eq!(logged(number, name.as_str()), 1, "{name}");
        let mut server = TestServer::new(&["good.test"]);
        server.declared = all.to_vec();
        server.hosts.push(host(name.as_str()));
        let registry = server.start(true);
        let watched: Vec<_> = registry.domains.iter().map(|domain| domain.watched).collect();
        assert_eq!(watched, [false, true]);
        assert!(!registry.domains[0].md.is_static());
        assert!(!server.store.exists(Group::Domains, name.as_str(), &Aspect::MdJson));
    }
}

#[test]
fn contacts_that_no_ca_can_use_are_warned_of_once_per_directive() {
    watch_log();
    let at =
        |line, address: &str| Some(Contact::of_directive(address, Origin { file: "/contacts.conf".to_owned(), line }));
    let mut server = TestServer::new(&["c1.test", "c2.test", "c3.test", "c4.test"]);
    server.declared[0].settings.contact = at(1, "nobody");
    server.declared[1].settings.contact = at(1, "nobody");
    server.declared[2].settings.contact = at(2, "good@x.org");
    server.declared[3].settings.contact = None;
    server.hosts[2].contact = at(3, "root@localhost");
    server.hosts[3].admin = Some("webmaster@localhost".to_owned());
    let registry = server.start(false);
    let told = |words: &str| logged("MD0070", words);
    assert_eq!(told("MDContactEmail 'mailto:nobody' in /contacts.conf:1: missing '@' in mail address; a CA may"), 1);
    assert_eq!(told("MDContactEmail 'mailto:root@localhost' in /contacts.conf:3: an address of this machine only;"), 1);
    assert_eq!(told("/contacts.conf"), 2);
    assert!(registry.domains[3].md.contacts.is_empty());
    let domains = configured(&server.declared, &Settings::default(), &Globals::default(), false).unwrap().domains;
    check(domains, &server.hosts, &Globals::default(), || None, &Ports::default()).unwrap();
    assert_eq!(told("/contacts.conf"), 4, "httpd -t says the same");
}

#[test]
fn what_keeps_each_renewal_from_success_is_said_by_a_start_and_by_a_test_of_the_configuration() {
    watch_log();
    let names = ["terms.keeps.test", "type.keeps.test", "ports.keeps.test", "manual.keeps.test"];
    let mut server = TestServer::new(&names);
    let says = |url: &str| Some(vec![format!("https://{url}.keeps.test/dir")]);
    for (declared, ca) in server.declared.iter_mut().zip(["one", "one", "two", "three"]) {
        declared.settings.ca_urls = says(ca);
        declared.settings.agreement = None;
    }
    server.declared[0].settings.ca_file = Some("/keeps/ca.pem".to_owned());
    server.declared[1].settings.challenges = Some(vec!["http-02".to_owned(), "http-01".to_owned()]);
    server.declared[2].settings.agreement = Some("accepted".to_owned());
    server.declared[3].settings.renew_mode = Some(RenewMode::Manual);
    let rows = [
        (
            "MD0092",
            "MDCertificateAgreement is missing for terms.keeps.test (2 domains): the CA at https://one.keeps.test/dir ",
        ),
        (
            "MD0093",
            "MDCAChallenges: 'http-02' is no type of challenges and is passed over, for type.keeps.test (1 domains); known are tls",
        ),
        ("MD0094", "MDCACertificateFile /keeps/ca.pem: the file does not exist"),
        ("AH10173", "ports.keeps.test: cannot be renewed: "),
    ];
    let domains = || configured(&server.declared, &Settings::default(), &Globals::default(), false).unwrap().domains;
    let check = |accounts: Option<Accounts>, http| {
        check(domains(), &server.hosts, &Globals::default(), || accounts, &Reachability { http, https: false }.into())
            .unwrap();
    };
    check(Some(Accounts::default()), false);
    for (number, words) in rows {
        assert_eq!(logged(number, words), 1, "{number}");
    }
    assert!(rows.iter().all(|(number, _)| logged(number, "manual.keeps.test") == 0));
    check(None, true);
    let again = rows.map(|(number, words)| logged(number, words));
    assert_eq!(again, [1, 2, 2, 1], "accounts are not known, and port 80 is open");
    let account = r#"{"status":"valid","url":"https://one.keeps.test/1","ca-url":"https://one.keeps.test/dir"}"#;
    server.put(Group::Accounts, "ACME-one.keeps.test-0000", &Aspect::AccountJson, account);
    check(Some(Accounts::read(&server.documents).unwrap()), true);
    assert_eq!(logged("MD0092", ""), 1, "who has an account has agreed");
}

#[test]
fn an_agreement_in_other_words_counts_and_is_warned_of_once() {
    watch_log();
    let mut server = TestServer::new(&["a.agree.test", "b.agree.test", "c.agree.test", "d.agree.test", "e.agree.test"]);
    let words = ["agree-yes", "agree-yes", "Accepted", "accepted", "https://agree.test/terms"];
    for (declared, word) in server.declared.iter_mut().zip(words) {
        declared.settings.agreement = Some(word.to_owned());
    }
    drop(server.run(false));
    assert!(server.staged_job("a.agree.test").finished, "it counts, as with the C module");
    assert_eq!(logged("MD0100", "'agree-yes' is neither 'accepted' nor a URL"), 1);
    assert_eq!(logged("MD0100", "for a.agree.test (2 domains)"), 1);
    assert_eq!(logged("MD0100", "'Accepted' is neither"), 1);
    assert_eq!(logged("MD0100", ""), 2);
}

#[test]
fn names_that_make_orders_fail_are_warned_of_once_per_domain() {
    watch_log();
    let names: Vec<String> = (0..101).map(|number| format!("n{number}.many.example.org")).collect();
    let mut server = TestServer::new(&["ok.example.org"]);
    server.declared.push(declared(&names.iter().map(String::as_str).collect::<Vec<_>>()));
    server.declared.push(declared(&["ok.example.com", "private.local", "10.1.2.3"]));
    server.declared.push(declared(&["nobody-asks.local"]));
    server.declared[3].settings.renew_mode = Some(RenewMode::Manual);
    server.declared[2].settings.ca_urls = Some(vec![crate::model::DEFAULT_CA.to_owned()]);
    server.declared.push(declared(&["private-ca.local", "a_b.local"]));
    server.declared.push(declared(&["www..wrong.test", "a!b.wrong.test", "a.*.wrong.test", "*.right.test"]));
    server.declared[2].settings.require_https = Some(Some(crate::model::RequireHttps::Permanent));
    server.start(false);
    assert_eq!(logged("MD0005", "n0.many.example.org: has 101 names"), 1);
    assert_eq!(
        logged(
            "MD0006",
            "ok.example.com: has names for which no public CA issues certificates: private.local (a reserved name), 10.1.2.3 ("
        ),
        1
    );
    assert_eq!(logged("MD0006", "nobody-asks"), 0);
    assert_eq!(logged("MD0006", "private-ca.local"), 0, "a CA of one's own certifies them");
    let wrong = "www..wrong.test (two dots in a row), a!b.wrong.test (other characters than letters, digits and hyphens), \
                 a.*.wrong.test (a '*' that is not the whole first part); correct";
    assert_eq!(logged("MD0104", wrong), 1);
    assert_eq!(logged("MD0104", ""), 1);
    assert_eq!(logged("AH10105", "ok.example.com"), 1);
}

#[test]
fn a_start_without_the_store_lock_reads_incomplete_sets_again() {
    let name = "kept.out.test";
    let mut server = TestServer::new(&[name]);
    drop(server.run(false));
    drop(server.start(true));
    // Another start is about to activate the set.
    server.store.rename((Group::Domains, name), (Group::Tmp, name)).unwrap();
    server.globals.store_locks = Some(std::time::Duration::ZERO);
    server.store.refuse(Call::Lock, Group::Domains);
    let claim = server.store.claim(name).unwrap();
    let reads = || server.store.count(Call::Load, Group::Domains, Some(&Aspect::Chain(p256())));
    let before = reads();
    let store = &server.store;
    let registry = std::thread::scope(|scope| {
        scope.spawn(move || {
            while reads() == before {
                std::thread::yield_now();
            }
            store.rename((Group::Tmp, name), (Group::Domains, name)).unwrap();
            drop(claim);
        });
        server.start(true)
    });
    assert_eq!(registry.domains[0].at_start.state, Some(State::Complete));
    assert_eq!(registry.domains[0].md.ca.account.as_deref(), Some(ACCOUNT));
}
