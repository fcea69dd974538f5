//! The account of a domain for a program that works beside the server: found, confirmed, or registered.

use std::sync::Arc;

use super::Accounts;
use super::shared::{StoredAccounts, place_of_its_own};
use crate::acme::{
    AccountBook, AccountRecord, AccountScope, AccountStatus, AcmeError, Applicant, PortError, Registrar,
};
use crate::crypto::PrivateKey;
use crate::documents::{CLAIM_PATIENCE, Vault, claimed_elsewhere, port_error};
use crate::model::ManagedDomain;

/// An account for `md` that the CA takes: one that the store has, also where a renewal has just registered it, or a new one,
/// which is in `accounts/` when this returns.
///
/// # Errors
/// If the CA refuses, or the store cannot be written, or another process works on the domain.
pub fn find_or_register(
    vault: &Arc<Vault>,
    md: &ManagedDomain,
    ca: &mut Registrar,
    applicant: &Applicant<'_>,
) -> Result<(AccountRecord, PrivateKey), AcmeError> {
    let (name, scope) = (md.name.as_str(), applicant.scope);
    let book = || StoredAccounts::new(Arc::default(), Arc::clone(vault), name);
    if let Some(found) = confirmed(&book(), ca, scope)? {
        return Ok(found);
    }
    let claim = vault.store().claim_within(name, CLAIM_PATIENCE).map_err(port_error)?;
    let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
    let of_scope = vault.store().claim_within(&place_of_its_own(scope), CLAIM_PATIENCE).map_err(port_error)?;
    let _of_scope = of_scope.ok_or_else(|| claimed_elsewhere(md))?;
    // Whoever had the claims may have registered.
    let book = book();
    if let Some(found) = confirmed(&book, ca, scope)? {
        return Ok(found);
    }
    let account = register(&book, ca, applicant)?;
    Accounts::read(vault)?.adopt_from(vault, name);
    Ok(account)
}

fn register(
    book: &StoredAccounts,
    ca: &mut Registrar,
    applicant: &Applicant<'_>,
) -> Result<(AccountRecord, PrivateKey), AcmeError> {
    ca.check(applicant)?;
    let key = book.draft_key(applicant.scope)?;
    let account = ca.register_as(applicant, &key)?;
    book.add(&account, &key)?;
    Ok((account, key))
}

fn confirmed(
    book: &StoredAccounts,
    ca: &mut Registrar,
    scope: &AccountScope,
) -> Result<Option<(AccountRecord, PrivateKey)>, AcmeError> {
    while let Some((account, key)) = book.find(scope) {
        match ca.refresh(&account, &key) {
            Ok(known) if known.status == Some(AccountStatus::Valid) => return Ok(Some((account, key))),
            Err(err) if !err.is_account_lost() => return Err(err),
            Ok(_) | Err(_) => forget(book, &account)?,
        }
    }
    Ok(None)
}

fn forget(book: &StoredAccounts, account: &AccountRecord) -> Result<(), PortError> {
    crate::log::note!(Info, "the CA no longer takes account {}", account.url);
    book.forget(account)
}

#[cfg(test)]
mod tests {
    use crate::accounts::registration::*;
    use crate::store::{Group, Store};
    use crate::testing::World;
    use crate::testing::ca::{FakeCa, Operation};

    fn account(world: &World) -> Result<String, AcmeError> {
        let registry = world.start(true);
        let md = &registry.entries[0].md;
        let scope = AccountScope { ca_url: FakeCa::DIRECTORY.to_owned(), eab: None };
        let agreement = md.ca.agreement.as_deref();
        let applicant = Applicant { name: md.name.as_str(), scope: &scope, contacts: &md.contacts, agreement };
        let mut ca = Registrar::connect(Arc::clone(&world.ca) as _, Arc::clone(&world.clock) as _, &scope.ca_url)?;
        find_or_register(&world.vault, md, &mut ca, &applicant).map(|(account, _)| account.url)
    }

    #[test]
    fn an_account_is_registered_once_and_followed_by_another_when_it_is_lost() {
        let world = World::without_account(&["x.test"]);
        let first = account(&world).unwrap();
        assert_eq!((account(&world).unwrap(), world.ca.accounts()), (first.clone(), 1));
        assert_eq!(world.store.list(Group::Accounts).unwrap().len(), 1);
        drop(world.run(false));
        assert_eq!((world.ca.accounts(), world.staged_job("x.test").finished), (1, true), "a renewal uses it");
        world.ca.set_accounts("deactivated");
        assert_ne!(account(&world).unwrap(), first);
        assert_eq!(world.ca.accounts(), 2);
        world.ca.check();
    }

    #[test]
    fn the_account_of_a_renewal_is_found_and_no_other_is_made_while_it_works() {
        let world = World::without_account(&["x.test"]);
        world.ca.behave(|ca| ca.finds = Some("nothing"));
        drop(world.run(false));
        account(&world).unwrap();
        assert_eq!(world.ca.count(Operation::NewAccount), 1);
        let other = World::without_account(&["x.test"]);
        let _claim = other.store.claim("x.test").unwrap().unwrap();
        assert!(account(&other).unwrap_err().to_string().contains("another process"));
        assert_eq!(other.ca.count(Operation::NewAccount), 0);
    }

    #[test]
    fn what_a_registration_lacks_is_said() {
        let mut world = World::without_account(&["x.test"]);
        world.declared[0].settings.agreement = None;
        assert!(matches!(account(&world), Err(AcmeError::NoAgreement { .. })));
        assert!(world.store.list(Group::Staging).unwrap().iter().all(|item| !item.starts_with("ACME-")));
    }
}
