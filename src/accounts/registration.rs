//! Finds, confirms or registers the account of a domain, for a program that runs beside the server.

use std::sync::Arc;

use super::Accounts;
use super::shared::{StoredAccounts, draft_item};
use crate::acme::{AccountBook, AccountRecord, AccountScope, AcmeError, Applicant, Registrar, log_in_place_of};
use crate::crypto::PrivateKey;
use crate::documents::{CLAIM_PATIENCE, Documents, claimed_elsewhere, port_error};
use crate::model::ManagedDomain;

/// Finds an account for `md` that the CA accepts: in `accounts/`, or in `staging/` where a renewal has just registered it. If
/// there is none, registers a new account and puts it into `accounts/`.
///
/// # Errors
/// If the CA refuses, or the store cannot be written, or another process works on the domain.
pub fn find_or_register(
    documents: &Arc<Documents>,
    md: &ManagedDomain,
    ca: &mut Registrar,
    applicant: &Applicant<'_>,
) -> Result<(AccountRecord, PrivateKey), AcmeError> {
    let name = md.name.as_str();
    let scope = applicant.scope;
    let book = || StoredAccounts::new(Arc::default(), Arc::clone(documents), name);
    if let Some(found) = confirmed(&book(), ca, scope)? {
        return Ok(found);
    }
    let claim = documents.store().claim_within(name, CLAIM_PATIENCE).map_err(port_error)?;
    let _claim = claim.ok_or_else(|| claimed_elsewhere(md))?;
    let of_scope = documents.store().claim_within(&draft_item(scope), CLAIM_PATIENCE).map_err(port_error)?;
    let _of_scope = of_scope.ok_or_else(|| claimed_elsewhere(md))?;
    // The process that held the claims before may have registered an account.
    let book = book();
    if let Some(found) = confirmed(&book, ca, scope)? {
        return Ok(found);
    }
    ca.check(applicant)?;
    let account = applicant.register_in(&book, |key| ca.register_as(applicant, key))?;
    Accounts::read(documents)?.adopt_from(documents, name);
    Ok(account)
}

fn confirmed(
    book: &StoredAccounts,
    ca: &mut Registrar,
    scope: &AccountScope,
) -> Result<Option<(AccountRecord, PrivateKey)>, AcmeError> {
    while let Some((account, key)) = book.find(scope) {
        if let Some((account, key)) = ca.confirm(book, account, key)? {
            log_in_place_of(&account, &book.given_up(scope));
            return Ok(Some((account, key)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Aspect, Group, Store};
    use crate::testing::ca::{FakeCa, Fault, Operation, problem};
    use crate::testing::{ACCOUNT, TestServer, p256};

    fn account(server: &TestServer) -> Result<String, AcmeError> {
        let registry = server.start(true);
        let md = &registry.domains[0].md;
        let scope = AccountScope { ca_url: FakeCa::DIRECTORY.to_owned(), eab: None };
        let agreement = md.ca.agreement.as_deref();
        let applicant =
            Applicant { scope: &scope, contacts: &md.contacts, contact_source: &md.contact_source, agreement };
        let mut ca = Registrar::connect(Arc::clone(&server.ca) as _, Arc::clone(&server.clock) as _, &scope.ca_url)?;
        find_or_register(&server.documents, md, &mut ca, &applicant).map(|(account, _)| account.url)
    }

    #[test]
    fn an_account_is_registered_once_and_again_when_the_ca_has_lost_it() {
        let server = TestServer::without_account(&["x.test"]);
        let first = account(&server).unwrap();
        assert_eq!((account(&server).unwrap(), server.ca.accounts()), (first.clone(), 1));
        assert_eq!(server.store.list(Group::Accounts).unwrap().len(), 1);
        drop(server.run(false));
        assert_eq!((server.ca.accounts(), server.staged_job("x.test").finished), (1, true), "a renewal uses it");
        server.ca.set_accounts("deactivated");
        assert_ne!(account(&server).unwrap(), first);
        assert_eq!(server.ca.accounts(), 2);
        server.ca.check();
    }

    #[test]
    fn an_account_is_found_by_the_new_key_of_an_interrupted_change_and_kept_if_the_ca_refuses_it() {
        let server = TestServer::new(&["x.test"]);
        let record: AccountRecord = server.documents.load_json(Group::Accounts, ACCOUNT, &Aspect::AccountJson).unwrap();
        let old = server.documents.load_key(Group::Accounts, ACCOUNT, &Aspect::AccountKey).unwrap();
        let new = PrivateKey::generate(&p256()).unwrap();
        server.documents.save_key(Group::Accounts, ACCOUNT, &Aspect::NextAccountKey, &new).unwrap();
        let mut ca =
            Registrar::connect(Arc::clone(&server.ca) as _, Arc::clone(&server.clock) as _, FakeCa::DIRECTORY).unwrap();
        ca.change_key(&record, &old, &new).unwrap();
        assert_eq!(account(&server).unwrap(), record.url);
        server.ca.fail_times(Operation::Account, 2, Fault::Answer(problem(400, "malformed", "JWS verification error")));
        assert!(matches!(account(&server), Err(AcmeError::AccountRefused { .. })));
        assert_eq!((account(&server).unwrap(), server.ca.accounts()), (record.url, 1));
        server.ca.check();
    }

    #[test]
    fn the_account_of_a_renewal_is_used_and_none_is_registered_while_it_runs() {
        let server = TestServer::without_account(&["x.test"]);
        server.ca.behave(|ca| ca.finds = Some("nothing"));
        drop(server.run(false));
        account(&server).unwrap();
        assert_eq!(server.ca.count(Operation::NewAccount), 1);
        let other = TestServer::without_account(&["x.test"]);
        let _claim = other.store.claim("x.test").unwrap().unwrap();
        assert!(account(&other).unwrap_err().to_string().contains("another process"));
        assert_eq!(other.ca.count(Operation::NewAccount), 0);
    }

    #[test]
    fn a_registration_error_names_what_is_missing() {
        let mut server = TestServer::without_account(&["x.test"]);
        server.declared[0].settings.agreement = None;
        assert!(matches!(account(&server), Err(AcmeError::NoAgreement { .. })));
        assert!(server.store.list(Group::Staging).unwrap().iter().all(|item| !item.starts_with("ACME-")));
    }
}
