//! Changes the key of an account (RFC 8555 section 7.3.5). Both keys are in the store from before the request until it is known
//! which of the two the CA accepts; the next use of the account finds that out.

use super::Accounts;
use crate::acme::{AccountRecord, AcmeError, PortError, Registrar};
use crate::crypto::PrivateKey;
use crate::documents::{CLAIM_PATIENCE, Documents, port_error};
use crate::log::note;
use crate::model::Status;
use crate::store::{Aspect, Group, WorkClaim};

/// Returns the key that the CA accepts for an account of the store. Completes a change of keys that was interrupted.
///
/// # Errors
/// If the store has no key that the CA knows for this account, or the CA cannot be asked.
pub fn account_key(
    documents: &Documents,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
) -> Result<PrivateKey, AcmeError> {
    if documents.store().exists(Group::Accounts, id, &Aspect::NextAccountKey) {
        let _claim = claim(documents, id)?;
        return confirmed_key(documents, ca, id, account);
    }
    documents.load_key(Group::Accounts, id, &Aspect::AccountKey).ok_or_else(|| no_key(id))
}

/// Gives an account of the store a new key, of the type that new accounts get.
///
/// # Errors
/// If the CA refuses the new key: the old key stays in use. If the answer is lost, both keys stay in the store, and the next use
/// of the account finds out which one the CA accepts.
pub fn roll_over(
    documents: &Documents,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
) -> Result<(), AcmeError> {
    ca.key_change()?;
    // An account that is still in staging would overwrite the new key with its old one later.
    Accounts::read(documents)?.adopt_staged(documents, std::time::Instant::now() + CLAIM_PATIENCE);
    change_key(documents, ca, id, account, &PrivateKey::generate_account()?)
}

fn change_key(
    documents: &Documents,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
    new: &PrivateKey,
) -> Result<(), AcmeError> {
    let _claim = claim(documents, id)?;
    let old = confirmed_key(documents, ca, id, account)?;
    documents.save_key(Group::Accounts, id, &Aspect::NextAccountKey, new)?;
    let changed = ca.change_key(account, &old, new);
    match &changed {
        Ok(()) => take_next(documents, id, new)?,
        // The CA has refused the new key, so that the old one is known to be right.
        Err(AcmeError::Problem { http_status: None | Some(..500), .. }) => drop_next(documents, id)?,
        Err(AcmeError::BadNonce) => drop_next(documents, id)?,
        // The CA may have changed the key before it failed.
        Err(_) => {}
    }
    changed
}

fn confirmed_key(
    documents: &Documents,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
) -> Result<PrivateKey, AcmeError> {
    let load = |aspect| documents.load_key(Group::Accounts, id, &aspect);
    let current = load(Aspect::AccountKey);
    let Some(next) = load(Aspect::NextAccountKey) else { return current.ok_or_else(|| no_key(id)) };
    let mut is_known = |key: &PrivateKey| -> Result<bool, AcmeError> {
        Ok(ca.lookup(key)?.is_some_and(|known| known.url == account.url))
    };
    if is_known(&next)? {
        note!(Info, "account {id}: the CA already uses the new key; the store now has it, too");
        take_next(documents, id, &next)?;
        return Ok(next);
    }
    match current {
        Some(key) if is_known(&key)? => {
            note!(Info, "account {id}: the CA does not know the new key; the old key stays in use");
            drop_next(documents, id)?;
            Ok(key)
        }
        _ => Err(no_key(id)),
    }
}

fn take_next(documents: &Documents, id: &str, next: &PrivateKey) -> Result<(), PortError> {
    documents.save_key(Group::Accounts, id, &Aspect::AccountKey, next)?;
    drop_next(documents, id)
}

fn drop_next(documents: &Documents, id: &str) -> Result<(), PortError> {
    documents.store().remove(Group::Accounts, id, &Aspect::NextAccountKey).map_err(port_error)
}

/// Claims an account: two processes that change its key at the same time would overwrite each other's new key.
fn claim(documents: &Documents, id: &str) -> Result<WorkClaim, PortError> {
    let claim = documents.store().claim_within(id, CLAIM_PATIENCE).map_err(port_error)?;
    let text = || format!("another process is working on account {id}; try again when it has finished");
    claim.ok_or_else(|| PortError { status: Status::AGAIN, text: text() })
}

fn no_key(id: &str) -> AcmeError {
    let text = format!("account {id}: no key in the store is known to the CA");
    AcmeError::Port(PortError { status: Status::NOT_FOUND, text })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::http::Response;
    use crate::model::KeySpec;
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};
    use crate::testing::{ACCOUNT, TestServer, logged, p256, watch_log};

    fn registrar(server: &TestServer) -> Registrar {
        Registrar::connect(Arc::clone(&server.ca) as _, Arc::clone(&server.clock) as _, FakeCa::DIRECTORY).unwrap()
    }

    fn account(server: &TestServer) -> AccountRecord {
        server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap()
    }

    fn roll(server: &TestServer) -> Result<(), AcmeError> {
        // An RSA key takes long to generate.
        let new = PrivateKey::generate(&p256()).unwrap();
        change_key(&server.documents, &mut registrar(server), ACCOUNT, &account(server), &new)
    }

    fn key(server: &TestServer) -> PrivateKey {
        server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap()
    }

    fn has_next(server: &TestServer) -> bool {
        server.documents.store().exists(Group::Accounts, ACCOUNT, &Aspect::NextAccountKey)
    }

    /// Checks that the store has one key for the account, and that the CA accepts it.
    fn assert_settled(server: &TestServer) {
        assert!(!has_next(server));
        let found = registrar(server).lookup(&key(server)).unwrap().unwrap();
        assert_eq!((found.url, server.ca.accounts()), (account(server).url, 1));
        assert!(server.documents.store().list(Group::Staging).unwrap().is_empty());
        server.ca.check();
    }

    #[test]
    fn a_roll_over_gives_the_account_a_new_key() {
        let server = TestServer::new(&["a.roll.test"]);
        let old = key(&server);
        roll_over(&server.documents, &mut registrar(&server), ACCOUNT, &account(&server)).unwrap();
        assert!(!key(&server).is_same(&old) && key(&server).fits_spec(&KeySpec::Rsa { bits: 3072 }));
        assert_settled(&server);
    }

    #[test]
    fn a_crash_at_each_change_leaves_an_account_that_can_be_used() {
        let mut crashes = 0;
        loop {
            let server = TestServer::new(&["b.roll.test"]);
            server.store.crash_at(crashes);
            let rolled = roll(&server);
            assert_eq!(rolled.is_err(), server.store.has_crashed(), "{crashes}: {rolled:?}");
            server.store.recover();
            if rolled.is_ok() {
                break;
            }
            // The next use of the account is by the server, or by a2md.
            let before = key(&server);
            drop(server.run(true));
            assert_eq!((server.ca.accounts(), server.ca.ordered().len()), (1, 1), "{crashes}");
            assert!(key(&server).is_same(&before), "the server does not write to accounts/");
            drop(server.start(true));
            let used = account_key(&server.documents, &mut registrar(&server), ACCOUNT, &account(&server)).unwrap();
            assert!(used.is_same(&key(&server)));
            assert_settled(&server);
            roll(&server).unwrap();
            assert_settled(&server);
            crashes += 1;
        }
        assert_eq!(crashes, 3, "the new key, its move, and the end of it");
    }

    #[test]
    fn a_lost_answer_is_looked_up_and_a_refusal_keeps_the_old_key() {
        for (fault, is_lost) in [(Fault::DropAnswer, true), (Fault::Drop, false)] {
            let server = TestServer::new(&["c.roll.test"]);
            let old = key(&server);
            server.ca.fail(Operation::KeyChange, fault);
            assert!(matches!(roll(&server), Err(AcmeError::Transport(_))));
            assert!(has_next(&server) && key(&server).is_same(&old));
            let used = account_key(&server.documents, &mut registrar(&server), ACCOUNT, &account(&server)).unwrap();
            assert_eq!(used.is_same(&old), !is_lost);
            assert_settled(&server);
        }
        let failed: fn(&mut Response) = |answer| *answer = problem(500, "serverInternal", "changed, but not finished");
        let server = TestServer::new(&["failed.roll.test"]);
        server.ca.fail(Operation::KeyChange, Fault::Alter(failed));
        assert!(
            roll(&server).is_err() && has_next(&server),
            "the answer of a CA that failed says nothing about the key"
        );
        account_key(&server.documents, &mut registrar(&server), ACCOUNT, &account(&server)).unwrap();
        assert_settled(&server);
        let server = TestServer::new(&["d.roll.test"]);
        let old = key(&server);
        server.ca.fail(Operation::KeyChange, Fault::Answer(problem(403, "unauthorized", "not today")));
        assert!(roll(&server).unwrap_err().to_string().contains("not today"));
        assert!(key(&server).is_same(&old));
        assert_settled(&server);
    }

    #[test]
    fn keys_that_the_ca_does_not_know_are_kept() {
        let server = TestServer::new(&["e.roll.test"]);
        server.ca.fail(Operation::KeyChange, Fault::Drop);
        assert!(roll(&server).is_err());
        let url = format!("{}/other", account(&server).url);
        let other = AccountRecord { url, ..account(&server) };
        let refused = account_key(&server.documents, &mut registrar(&server), ACCOUNT, &other).unwrap_err();
        assert!(refused.to_string().contains("no key in the store is known to the CA"), "{refused}");
        assert!(has_next(&server));
    }

    #[test]
    fn an_account_whose_new_key_is_not_known_to_all_servers_of_the_ca_is_kept() {
        let server = TestServer::new(&["stale.roll.test"]);
        server.ca.behave(|ca| ca.stale_requests = 2);
        roll(&server).unwrap();
        let refused = registrar(&server).refresh(&account(&server), &key(&server)).unwrap_err();
        assert!(refused.is("malformed") && !refused.is_account_lost(), "{refused}");
        let renewals = server.run(true);
        let job = server.staged_job("stale.roll.test");
        assert_eq!((job.errors, server.ca.accounts(), server.ca.ordered().len()), (1, 1, 0));
        let detail = job.last.and_then(|last| last.detail).unwrap_or_default();
        assert!(detail.contains("the CA refuses requests of account https://ca.test/account/0: "), "{detail}");
        server.clock.advance(jiff::SignedDuration::from_mins(1));
        server.go_on(&renewals);
        assert_eq!((server.ca.accounts(), server.ca.ordered().len()), (1, 1));
        server.ca.check();
    }

    #[test]
    fn a_running_server_finds_the_new_key_at_its_next_renewal() {
        watch_log();
        let server = TestServer::new(&["f.roll.test"]);
        server.ca.fail(Operation::NewOrder, Fault::Drop);
        let renewals = server.run(false);
        assert_eq!((server.ca.count(Operation::Account), server.ca.ordered().len()), (1, 0));
        roll(&server).unwrap();
        server.clock.advance(jiff::SignedDuration::from_hours(1));
        server.go_on(&renewals);
        assert_eq!((server.ca.accounts(), server.ca.ordered().len()), (1, 1));
        assert!(logged("MD0047", "the key of account https://ca.test/account/0 was changed") > 0);
        server.ca.check();
    }
}
