//! A new key for an account (RFC 8555 section 7.3.5). From before the CA is asked until it is known which of the two it takes,
//! both keys are in the store; whoever uses the account next finds out.

use super::Accounts;
use crate::acme::{AccountRecord, AcmeError, PortError, Registrar};
use crate::crypto::PrivateKey;
use crate::documents::{CLAIM_PATIENCE, Vault, port_error};
use crate::log::note;
use crate::model::Status;
use crate::store::{Aspect, Claim, Group};

/// The key that the CA takes for an account of the store. A change of keys that was cut short is brought to its end.
///
/// # Errors
/// If there is no key that the CA knows for this account, or it cannot be asked.
pub fn account_key(
    vault: &Vault,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
) -> Result<PrivateKey, AcmeError> {
    if vault.store().exists(Group::Accounts, id, &Aspect::NextAccountKey) {
        let _claim = claim(vault, id)?;
        return settled_key(vault, ca, id, account);
    }
    vault.load_key(Group::Accounts, id, &Aspect::AccountKey).ok_or_else(|| no_key(id))
}

/// Gives an account of the store a new key, of the type that new accounts have.
///
/// # Errors
/// If the CA does not take the new key: the old one goes on. If it is not known whether it does, both are in the store and the
/// next use of the account finds out.
pub fn roll_over(vault: &Vault, ca: &mut Registrar, id: &str, account: &AccountRecord) -> Result<(), AcmeError> {
    ca.key_change()?;
    // One that waits in staging would come back with its old key.
    Accounts::read(vault)?.adopt_staged(vault, std::time::Instant::now() + CLAIM_PATIENCE);
    change_key(vault, ca, id, account, &PrivateKey::generate_account()?)
}

fn change_key(
    vault: &Vault,
    ca: &mut Registrar,
    id: &str,
    account: &AccountRecord,
    new: &PrivateKey,
) -> Result<(), AcmeError> {
    let _claim = claim(vault, id)?;
    let old = settled_key(vault, ca, id, account)?;
    vault.save_key(Group::Accounts, id, &Aspect::NextAccountKey, new)?;
    let changed = ca.change_key(account, &old, new);
    match changed {
        Ok(()) => take_next(vault, id, new)?,
        // The CA has decided: there is nothing to find out.
        Err(AcmeError::Problem { .. } | AcmeError::BadNonce) => drop_next(vault, id)?,
        Err(_) => {}
    }
    changed
}

fn settled_key(vault: &Vault, ca: &mut Registrar, id: &str, account: &AccountRecord) -> Result<PrivateKey, AcmeError> {
    let load = |aspect| vault.load_key(Group::Accounts, id, &aspect);
    let current = load(Aspect::AccountKey);
    let Some(next) = load(Aspect::NextAccountKey) else { return current.ok_or_else(|| no_key(id)) };
    let mut is_known = |key: &PrivateKey| -> Result<bool, AcmeError> {
        Ok(ca.lookup(key)?.is_some_and(|known| known.url == account.url))
    };
    if is_known(&next)? {
        note!(Info, "account {id}: the CA has taken its new key before; the store has it now, too");
        take_next(vault, id, &next)?;
        return Ok(next);
    }
    match current {
        Some(key) if is_known(&key)? => {
            note!(Info, "account {id}: the CA has not taken the new key that it was to have; the old one goes on");
            drop_next(vault, id)?;
            Ok(key)
        }
        _ => Err(no_key(id)),
    }
}

fn take_next(vault: &Vault, id: &str, next: &PrivateKey) -> Result<(), PortError> {
    vault.save_key(Group::Accounts, id, &Aspect::AccountKey, next)?;
    drop_next(vault, id)
}

fn drop_next(vault: &Vault, id: &str) -> Result<(), PortError> {
    vault.store().remove(Group::Accounts, id, &Aspect::NextAccountKey).map_err(port_error)
}

/// Two programs at one account would overwrite each other's new key.
fn claim(vault: &Vault, id: &str) -> Result<Claim, PortError> {
    let claim = vault.store().claim_within(id, CLAIM_PATIENCE).map_err(port_error)?;
    let text = || format!("another process works on account {id}; try again when it is done");
    claim.ok_or_else(|| PortError { status: Status::AGAIN, text: text() })
}

fn no_key(id: &str) -> AcmeError {
    let text = format!("account {id} has no key in the store that the CA knows");
    AcmeError::Port(PortError { status: Status::NOT_FOUND, text })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::accounts::rollover::*;
    use crate::model::KeySpec;
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};
    use crate::testing::{ACCOUNT, World, logged, p256, watch_log};

    fn registrar(world: &World) -> Registrar {
        Registrar::connect(Arc::clone(&world.ca) as _, Arc::clone(&world.clock) as _, FakeCa::DIRECTORY).unwrap()
    }

    fn account(world: &World) -> AccountRecord {
        world.vault.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap()
    }

    fn roll(world: &World) -> Result<(), AcmeError> {
        // One of the usual kind takes long to make.
        let new = PrivateKey::generate(&p256()).unwrap();
        change_key(&world.vault, &mut registrar(world), ACCOUNT, &account(world), &new)
    }

    fn key(world: &World) -> PrivateKey {
        world.vault.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap()
    }

    fn has_next(world: &World) -> bool {
        world.vault.store().exists(Group::Accounts, ACCOUNT, &Aspect::NextAccountKey)
    }

    /// The store has one key for the account, and the CA takes it.
    fn assert_settled(world: &World) {
        assert!(!has_next(world));
        let found = registrar(world).lookup(&key(world)).unwrap().unwrap();
        assert_eq!((found.url, world.ca.accounts()), (account(world).url, 1));
        assert!(world.vault.store().list(Group::Staging).unwrap().is_empty());
        world.ca.check();
    }

    #[test]
    fn the_account_has_a_new_key_afterwards() {
        let world = World::new(&["a.roll.test"]);
        let old = key(&world);
        roll_over(&world.vault, &mut registrar(&world), ACCOUNT, &account(&world)).unwrap();
        assert!(!key(&world).is_same(&old) && key(&world).fits_spec(&KeySpec::Rsa { bits: 3072 }));
        assert_settled(&world);
    }

    #[test]
    fn a_crash_at_each_change_leaves_an_account_that_can_be_used() {
        let mut crashes = 0;
        loop {
            let world = World::new(&["b.roll.test"]);
            world.store.crash_at(crashes);
            let rolled = roll(&world);
            assert_eq!(rolled.is_err(), world.store.has_crashed(), "{crashes}: {rolled:?}");
            world.store.recover();
            if rolled.is_ok() {
                break;
            }
            // What comes next is the server, or a command.
            let before = key(&world);
            drop(world.run(true));
            assert_eq!((world.ca.accounts(), world.ca.ordered().len()), (1, 1), "{crashes}");
            assert!(key(&world).is_same(&before), "the server does not write to accounts/");
            drop(world.start(true));
            let used = account_key(&world.vault, &mut registrar(&world), ACCOUNT, &account(&world)).unwrap();
            assert!(used.is_same(&key(&world)));
            assert_settled(&world);
            roll(&world).unwrap();
            assert_settled(&world);
            crashes += 1;
        }
        assert_eq!(crashes, 3, "the new key, its move, and the end of it");
    }

    #[test]
    fn a_lost_answer_is_looked_up_and_a_refusal_ends_it() {
        for (fault, is_lost) in [(Fault::DropAnswer, true), (Fault::Drop, false)] {
            let world = World::new(&["c.roll.test"]);
            let old = key(&world);
            world.ca.fail(Operation::KeyChange, fault);
            assert!(matches!(roll(&world), Err(AcmeError::Transport(_))));
            assert!(has_next(&world) && key(&world).is_same(&old));
            let used = account_key(&world.vault, &mut registrar(&world), ACCOUNT, &account(&world)).unwrap();
            assert_eq!(used.is_same(&old), !is_lost);
            assert_settled(&world);
        }
        let world = World::new(&["d.roll.test"]);
        let old = key(&world);
        world.ca.fail(Operation::KeyChange, Fault::Answer(problem(403, "unauthorized", "not today")));
        assert!(roll(&world).unwrap_err().to_string().contains("not today"));
        assert!(key(&world).is_same(&old));
        assert_settled(&world);
    }

    #[test]
    fn keys_that_the_ca_does_not_know_are_kept() {
        let world = World::new(&["e.roll.test"]);
        world.ca.fail(Operation::KeyChange, Fault::Drop);
        assert!(roll(&world).is_err());
        let url = format!("{}/other", account(&world).url);
        let other = AccountRecord { url, ..account(&world) };
        let refused = account_key(&world.vault, &mut registrar(&world), ACCOUNT, &other).unwrap_err();
        assert!(refused.to_string().contains("has no key in the store that the CA knows"), "{refused}");
        assert!(has_next(&world));
    }

    #[test]
    fn a_running_server_finds_the_new_key_at_its_next_renewal() {
        watch_log();
        let world = World::new(&["f.roll.test"]);
        world.ca.fail(Operation::NewOrder, Fault::Drop);
        let renewals = world.run(false);
        assert_eq!((world.ca.count(Operation::Account), world.ca.ordered().len()), (1, 0));
        roll(&world).unwrap();
        world.clock.advance(jiff::SignedDuration::from_hours(1));
        world.go_on(&renewals);
        assert_eq!((world.ca.accounts(), world.ca.ordered().len()), (1, 1));
        assert!(logged("MD0047", "the key of account https://ca.test/account/0 was changed") > 0);
        world.ca.check();
    }
}
