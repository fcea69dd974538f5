//! Tests that different spellings of a name, in hosts and in the store, are one name of one domain.

use std::collections::HashSet;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;
use crate::model::State;
use crate::registry::Host;
use crate::store::{Aspect, Group};

const NAMES: [&str; 3] = ["m\u{fc}ller.x.test", "shop.x.test", "www.stra\u{df}e.x.test"];

/// Returns a random spelling of one of the names.
fn spelling() -> impl Strategy<Value = String> {
    let upper = |name: String| name.to_uppercase().replace("SS", "\u{df}");
    let ascii = |name: String| DomainName::parse(&name).unwrap().to_string();
    let part = (any::<bool>(), any::<bool>(), select(&["", ".", ":443", ".:8443"][..]));
    (select(&NAMES[..]), part).prop_map(move |(name, (is_upper, is_ascii, end))| {
        let name = if is_ascii { ascii(name.to_owned()) } else { name.to_owned() };
        let name = if is_upper && is_ascii {
            name.to_ascii_uppercase()
        } else if is_upper {
            upper(name)
        } else {
            name
        };
        name + end
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_spelling_makes_a_name_ordered_or_stored_twice(
        spellings in prop::collection::vec(spelling(), 1..8), declared in any::<Index>(), hosts in any::<Index>()
    ) {
        let mut server = TestServer::new(&[]);
        let texts: Vec<&str> = spellings.iter().map(String::as_str).collect();
        // Some names are the domain's, others come from its host, and at least one is in both.
        let (own, others) = texts.split_at(declared.index(texts.len()) + 1);
        let mut domain = crate::testing::declared(&[]);
        domain.add_words(own).unwrap();
        server.declared = vec![domain];
        let aliases = others.iter().chain(own).map(|text| (*text).into());
        server.hosts = vec![Host::called(Some(own[hosts.index(own.len())]), aliases, [])];
        drop(server.run(false));

        let names: HashSet<_> = texts.iter().map(|text| DomainName::parse(text).unwrap().to_string()).collect();
        // The CA refuses a CSR whose names differ from those of its order.
        let orders = server.ca.ordered();
        prop_assert_eq!(orders.len(), 1);
        let ordered: Vec<String> = orders[0].iter().filter_map(|name| Some(name["value"].as_str()?.to_owned())).collect();
        let registry = server.start(true);
        prop_assert_eq!(registry.domains[0].at_start.state, Some(State::Complete));
        let own = registry.domains[0].md.name.as_str();
        let stored: serde_json::Value = server.documents.load_json(Group::Domains, own, &Aspect::MdJson).unwrap();
        let stored: Vec<String> = serde_json::from_value(stored["domains"].clone()).unwrap();
        for found in [ordered, stored] {
            prop_assert_eq!(found.len(), names.len(), "{:?}", found);
            prop_assert_eq!(&found.into_iter().collect::<HashSet<_>>(), &names);
        }
    }
}

#[test]
fn names_that_the_c_module_has_stored_in_another_spelling_are_taken_over() {
    for former in ["a.test.", "A.test", "m\u{fc}ller.test"] {
        let name = DomainName::parse(former).unwrap();
        let server = TestServer::new(&[name.as_str()]);
        drop(server.run(false));
        drop(server.start(true));
        let text = server.text(Group::Domains, name.as_str(), &Aspect::MdJson).unwrap();
        let mut stored: serde_json::Value = serde_json::from_str(&text).unwrap();
        stored["name"] = former.into();
        stored["domains"] = [former, name.as_str()].into();
        server.put(Group::Domains, name.as_str(), &Aspect::MdJson, &stored.to_string());
        server.store.rename((Group::Domains, name.as_str()), (Group::Domains, former)).unwrap();
        let registry = server.start(false);
        assert_eq!(registry.domains[0].at_start.state, Some(State::Complete), "{former}");
        assert_eq!(server.store.list(Group::Domains).unwrap(), [name.as_str()]);
        let stored: serde_json::Value =
            server.documents.load_json(Group::Domains, name.as_str(), &Aspect::MdJson).unwrap();
        assert_eq!(stored["domains"], serde_json::json!([name.as_str()]));
    }
}
