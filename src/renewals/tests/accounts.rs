//! Tests of accounts that all domains share.

use super::*;
use crate::accounts::Accounts;
use crate::acme::AccountScope;

#[test]
fn fifty_domains_make_one_account() {
    let names: Vec<String> = (0..50).map(|n| format!("n{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let server = TestServer::without_account(&names);
    let renewals = server.renewals(false);
    work_side_by_side(&server, &renewals, &names);
    assert_eq!((server.ca.accounts(), server.ca.count(Operation::NewAccount)), (1, 1));
    server.ca.check();
    let staged = |name: &&&str| server.store.exists(Group::Staging, name, &Aspect::AccountJson);
    assert_eq!(names.iter().filter(staged).count(), 1);
    drop(renewals);
    let registry = server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT]);
    assert!(server.store.list(Group::Staging).unwrap().is_empty());
    assert!(registry.domains.iter().all(|domain| domain.md.ca.account.as_deref() == Some(ACCOUNT)));
}

#[test]
fn accounts_move_to_their_place_once() {
    let server = TestServer::without_account(&["account.test"]);
    server.ca.fail(Operation::NewOrder, Fault::Drop);
    drop(server.run(false));
    let staged: AccountRecord =
        server.documents.load_json(Group::Staging, "account.test", &Aspect::AccountJson).unwrap();
    let pem = server.text(Group::Staging, "account.test", &Aspect::AccountKey).unwrap();
    assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
    let claim = server.store.claim("account.test").unwrap();
    server.start(true);
    assert!(server.store.list(Group::Accounts).unwrap().is_empty(), "somebody works with it");
    drop(claim);
    server.start(true);
    let moved: AccountRecord = server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
    assert_eq!(moved, staged);
    assert!(server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).is_some());
    assert!(!server.store.exists(Group::Staging, "account.test", &Aspect::AccountKey));
    // The state after a crash between the copy and the removal.
    server.documents.save_json(Group::Staging, "account.test", &Aspect::AccountJson, &staged).unwrap();
    server.put(Group::Staging, "account.test", &Aspect::AccountKey, &pem);
    server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT]);
    drop(server.run(false));
    assert_eq!(server.ca.accounts(), 1);
    server.start(true);
    let md: ManagedDomain = server.documents.load_json(Group::Domains, "account.test", &Aspect::MdJson).unwrap();
    assert_eq!(md.ca.account.as_deref(), Some(ACCOUNT));
}

/// Puts an account with the URL of the one in `accounts/` into `staging/`, and starts the server. Returns the ids after that.
fn staged_again(server: &TestServer, name: &str, key: &[u8]) -> Vec<String> {
    let known: AccountRecord = server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
    server.store.plant(Group::Staging, name, &Aspect::AccountKey, key);
    server.documents.save_json(Group::Staging, name, &Aspect::AccountJson, &known).unwrap();
    server.start(true);
    server.store.list(Group::Accounts).unwrap()
}

#[test]
fn an_account_never_gets_another_key_from_staging() {
    watch_log();
    let name = "again.accounts.test";
    let server = TestServer::new(&[name]);
    let pem = |id: &str| server.text(Group::Accounts, id, &Aspect::AccountKey).unwrap();
    let known = pem(ACCOUNT);
    let key = PrivateKey::generate(&p256()).unwrap();
    // Planted by anything that runs as the server's user.
    assert_eq!(staged_again(&server, name, &key.to_pem().unwrap()), [ACCOUNT]);
    assert_eq!((pem(ACCOUNT) == known, logged("MD0028", name)), (true, 1));
    // A key that is known already is nothing new, however the account is called.
    assert_eq!(staged_again(&server, name, known.as_bytes()), [ACCOUNT]);
    // A CA that has lost its accounts gives the URL to a new one, which is used first.
    let sealed = key.to_encrypted_pem(server.store.secret().as_bytes()).unwrap();
    let ids = staged_again(&server, name, &sealed);
    assert_eq!((ids.len(), pem(ACCOUNT) == known), (2, true));
    let added = server.documents.load_key(Group::Accounts, &ids[1], &Aspect::AccountKey).unwrap();
    assert!(added.is_same(&key));
    let scope = AccountScope { ca_url: FakeCa::DIRECTORY.to_owned(), eab: None };
    assert_eq!(Accounts::read(&server.documents).unwrap().id_for(&scope), Some(&*ids[1]));
    assert!(!server.store.exists(Group::Staging, name, &Aspect::AccountKey));
}

#[test]
fn accounts_are_read_once_for_many_domains() {
    let names: Vec<String> = (0..20).map(|n| format!("m{n}.test")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let asked = |names: &[&str]| {
        let server = TestServer::new(names);
        drop(server.run(false));
        server.start(true);
        assert!(names.iter().all(|name| server.store.exists(Group::Domains, name, &chain())));
        let disk = &server.store;
        assert_eq!(disk.count(Call::Load, Group::Accounts, Some(&Aspect::AccountKey)), 1);
        let lists = [Group::Accounts, Group::Staging].map(|group| disk.count(Call::List, group, None));
        (lists, disk.count(Call::Load, Group::Accounts, None))
    };
    assert_eq!(asked(&names), asked(&names[..1]));
}

#[test]
fn an_account_that_cannot_be_moved_is_used_from_staging() {
    type Spoil = fn(&TestServer);
    let rows: [Spoil; 5] = [
        |server| server.store.refuse(Call::Write, Group::Accounts),
        |server| server.store.refuse(Call::List, Group::Accounts),
        |server| {
            for n in 0..1000 {
                server.put(Group::Accounts, &format!("ACME-ca.test-{n:04}"), &Aspect::AccountJson, "{}");
            }
        },
        |server| {
            let text = server.text(Group::Staging, "stuck.test", &Aspect::AccountKey).unwrap();
            server.put(Group::Staging, "stuck.test", &Aspect::AccountKey, &text.replacen("MII", "MIJ", 1));
        },
        // The set is dropped.
        |server| {
            server.store.refuse(Call::Write, Group::Accounts);
            server.put(Group::Staging, "stuck.test", &key(), "no key");
        },
    ];
    for (index, spoil) in rows.into_iter().enumerate() {
        let server = TestServer::without_account(&["stuck.test"]);
        drop(server.run(false));
        spoil(&server);
        let files = [Aspect::AccountJson, Aspect::AccountKey];
        let before = files.clone().map(|aspect| server.text(Group::Staging, "stuck.test", &aspect).unwrap());
        server.start(true);
        assert_eq!(server.store.exists(Group::Domains, "stuck.test", &chain()), index != 4, "{index}");
        let after = files.map(|aspect| server.text(Group::Staging, "stuck.test", &aspect).unwrap());
        assert_eq!(after, before, "{index}");
        for aspect in [Aspect::MdJson, Aspect::JobJson, Aspect::OrderJson, key(), chain()] {
            assert!(!server.store.exists(Group::Staging, "stuck.test", &aspect), "{index} {aspect:?}");
        }
        server.store.recover();
        if index != 3 {
            // Time for the next certificate, with the same account.
            server.clock.advance(hours(24 * 80));
            drop(server.run(true));
            assert!(server.staged_job("stuck.test").finished);
            assert_eq!(server.ca.accounts(), 1, "{index}");
        }
    }
}

#[test]
fn a_lost_account_is_replaced_once_for_all_domains() {
    let server = TestServer::new(&["lost1.test", "lost2.test"]);
    server.ca.set_accounts("gone");
    drop(server.run(false));
    assert!(server.staged_job("lost1.test").finished && server.staged_job("lost2.test").finished);
    assert_eq!(server.ca.accounts(), 2);
    let registry = server.start(true);
    assert_eq!(server.store.list(Group::Accounts).unwrap(), [ACCOUNT, "ACME-ca.test-0001"]);
    assert!(registry.domains.iter().all(|domain| domain.md.ca.account.as_deref() == Some("ACME-ca.test-0001")));
}

#[test]
fn the_message_for_another_account_names_the_one_that_is_given_up_and_why() {
    watch_log();
    let server = TestServer::new(&["told1.test", "told2.test"]);
    let says = |detail: &str| Fault::Answer(problem(403, "unauthorized", detail));
    server.ca.fail(Operation::Account, says("told.test is deactivated"));
    let renewals = server.run(false);
    let in_place = "in place of https://ca.test/account/0, which is given up (the CA says 'told.test is deactivated \
                    <urn:ietf:params:acme:error:unauthorized>'): CAA records";
    assert_eq!(logged("MD0023", &format!("registered new account https://ca.test/account/1 {in_place}")), 1);
    drop(renewals);

    let server = TestServer::new(&["told3.test"]);
    let key = PrivateKey::generate(&p256()).unwrap();
    let newer = server.ca.add_account(&key);
    let record = format!(r#"{{"status":"valid","url":"{newer}","ca-url":"{}"}}"#, FakeCa::DIRECTORY);
    server.put(Group::Accounts, "ACME-ca.test-0001", &Aspect::AccountJson, &record);
    server.documents.save_key(Group::Accounts, "ACME-ca.test-0001", &Aspect::AccountKey, &key).unwrap();
    server.ca.fail(Operation::Account, says("told3.test is revoked"));
    drop(server.run(false));
    let in_place = "account https://ca.test/account/0 is used in place of https://ca.test/account/1, which is given up (the CA says \
                    'told3.test is revoked ";
    assert_eq!((logged("MD0023", in_place), server.ca.count(Operation::NewAccount)), (1, 0));
}
