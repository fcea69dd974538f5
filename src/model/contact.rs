//! Contacts of accounts (RFC 8555 section 7.3).

/// Returns the contact as a URI: `mailto:` goes in front unless there is a scheme.
#[must_use]
pub fn contact_uri(text: &str) -> String {
    let scheme = text.split_once(':').map_or("", |(scheme, _)| scheme);
    if !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        text.to_owned()
    } else {
        format!("mailto:{text}")
    }
}

/// Checks a mail address.
///
/// # Errors
/// The first part that is wrong.
pub fn check_mail(address: &str) -> Result<(), &'static str> {
    let (local, host) = address.split_once('@').ok_or("missing '@' in mail address")?;
    if local.is_empty() {
        Err("missing local part in mail address")
    } else if host.contains('@') {
        Err("more than one '@' in mail address")
    } else if local.split('.').any(str::is_empty) {
        Err("wrong local part in mail address")
    } else if !is_host(host) || host.ends_with('.') {
        Err("missing or wrong host in mail address")
    } else {
        Ok(())
    }
}

/// Whether a text may be the name of a host in a mail address or a URL.
#[must_use]
pub fn is_host(text: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    !text.is_empty() && !text.starts_with('.') && text.chars().all(known) && !text.contains("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contacts_become_uris() {
        for (text, uri) in [("a@x.org", "mailto:a@x.org"), ("mailto:a@x.org", "mailto:a@x.org"), ("tel:1", "tel:1")] {
            assert_eq!(contact_uri(text), uri);
        }
    }
}
