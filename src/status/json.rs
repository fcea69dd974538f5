//! The documents of the md-status handler.

use serde_json::{Map, Value, json};

use crate::model::{VERSION, time};
use crate::registry::{CertificateFacts, Entry, Registry, Validity, common_validity, staged_facts, staged_report};

/// All domains, by name, without the logs of their renewals.
#[must_use]
pub fn listing(registry: &Registry) -> Value {
    let mut entries: Vec<&Entry> = registry.entries.iter().collect();
    entries.sort_by(|a, b| a.md.name.cmp(&b.md.name));
    let mut listing = Map::new();
    listing.insert("version".to_owned(), VERSION.into());
    if !entries.is_empty() {
        listing.insert(
            "managed-domains".to_owned(),
            entries.into_iter().map(|entry| object(registry, entry, false)).collect(),
        );
    }
    Value::Object(listing)
}

/// The domain that is called `name` or has this name, with the log of its renewal; `None` if there is none.
#[must_use]
pub fn domain(registry: &Registry, name: &str) -> Option<Value> {
    let called = registry.entries.iter().find(|entry| entry.md.name.as_str().eq_ignore_ascii_case(name));
    let entry = called.or_else(|| registry.entries.get(registry.index.covering(name)?))?;
    Some(object(registry, entry, true))
}

fn object(registry: &Registry, entry: &Entry, with_log: bool) -> Value {
    let (now, md) = (registry.clock.now(), &entry.md);
    let mut value = serde_json::to_value(&**md).unwrap_or_default();
    let Some(members) = value.as_object_mut() else { return value };
    if let Some(hmac) = members.get_mut("eab").and_then(|eab| eab.get_mut("hmac")) {
        *hmac = "***".into();
    }
    let renew_at = entry.renew_at(now);
    members.insert("cert".to_owned(), certificates(entry.live.certificates.iter().map(Option::as_ref)));
    members.insert("renew-at".to_owned(), time::format_gmt(renew_at).into());
    members.insert("watched".to_owned(), entry.watched.into());
    let job = staged_report(&registry.vault, md);
    if job.is_some() || (renew_at <= now && entry.renewable()) {
        members.insert("renew".to_owned(), true.into());
    }
    if let Some(job) = job {
        let job = if with_log { job } else { job.without_log() };
        let mut renewal = serde_json::to_value(job).unwrap_or_default();
        if let Some(renewal) = renewal.as_object_mut() {
            let staged = staged_facts(&registry.vault, md);
            renewal.insert("cert".to_owned(), certificates(staged.iter().map(Option::as_ref)));
        }
        members.insert("renewal".to_owned(), renewal);
    }
    value
}

/// One member per certificate, and the span in which all are good.
fn certificates<'a>(all: impl Iterator<Item = Option<&'a CertificateFacts>> + Clone) -> Value {
    let mut members: Map<String, Value> =
        all.clone().flatten().map(|facts| (facts.spec.clone(), certificate(facts))).collect();
    if let Some(common) = common_validity(all) {
        members.insert("valid".to_owned(), validity(common));
    }
    Value::Object(members)
}

fn certificate(facts: &CertificateFacts) -> Value {
    let mut value = json!({ "issuer-name": facts.issuer_name });
    let mut set = |name: &str, member: Value| value[name] = member;
    if let Some(uri) = &facts.issuer_uri {
        set("issuer-uri", uri.as_str().into());
    }
    set("valid", validity(facts.validity));
    set("serial", facts.serial.as_str().into());
    set("sha256-fingerprint", facts.sha256_fingerprint.as_str().into());
    if let Some(id) = &facts.ari_cert_id {
        set("ari-cert-id", id.as_str().into());
    }
    value
}

fn validity((from, until): Validity) -> Value {
    json!({ "from": time::format_gmt(from), "until": time::format_gmt(until) })
}
