//! Accounts of a run: found, registered, lost.

use serde_json::{Value, json};

use super::*;

#[test]
fn a_crash_right_after_the_registration_makes_no_second_account() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.fail(Operation::NewAccount, Fault::DropAnswer);
    scene.run().unwrap_err();
    assert_eq!((scene.ca.accounts(), scene.book.0.lock().unwrap().accounts.len()), (1, 0));
    scene.succeeds();
    assert_eq!((scene.ca.accounts(), scene.ca.count(Operation::NewAccount)), (1, 2));
}

#[test]
fn an_account_that_the_ca_lost_is_replaced_in_the_same_run() {
    for status in ["gone", "deactivated", "revoked"] {
        let scene = world_for(Operation::Account);
        scene.ca.set_accounts(status);
        scene.succeeds();
        assert_eq!((scene.ca.accounts(), scene.book.0.lock().unwrap().accounts.len()), (2, 1), "{status}");
    }
    let deactivated: fn(&mut Response) = |answer| answer.body = br#"{"status":"deactivated"}"#.to_vec();
    let scene = world_for(Operation::Account);
    scene.ca.fail(Operation::Account, Fault::Alter(deactivated));
    scene.ca.set_accounts("valid");
    scene.run().unwrap();
}

#[test]
fn the_key_of_a_registration_whose_account_has_ended_is_not_used_again() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.fail(Operation::NewAccount, Fault::DropAnswer);
    scene.run().unwrap_err();
    refuse_inactive(&scene.ca, "an account with this key exists but is deactivated");
    let err = scene.run().unwrap_err();
    assert!(err.is("unauthorized") && !err.is_permanent(), "{err}");
    scene.succeeds();
    assert_eq!((scene.ca.accounts(), scene.ca.count(Operation::NewAccount)), (2, 3));
}

/// How the CA answers requests of an account, and whether the account is lost by that.
type Row = (&'static str, fn(&FakeCa), bool);

#[test]
fn an_account_is_given_up_only_if_the_ca_says_that_it_has_none() {
    let rows: [Row; 14] = [
        ("no such account", |ca| ca.set_accounts("gone"), true),
        ("found by its key as deactivated", |ca| ca.set_accounts("deactivated"), true),
        ("found by its key as revoked", |ca| ca.set_accounts("revoked"), true),
        // Boulder.
        ("deactivated", |ca| refuse_inactive(ca, "Account is not valid, has status \"deactivated\""), true),
        // Pebble.
        ("deactivated", |ca| refuse_inactive(ca, "Account has been deactivated"), true),
        ("revoked", |ca| refuse_inactive(ca, "The account is REVOKED."), true),
        // Smallstep, and with it Caddy.
        ("not active", |ca| refuse_inactive(ca, "account is not active"), true),
        ("refused without saying why", |ca| refuse_inactive(ca, "no"), false),
        // Boulder, for some seconds after a change of keys.
        ("bad signature", |ca| refuse(ca, problem(400, "malformed", "JWS verification error")), false),
        ("another key", |ca| refuse(ca, problem(403, "unauthorized", "signed by another key")), false),
        ("not found", |ca| refuse(ca, problem(404, "malformed", "not found")), false),
        ("HTTP status 401", |ca| refuse(ca, answer(401, "text/html", "no")), false),
        ("HTTP status 403", |ca| refuse(ca, answer(403, "text/html", "no")), false),
        ("HTTP status 404", |ca| refuse(ca, answer(404, "text/html", "no")), false),
    ];
    for (what, prepare, is_lost) in rows {
        let scene = world_for(Operation::Account);
        prepare(&scene.ca);
        let run = scene.run();
        let accounts = (scene.ca.accounts(), scene.book.0.lock().unwrap().accounts.len());
        if is_lost {
            run.unwrap();
            assert_eq!(accounts, (2, 1), "{what}");
            continue;
        }
        let err = run.unwrap_err();
        assert!(!err.is_permanent(), "{what}: {err}");
        assert!(err.to_string().starts_with("the CA refuses requests of account https://ca.test/account/0: "), "{err}");
        assert_eq!((accounts, scene.ca.count(Operation::NewOrder)), ((1, 1), 0), "{what}");
        scene.ca.recover();
        scene.ca.set_accounts("valid");
        scene.succeeds();
        assert_eq!(scene.ca.accounts(), 1, "{what}");
    }
}

fn refuse(ca: &FakeCa, response: Response) {
    ca.fail_times(Operation::Account, 9, Fault::Answer(response));
}

fn refuse_inactive(ca: &FakeCa, detail: &'static str) {
    ca.set_accounts("deactivated");
    ca.behave(|ca| (ca.inactive, ca.refuses_inactive_keys) = (detail, true));
}

#[test]
fn an_order_of_a_lost_account_is_replaced_too() {
    let scene = world_for(Operation::Account);
    scene.ca.fail(Operation::Finalize, Fault::Drop);
    scene.run().unwrap_err();
    scene.ca.set_accounts("gone");
    scene.succeeds();
    assert_eq!((scene.ca.accounts(), scene.ca.ordered().len()), (2, 2));
}

#[test]
fn somebody_else_at_the_accounts_is_waited_for() {
    let scene = Scene::new(&["x.org"]);
    scene.book.0.lock().unwrap().busy = true;
    assert!(scene.steps(20).is_none());
    assert_eq!(scene.ca.count(Operation::NewAccount), 0);
    scene.book.0.lock().unwrap().busy = false;
    scene.succeeds();
}

#[test]
fn an_account_without_a_status_counts_as_valid() {
    let bare: fn(&mut Response) = |answer| answer.body = b"{}".to_vec();
    let scene = Scene::new(&["x.org"]);
    scene.ca.fail(Operation::NewAccount, Fault::Alter(bare));
    scene.succeeds();
    assert!(scene.book.0.lock().unwrap().accounts[0].0.is_for(&scene.wanted.scope));
    let scene = world_for(Operation::Account);
    scene.ca.fail(Operation::Account, Fault::Alter(bare));
    scene.succeeds();
    assert_eq!(scene.ca.accounts(), 1);
}

#[test]
fn an_account_that_is_there_needs_no_claim() {
    let scene = world_for(Operation::Account);
    scene.book.0.lock().unwrap().busy = true;
    scene.succeeds();
    assert_eq!((scene.ca.accounts(), scene.ca.count(Operation::NewAccount)), (1, 0));
}

/// A book that gives out a claim and at the same time turns out to have an account.
struct Late(MemoryBook, (AccountRecord, PrivateKey));

impl AccountBook for Late {
    fn claim(&self, _: &AccountScope) -> Result<Option<AccountClaim>, PortError> {
        self.0.0.lock().unwrap().accounts.push(self.1.clone());
        Ok(Some(Box::new(())))
    }

    fn find(&self, scope: &AccountScope) -> Option<(AccountRecord, PrivateKey)> {
        self.0.find(scope)
    }

    fn draft_key(&self, _: &AccountScope) -> Result<PrivateKey, PortError> {
        unreachable!()
    }

    fn drop_draft_key(&self, _: &AccountScope) -> Result<(), PortError> {
        unreachable!()
    }

    fn add(&self, _: &AccountRecord, _: &PrivateKey) -> Result<(), PortError> {
        unreachable!()
    }

    fn other_keys(&self, _: &AccountRecord, _: &PrivateKey) -> Vec<PrivateKey> {
        unreachable!()
    }

    fn change_key(&self, _: &AccountRecord, _: &PrivateKey) {
        unreachable!()
    }

    fn forget(&self, _: &AccountRecord, _: &str) -> Result<(), PortError> {
        unreachable!()
    }

    fn given_up(&self, _: &AccountScope) -> Vec<GivenUp> {
        Vec::new()
    }
}

#[test]
fn an_account_that_came_before_the_claim_is_taken() {
    let scene = world_for(Operation::Account);
    let account = scene.book.0.lock().unwrap().accounts.pop().unwrap();
    let book = Arc::new(Late(scene.book.clone(), account));
    let clock = Arc::clone(&scene.clock) as Arc<dyn Clock>;
    let journal = scene.journal.clone();
    let publisher = scene.publisher.clone();
    let http = Arc::clone(&scene.ca) as Arc<dyn HttpClient>;
    let mut driver = Driver::new(scene.wanted.clone(), journal, publisher, book, http, clock);
    while scene.ca.count(Operation::NewOrder) == 0 {
        assert_eq!(driver.step().unwrap(), Outcome::Continue);
    }
    assert_eq!((scene.ca.count(Operation::NewAccount), scene.ca.count(Operation::Account)), (0, 1));
}

/// The contacts, where they come from, the type of a refusal of contacts with `bad` and of a refusal of none, and what follows: the
/// contacts of the account, or the error.
type ContactRow = (
    &'static [&'static str],
    ContactSource,
    Option<&'static str>,
    Option<&'static str>,
    Result<Option<&'static [&'static str]>, &'static str>,
);

#[test]
fn contacts_that_nobody_has_set_for_the_ca_are_left_out_and_others_are_named() {
    const GOOD: &[&str] = &["mailto:a@x.org"];
    const BAD: &[&str] = &["mailto:bad@intranet"];
    const MIXED: &[&str] = &["mailto:a@x.org", "mailto:bad@intranet"];
    const INVALID: Option<&str> = Some("invalidContact");
    const MALFORMED: Option<&str> = Some("malformed");
    let admin = ContactSource::ServerAdmin;
    let store = ContactSource::Store;
    let directive = ContactSource::Directive(Origin { file: "/etc/md.conf".to_owned(), line: 7 });
    let rows: [ContactRow; 16] = [
        (GOOD, directive.clone(), INVALID, None, Ok(Some(GOOD))),
        (GOOD, admin.clone(), INVALID, None, Ok(Some(GOOD))),
        (MIXED, store.clone(), None, INVALID, Ok(Some(MIXED))),
        (&[], admin.clone(), None, None, Ok(None)),
        (&[], store.clone(), INVALID, None, Ok(None)),
        (BAD, admin.clone(), INVALID, None, Ok(None)),
        (BAD, admin.clone(), Some("unsupportedContact"), None, Ok(None)),
        (BAD, admin.clone(), Some("invalidEmail"), None, Ok(None)),
        (BAD, admin.clone(), MALFORMED, None, Ok(None)),
        (BAD, admin.clone(), Some("rateLimited"), None, Err("no mail can be sent to mailto:bad@intranet <")),
        (
            BAD,
            directive.clone(),
            INVALID,
            None,
            Err(
                "the CA refuses the contact 'mailto:bad@intranet' (MDContactEmail in /etc/md.conf:7): no mail can be sent",
            ),
        ),
        (
            MIXED,
            store.clone(),
            Some("unsupportedContact"),
            None,
            Err(
                "the CA refuses the contact 'mailto:a@x.org' 'mailto:bad@intranet' (MDContactEmail, or 'a2md update'): no mail",
            ),
        ),
        (BAD, directive, MALFORMED, None, Err("no mail can be sent to mailto:bad@intranet <")),
        (&[], store.clone(), None, MALFORMED, Err("the CA refuses an account without a contact: at least one contact")),
        (&[], store, None, INVALID, Err("the CA refuses an account without a contact: at least one contact is needed")),
        (
            BAD,
            admin,
            INVALID,
            MALFORMED,
            Err(
                "the CA refuses the contact 'mailto:bad@intranet' of ServerAdmin (no mail can be sent to mailto:bad@intranet \
                 <urn:ietf:params:acme:error:invalidContact>), and then an account without a contact: at least one contact",
            ),
        ),
    ];
    for (contacts, source, refuses, wants, expected) in rows {
        let mut scene = Scene::new(&["x.org"]);
        scene.wanted.contacts = contacts.iter().map(|uri| (*uri).to_owned()).collect();
        scene.wanted.contact_source = Arc::new(source);
        scene.ca.behave(|ca| (ca.refused_contact, ca.wants_contact) = (refuses.map(|kind| (kind, "bad")), wants));
        let run = scene.run();
        let context = format!("{contacts:?} {refuses:?} {wants:?} {run:?}");
        match expected {
            Ok(expected) => {
                run.unwrap();
                let sent = scene.ca.registration()["contact"].clone();
                assert_eq!(sent, expected.map_or(Value::Null, |contacts| json!(contacts)), "{context}");
            }
            Err(says) => {
                let err = run.unwrap_err();
                assert!(err.to_string().starts_with(says), "{context}: {err}");
                assert_eq!((scene.ca.accounts(), err.is_permanent()), (0, refuses != Some("rateLimited")), "{context}");
            }
        }
    }
}

#[test]
fn a_contact_of_an_external_account_is_left_out_too_and_the_binding_sent_again() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.contact_source = Arc::new(ContactSource::ServerAdmin);
    scene.wanted.scope.eab = Some(Eab { kid: "kid-1".to_owned(), hmac: "c2VjcmV0".to_owned() });
    scene.ca.behave(|ca| {
        ca.external_accounts = vec![("kid-1", "c2VjcmV0")];
        ca.refused_contact = Some(("malformed", "admin@x.org"));
    });
    // A nonce that is refused in between repeats both requests.
    scene.ca.fail_times(Operation::NewAccount, 1, Fault::RefuseNonce);
    scene.succeeds();
    assert_eq!((scene.ca.accounts(), scene.ca.count(Operation::NewAccount)), (1, 3));
    assert!(scene.ca.registration()["contact"].is_null());
}

#[test]
fn a_refusal_that_is_not_about_the_contact_is_told_as_it_is() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.contact_source = Arc::new(ContactSource::ServerAdmin);
    scene.ca.fail_times(Operation::NewAccount, 2, Fault::Answer(problem(400, "malformed", "no such policy")));
    let err = scene.run().unwrap_err();
    assert_eq!(err.to_string(), "no such policy <urn:ietf:params:acme:error:malformed>");
    assert_eq!(scene.ca.count(Operation::NewAccount), 2);
}

#[test]
fn registration_needs_an_agreement() {
    let mut scene = Scene::new(&["x.org"]);
    scene.wanted.agreement = None;
    let err = scene.run().unwrap_err();
    assert!(err.to_string().contains("terms-of-service as specified in <https://ca.test/terms>"), "{err}");
    assert!(err.is_permanent());
}

#[test]
fn each_ca_is_told_of_the_agreement_also_one_that_announces_no_terms() {
    let rows: [fn(&FakeCa); 3] =
        [|_| {}, |ca| ca.behave(|ca| ca.has_terms = false), |ca| ca.behave(|ca| ca.has_meta = false)];
    for prepare in rows {
        let scene = Scene::new(&["x.org"]);
        prepare(&scene.ca);
        scene.succeeds();
        assert_eq!(scene.ca.registration()["termsOfServiceAgreed"], true);
    }
}

#[test]
fn an_external_account_is_bound_once_whatever_the_alphabet_of_its_key() {
    let eab = |hmac: &str| Some(Eab { kid: "kid-1".to_owned(), hmac: hmac.to_owned() });
    for hmac in ["-_-_c2Vjc-_", "-_-_c2Vjc-_=", "+/+/c2Vjc+/", "+/+/c2Vjc+/="] {
        let mut scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| ca.external_accounts = vec![("kid-0", "AAAA"), ("kid-1", "-_-_c2Vjc-_")]);
        let err = scene.run().unwrap_err();
        assert!(err.is("externalAccountRequired") && err.is_permanent(), "{err}");
        scene.wanted.scope.eab = eab("");
        let err = scene.run().unwrap_err();
        assert!(matches!(err, AcmeError::EabKey) && err.is_permanent());
        scene.wanted.scope.eab = eab(hmac);
        scene.succeeds();
        // The key in another alphabet is the same external account.
        scene.wanted.scope.eab = eab("-_-_c2Vjc-_");
        scene.journal.0.lock().unwrap().chains.clear();
        scene.succeeds();
        assert_eq!((scene.ca.accounts(), scene.book.0.lock().unwrap().accounts.len()), (1, 1), "{hmac}");
        assert_eq!(scene.book.0.lock().unwrap().accounts[0].0.eab, scene.wanted.scope.eab);
    }
}
