//! Accounts of a run: found, registered, lost.

use super::*;

#[test]
fn a_crash_right_after_the_registration_makes_no_second_account() {
    let world = World::new(&["x.org"]);
    world.ca.fail(Operation::NewAccount, Fault::DropAnswer);
    world.run().unwrap_err();
    assert_eq!((world.ca.accounts(), world.book.0.lock().unwrap().accounts.len()), (1, 0));
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.count(Operation::NewAccount)), (1, 2));
}

#[test]
fn an_account_that_the_ca_lost_is_replaced_in_the_same_run() {
    for status in ["gone", "deactivated", "revoked"] {
        let world = world_for(Operation::Account);
        world.ca.set_accounts(status);
        world.succeeds();
        assert_eq!((world.ca.accounts(), world.book.0.lock().unwrap().accounts.len()), (2, 1), "{status}");
    }
    let deactivated: fn(&mut Response) = |answer| answer.body = br#"{"status":"deactivated"}"#.to_vec();
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Account, Fault::Alter(deactivated));
    world.ca.set_accounts("valid");
    world.run().unwrap();
}

#[test]
fn an_order_of_a_lost_account_is_replaced_too() {
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Finalize, Fault::Drop);
    world.run().unwrap_err();
    world.ca.set_accounts("gone");
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.ordered().len()), (2, 2));
}

#[test]
fn somebody_else_at_the_accounts_is_waited_for() {
    let world = World::new(&["x.org"]);
    world.book.0.lock().unwrap().busy = true;
    assert!(world.steps(20).is_none());
    assert_eq!(world.ca.count(Operation::NewAccount), 0);
    world.book.0.lock().unwrap().busy = false;
    world.succeeds();
}

#[test]
fn an_account_without_a_status_counts_as_valid() {
    let bare: fn(&mut Response) = |answer| answer.body = b"{}".to_vec();
    let world = World::new(&["x.org"]);
    world.ca.fail(Operation::NewAccount, Fault::Alter(bare));
    world.succeeds();
    assert!(world.book.0.lock().unwrap().accounts[0].0.is_for(&world.wanted.scope));
    let world = world_for(Operation::Account);
    world.ca.fail(Operation::Account, Fault::Alter(bare));
    world.succeeds();
    assert_eq!(world.ca.accounts(), 1);
}

#[test]
fn an_account_that_is_there_needs_no_claim() {
    let world = world_for(Operation::Account);
    world.book.0.lock().unwrap().busy = true;
    world.succeeds();
    assert_eq!((world.ca.accounts(), world.ca.count(Operation::NewAccount)), (1, 0));
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

    fn add(&self, _: &AccountRecord, _: &PrivateKey) -> Result<(), PortError> {
        unreachable!()
    }

    fn other_keys(&self, _: &AccountRecord, _: &PrivateKey) -> Vec<PrivateKey> {
        unreachable!()
    }

    fn change_key(&self, _: &AccountRecord, _: &PrivateKey) {
        unreachable!()
    }

    fn forget(&self, _: &AccountRecord) -> Result<(), PortError> {
        unreachable!()
    }
}

#[test]
fn an_account_that_came_before_the_claim_is_taken() {
    let world = world_for(Operation::Account);
    let account = world.book.0.lock().unwrap().accounts.pop().unwrap();
    let book = Arc::new(Late(world.book.clone(), account));
    let clock = Arc::clone(&world.clock) as Arc<dyn Clock>;
    let (journal, publisher) = (world.journal.clone(), world.publisher.clone());
    let http = Arc::clone(&world.ca) as Arc<dyn HttpClient>;
    let mut driver = Driver::new(world.wanted.clone(), journal, publisher, book, http, clock);
    while world.ca.count(Operation::NewOrder) == 0 {
        assert_eq!(driver.step().unwrap(), Outcome::Continue);
    }
    assert_eq!((world.ca.count(Operation::NewAccount), world.ca.count(Operation::Account)), (0, 1));
}

#[test]
fn registration_needs_a_contact_and_an_agreement() {
    let mut world = World::new(&["x.org"]);
    world.wanted.contacts.clear();
    let err = world.run().unwrap_err();
    assert!(err.to_string().starts_with("No contact information is available for MD x.org"), "{err}");
    assert!(err.is_permanent());
    world.wanted.contacts.push("mailto:a@x.org".to_owned());
    world.wanted.agreement = None;
    let err = world.run().unwrap_err();
    assert!(err.to_string().contains("terms-of-service as specified in <https://ca.test/terms>"), "{err}");
    assert!(err.is_permanent());
    world.wanted.agreement = Some("accepted".to_owned());
    world.ca.behave(|ca| ca.has_terms = false);
    world.succeeds();
    assert_eq!(world.ca.registration().to_string(), r#"{"contact":["mailto:a@x.org"]}"#);
}

#[test]
fn an_external_account_is_bound_once() {
    let mut world = World::new(&["x.org"]);
    let eab = |hmac: &str| Some(Eab { kid: "kid-1".to_owned(), hmac: hmac.to_owned() });
    world.wanted.scope.eab = eab("");
    let err = world.run().unwrap_err();
    assert!(matches!(err, AcmeError::EabKey) && err.is_permanent());
    world.wanted.scope.eab = eab("c2VjcmV0");
    world.succeeds();
    let binding = &world.ca.registration()["externalAccountBinding"];
    let header = base64url_decode(binding["protected"].as_str().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!((&header["kid"], &header["alg"]), (&"kid-1".into(), &"HS256".into()));
    assert_eq!(world.book.0.lock().unwrap().accounts[0].0.eab, world.wanted.scope.eab);
}
