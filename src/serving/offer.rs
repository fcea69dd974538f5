//! The certificate that a TLS host gets at a start.

/// Facts about a host that uses TLS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TlsHost {
    /// The Managed Domain of the host, if it has one.
    pub domain: Option<Domain>,
    /// The configuration has certificate files for the host (`SSLCertificateFile`).
    pub has_own_files: bool,
    /// The server runs already: what mod_ssl cannot use would end it.
    pub is_restart: bool,
}

/// Facts about the Managed Domain of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Domain {
    /// The administrator's files serve as its certificates (`MDCertificateFile`).
    pub is_static: bool,
    /// At least one key has a certificate that fits it.
    pub has_usable: bool,
}

/// Where the certificate comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// The administrator's files of the Managed Domain.
    StaticFiles,
    /// The store, which has certificates of the Managed Domain.
    Store,
    /// The configuration's files, until the Managed Domain has a certificate.
    OwnFiles,
    /// A placeholder, under which nothing is served.
    Placeholder,
    /// The placeholder of a Managed Domain that was probably meant for this host, or else another module.
    Substitute,
    /// The configuration's files, or another module.
    Others,
}

impl Offer {
    /// Returns where the certificate of a host comes from.
    ///
    /// The administrator's files are taken at a start even if they are unusable: mod_ssl says what is wrong with them.
    #[must_use]
    pub fn to(host: TlsHost) -> Self {
        match (host.domain, host.has_own_files) {
            (None, true) => Self::Others,
            (None, false) => Self::Substitute,
            (Some(domain), _) if domain.is_static && (domain.has_usable || !host.is_restart) => Self::StaticFiles,
            (Some(domain), _) if domain.has_usable => Self::Store,
            (Some(_), true) => Self::OwnFiles,
            (Some(_), false) => Self::Placeholder,
        }
    }

    /// Checks whether certificates of the store take the place of what is offered as soon as there are some.
    #[must_use]
    pub fn is_managed(self) -> bool {
        matches!(self, Self::Store | Self::OwnFiles | Self::Placeholder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_certificate_that_there_is_is_offered() {
        const STATIC: bool = true;
        const USABLE: bool = true;
        const FILES: bool = true;
        const RESTART: bool = true;
        let rows = [
            (None, !FILES, !RESTART, Offer::Substitute),
            (None, !FILES, RESTART, Offer::Substitute),
            (None, FILES, !RESTART, Offer::Others),
            (None, FILES, RESTART, Offer::Others),
            (Some((!STATIC, !USABLE)), !FILES, !RESTART, Offer::Placeholder),
            (Some((!STATIC, !USABLE)), !FILES, RESTART, Offer::Placeholder),
            (Some((!STATIC, !USABLE)), FILES, !RESTART, Offer::OwnFiles),
            (Some((!STATIC, !USABLE)), FILES, RESTART, Offer::OwnFiles),
            (Some((!STATIC, USABLE)), !FILES, !RESTART, Offer::Store),
            (Some((!STATIC, USABLE)), FILES, RESTART, Offer::Store),
            (Some((STATIC, USABLE)), !FILES, !RESTART, Offer::StaticFiles),
            (Some((STATIC, USABLE)), FILES, RESTART, Offer::StaticFiles),
            (Some((STATIC, !USABLE)), !FILES, !RESTART, Offer::StaticFiles),
            (Some((STATIC, !USABLE)), FILES, !RESTART, Offer::StaticFiles),
            (Some((STATIC, !USABLE)), !FILES, RESTART, Offer::Placeholder),
            (Some((STATIC, !USABLE)), FILES, RESTART, Offer::OwnFiles),
        ];
        for (domain, has_own_files, is_restart, expected) in rows {
            let domain = domain.map(|(is_static, has_usable)| Domain { is_static, has_usable });
            let host = TlsHost { domain, has_own_files, is_restart };
            assert_eq!(Offer::to(host), expected, "{host:?}");
        }
    }

    #[test]
    fn files_and_other_modules_give_way_to_nothing() {
        let managed = [Offer::Store, Offer::OwnFiles, Offer::Placeholder];
        let all =
            [Offer::StaticFiles, Offer::Store, Offer::OwnFiles, Offer::Placeholder, Offer::Substitute, Offer::Others];
        for offer in all {
            assert_eq!(offer.is_managed(), managed.contains(&offer), "{offer:?}");
        }
    }
}
