//! Sets of `domains/` that a handshake decodes when it is the first to ask: a start takes most of its time to have OpenSSL decode
//! certificates and keys that nobody has asked for yet.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Pair, StoredPair, TlsSet};
use crate::crypto::{Certificate, Chain, CryptoError, PrivateKey, TlsPair};
use crate::model::{DomainName, KeySpec};

/// The number of decoded sets that a process keeps, some 15 KB each. The one that no handshake used for the longest time goes
/// first.
const MOST: usize = 1000;

/// What PEM has in the first or third line of a key with a pass phrase.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// Memory that children share with the parent that filled it.
pub trait SharedBytes: Send + Sync {
    /// Copies bytes into the memory; `None` if there is no room.
    fn keep(&mut self, bytes: &[u8]) -> Option<Place>;

    /// Returns bytes that were kept.
    fn get(&self, place: Place) -> &[u8];

    /// Makes the memory read-only.
    fn seal(&mut self);
}

/// Where bytes are in the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The first of them.
    pub at: usize,
    /// How many they are.
    pub length: usize,
}

/// Sets of the start, by their number.
pub struct LazySets {
    bytes: Box<dyn SharedBytes>,
    sets: Vec<LazySet>,
    numbers: HashMap<DomainName, usize>,
    /// Issuers that several chains have in common, in DER.
    issuers: HashMap<Vec<u8>, Place>,
    /// Readies a pair for handshakes.
    share_key: fn(&mut TlsPair) -> bool,
    /// Moves with each set that is decoded: handshakes with decoded sets only read it.
    clock: AtomicU32,
    decoded: AtomicUsize,
    most: usize,
}

struct LazySet {
    pairs: Vec<LazyPair>,
    decoded: RwLock<Option<Arc<TlsSet>>>,
    /// The clock when a handshake last used the set.
    used: AtomicU32,
}

struct LazyPair {
    spec: KeySpec,
    key: Place,
    chain: Vec<Place>,
}

impl LazySets {
    /// Makes an empty collection, whose bytes go to this memory.
    #[must_use]
    pub fn new(bytes: Box<dyn SharedBytes>, share_key: fn(&mut TlsPair) -> bool) -> Self {
        Self {
            bytes,
            sets: Vec::new(),
            numbers: HashMap::new(),
            issuers: HashMap::new(),
            share_key,
            clock: AtomicU32::new(0),
            decoded: AtomicUsize::new(0),
            most: MOST,
        }
    }

    /// Adds the set of a domain, whose keys have no pass phrase. Returns its number; `None` if there is no room, or a key is
    /// encrypted.
    pub fn add(&mut self, name: &DomainName, pairs: &[StoredPair]) -> Option<usize> {
        if let Some(known) = self.numbers.get(name) {
            return Some(*known);
        }
        let pairs =
            pairs.iter().map(|pair| self.keep(pair)).collect::<Option<Vec<_>>>().filter(|all| !all.is_empty())?;
        let number = self.sets.len();
        self.sets.push(LazySet { pairs, decoded: RwLock::new(None), used: AtomicU32::new(0) });
        self.numbers.insert(name.clone(), number);
        Some(number)
    }

    fn keep(&mut self, pair: &StoredPair) -> Option<LazyPair> {
        let [leaf, issuers @ ..] = pair.chain.certificates() else { return None };
        if pair.key.windows(ENCRYPTED.len()).any(|part| part == ENCRYPTED) {
            return None;
        }
        let key = self.bytes.keep(&pair.key)?;
        let mut chain = vec![self.bytes.keep(leaf.to_der())?];
        for issuer in issuers {
            let der = issuer.to_der();
            let known = self.issuers.get(der).copied();
            let place = if known.is_some() { known } else { self.bytes.keep(der) }?;
            if known.is_none() {
                self.issuers.insert(der.to_vec(), place);
            }
            chain.push(place);
        }
        Some(LazyPair { spec: pair.spec.clone(), key, chain })
    }

    /// Ends the start: nothing is added any more.
    pub fn seal(&mut self) {
        self.bytes.seal();
        self.issuers = HashMap::new();
        self.numbers = HashMap::new();
    }

    /// Returns the number of sets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.len()
    }

    /// Checks whether there is no set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Returns the set with this number; `None` if there is none. For handshakes: decodes the set if this process has not done so,
    /// and reads no file.
    ///
    /// # Errors
    /// Those of OpenSSL.
    pub fn get(&self, number: usize) -> Result<Option<Arc<TlsSet>>, CryptoError> {
        let Some(set) = self.sets.get(number) else { return Ok(None) };
        set.used.store(self.now(), Ordering::Relaxed);
        if let Some(known) = &*set.decoded.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Some(Arc::clone(known)));
        }
        // Outside of the lock, as others must not wait: two threads may decode one set, and the first to come keeps it.
        let new = Arc::new(self.decode(set)?);
        let mut decoded = set.decoded.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*decoded {
            return Ok(Some(Arc::clone(known)));
        }
        *decoded = Some(Arc::clone(&new));
        drop(decoded);
        set.used.store(self.clock.fetch_add(1, Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
        if self.decoded.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.drop_oldest(number);
        }
        Ok(Some(new))
    }

    /// Returns the moment of uses since a set was last decoded.
    fn now(&self) -> u32 {
        self.clock.load(Ordering::Relaxed).wrapping_add(1)
    }

    fn decode(&self, set: &LazySet) -> Result<TlsSet, CryptoError> {
        let decode = |pair: &LazyPair| {
            let certificates = pair.chain.iter().map(|place| Certificate::from_der(self.bytes.get(*place)));
            let chain = Chain::of(certificates.collect::<Result<_, _>>()?);
            let key = PrivateKey::from_pem(self.bytes.get(pair.key), None)?;
            Ok(Pair { spec: pair.spec.clone(), key, chain })
        };
        let pairs = set.pairs.iter().map(decode).collect::<Result<Vec<_>, CryptoError>>()?;
        let mut decoded = TlsSet::of_start(&pairs)?;
        decoded.pairs.iter_mut().try_for_each(|(_, pair)| pair.share_key(self.share_key))?;
        Ok(decoded)
    }

    /// Drops the decoded set that no handshake used for the longest time. Handshakes that have it keep it.
    fn drop_oldest(&self, new: usize) {
        let now = self.now();
        let is_decoded = |set: &LazySet| set.decoded.read().is_ok_and(|decoded| decoded.is_some());
        let others = self.sets.iter().enumerate().filter(|(number, set)| *number != new && is_decoded(set));
        let oldest = others.max_by_key(|(_, set)| now.wrapping_sub(set.used.load(Ordering::Relaxed)));
        let Some((_, oldest)) = oldest else { return };
        let former = oldest.decoded.write().unwrap_or_else(PoisonError::into_inner).take();
        if former.is_some() {
            self.decoded.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::self_signed;
    use crate::model::Timestamp;
    use zeroize::Zeroizing;

    struct Heap(Vec<u8>, usize);

    impl SharedBytes for Heap {
        fn keep(&mut self, bytes: &[u8]) -> Option<Place> {
            let place = Place { at: self.0.len(), length: bytes.len() };
            self.0.extend_from_slice(bytes);
            (self.0.len() <= self.1).then_some(place)
        }

        fn get(&self, place: Place) -> &[u8] {
            &self.0[place.at..place.at + place.length]
        }

        fn seal(&mut self) {
            self.1 = 0;
        }
    }

    fn lazy(room: usize) -> LazySets {
        LazySets::new(Box::new(Heap(Vec::new(), room)), |_| false)
    }

    fn name(number: usize) -> DomainName {
        DomainName::parse(&format!("lazy{number}.test")).unwrap()
    }

    fn pair(number: usize, issuer: &Certificate) -> StoredPair {
        let spec = KeySpec::Ec { curve: "P-256".to_owned() };
        let key = PrivateKey::generate(&spec).unwrap();
        let leaf = self_signed(&key, "x", &[name(number)], Timestamp::UNIX_EPOCH, 9).unwrap();
        StoredPair { spec, key: key.to_pem().unwrap(), chain: Chain::of(vec![leaf, issuer.clone()]) }
    }

    fn issuer() -> Certificate {
        let key = PrivateKey::generate(&KeySpec::Ec { curve: "P-256".to_owned() }).unwrap();
        self_signed(&key, "issuer", &[name(0)], Timestamp::UNIX_EPOCH, 9).unwrap()
    }

    #[test]
    fn a_set_is_decoded_once_and_the_least_recently_used_goes_first() {
        let issuer = issuer();
        let mut sets = lazy(1 << 20);
        let pairs: Vec<_> = (0..4).map(|number| pair(number, &issuer)).collect();
        for (number, pair) in pairs.iter().enumerate() {
            assert_eq!(sets.add(&name(number), std::slice::from_ref(pair)), Some(number));
            assert_eq!(sets.add(&name(number), &[]), Some(number), "a second host of the domain");
        }
        sets.seal();
        sets.most = 2;
        let get = |number| sets.get(number).unwrap().unwrap();
        let [first, second] = [0, 1].map(get);
        assert!(Arc::ptr_eq(&first, &get(0)), "used since the second was decoded");
        assert_eq!(first.pairs[0].1.sha1(), &pairs[0].chain.leaf().sha1());
        assert!(first.is_whole && first.lacks.is_empty());
        get(2);
        assert!(Arc::ptr_eq(&first, &get(0)));
        assert!(!Arc::ptr_eq(&second, &get(1)), "it made room for the third");
        assert!(sets.decoded.load(Ordering::Relaxed) <= 2);
        assert!(sets.get(4).unwrap().is_none());
    }

    #[test]
    fn issuers_are_kept_once_and_what_has_no_room_is_left_to_files() {
        let issuer = issuer();
        let one = pair(0, &issuer);
        let size = one.key.len() + one.chain.leaf().to_der().len();
        let mut sets = lazy(2 * size + issuer.to_der().len() + 100);
        assert_eq!(sets.add(&name(0), &[one]), Some(0));
        assert_eq!(sets.add(&name(1), &[pair(1, &issuer)]), Some(1));
        assert_eq!(sets.add(&name(2), &[pair(2, &issuer)]), None);
        assert_eq!(sets.add(&name(3), &[]), None);
        let encrypted = PrivateKey::generate(&KeySpec::Default).unwrap().to_encrypted_pem(b"pass").unwrap();
        let encrypted = StoredPair { key: Zeroizing::new(encrypted), ..pair(4, &issuer) };
        assert_eq!(lazy(1 << 20).add(&name(4), &[encrypted]), None);
        assert_eq!(sets.len(), 2);
    }

    #[test]
    fn a_key_that_cannot_be_read_is_an_error() {
        let mut sets = lazy(1 << 20);
        let damaged = StoredPair { key: Zeroizing::new(b"no key".to_vec()), ..pair(0, &issuer()) };
        let number = sets.add(&name(0), &[damaged]).unwrap();
        assert!(sets.get(number).is_err());
    }
}
