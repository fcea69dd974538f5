//! Facts about CAs that a renewal has learnt, for those that follow: the directory, and the accounts that the CA takes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::Directory;
use crate::http::HttpClient;

/// How long something that was learnt is used without asking the CA.
const KEPT: SignedDuration = SignedDuration::from_hours(1);

/// CAs that renewals of this process have asked. Renewals with another client, and so another proxy or other trusted roots, have to
/// ask for themselves.
#[derive(Default)]
pub struct KnownCas(Mutex<Vec<Known>>);

struct Known {
    /// The client that was used, by its address, which nobody else gets meanwhile.
    http: Arc<dyn HttpClient>,
    url: String,
    directory: Directory,
    read: Timestamp,
    /// URLs of the accounts that the CA has taken since.
    accounts: Vec<String>,
}

/// A CA as it is asked by one client.
pub struct KnownCa {
    all: Arc<KnownCas>,
    http: Arc<dyn HttpClient>,
    url: String,
}

impl KnownCas {
    /// Returns the CA with that directory URL, as this client asks it.
    #[must_use]
    pub fn at(self: &Arc<Self>, http: &Arc<dyn HttpClient>, url: &str) -> KnownCa {
        KnownCa { all: Arc::clone(self), http: Arc::clone(http), url: url.to_owned() }
    }
}

impl KnownCa {
    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_own(&self, known: &Known) -> bool {
        known.url == self.url && Arc::ptr_eq(&known.http, &self.http)
    }

    /// Returns the directory, if it was read a short time ago.
    #[must_use]
    pub fn directory(&self, now: Timestamp) -> Option<Directory> {
        let known = self.known();
        known.iter().find(|known| self.is_own(known) && is_fresh(known.read, now)).map(|known| known.directory.clone())
    }

    /// Notes the directory.
    pub fn learn_directory(&self, directory: &Directory, now: Timestamp) {
        let mut known = self.known();
        known.retain(|known| !self.is_own(known) && is_fresh(known.read, now));
        known.push(Known {
            http: Arc::clone(&self.http),
            url: self.url.clone(),
            directory: directory.clone(),
            read: now,
            accounts: Vec::new(),
        });
    }

    /// Whether the CA has taken the account since the directory was read.
    #[must_use]
    pub fn takes(&self, account: &str) -> bool {
        let known = self.known();
        known.iter().filter(|known| self.is_own(known)).any(|known| known.accounts.iter().any(|url| url == account))
    }

    /// Notes that the CA takes the account.
    pub fn learn_account(&self, account: &str) {
        if let Some(known) = self.known().iter_mut().find(|known| self.is_own(known)) {
            known.accounts.retain(|url| url != account);
            known.accounts.push(account.to_owned());
        }
    }

    /// Forgets what is known: the CA has not answered as expected.
    pub fn forget(&self) {
        self.known().retain(|known| !self.is_own(known));
    }
}

/// Whether something that was learnt then is used now. Whoever puts the clock back does not make it last longer.
fn is_fresh(learnt: Timestamp, now: Timestamp) -> bool {
    (learnt..learnt + KEPT).contains(&now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock as _, SettableClock};
    use crate::testing::ca::FakeCa;

    #[test]
    fn what_one_client_learns_of_a_ca_is_known_for_an_hour_there_and_nowhere_else() {
        let clock = Arc::new(SettableClock::new(Timestamp::from_second(1_700_000_000).unwrap()));
        let [http, other]: [Arc<dyn HttpClient>; 2] = [(); 2].map(|()| FakeCa::new(Arc::clone(&clock), |_| None) as _);
        let body = br#"{"newNonce":"https://ca/n","newAccount":"https://ca/a","newOrder":"https://ca/o"}"#;
        let directory = Directory::parse("https://ca/dir", body).unwrap();
        let all = Arc::<KnownCas>::default();
        let now = clock.now();
        let own = all.at(&http, "https://ca/dir");
        own.learn_account("u1");
        assert!(!own.takes("u1"), "there is no directory");
        own.learn_directory(&directory, now);
        own.learn_account("u1");
        let knows = |ca: &KnownCa, at| (ca.directory(at).is_some(), ca.takes("u1"), ca.takes("u2"));
        let minutes = |minutes| now + SignedDuration::from_mins(minutes);
        let again = all.at(&http, "https://ca/dir");
        for (ca, at, expected) in [
            (&again, now, (true, true, false)),
            (&again, minutes(59), (true, true, false)),
            (&again, minutes(60), (false, true, false)),
            (&again, minutes(-1), (false, true, false)),
            (&all.at(&other, "https://ca/dir"), now, (false, false, false)),
            (&all.at(&http, "https://ca/other"), now, (false, false, false)),
        ] {
            assert_eq!(knows(ca, at), expected, "{} {at}", ca.url);
        }
        own.learn_directory(&directory, minutes(60));
        assert_eq!(knows(&again, minutes(60)), (true, false, false));
        again.forget();
        assert_eq!(knows(&own, now), (false, false, false));
    }
}
