//! Tests of the table and of the values in it.

use std::io::{Error, ErrorKind};

use super::*;
use crate::model::{ActivationMode, DailyWindow, Eab, MatchNames, MemberMode, RenewMode, RequireHttps};

#[derive(Default)]
struct Config {
    globals: Globals,
    settings: Settings,
    declared: Vec<Declared>,
}

impl Config {
    /// With a domain that a section can be of.
    fn new() -> Self {
        let mut config = Self::default();
        config.run(false, "MDomain x.org").unwrap();
        config
    }

    /// Handles a line as httpd hands it on; `'` holds words together.
    fn run(&mut self, in_section: bool, line: &str) -> Result<(), String> {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let directive = DIRECTIVES.iter().find(|row| row.name().eq_ignore_ascii_case(name)).expect("a known name");
        let target = if in_section {
            Target::Domain(&mut self.declared[0])
        } else {
            Target::Server { settings: &mut self.settings, declared: &mut self.declared }
        };
        let resolve = |path: &str| (path != "bad").then(|| PathBuf::from("/root").join(path));
        let mut scope =
            Scope { globals: &mut self.globals, target, origin: Origin::default(), resolve: &resolve, read: &read };
        let quoted = rest.split('\'').enumerate().flat_map(|(at, part)| match at % 2 {
            0 => part.split_whitespace().collect(),
            _ => vec![part],
        });
        let words: Vec<&str> = if directive.args == Args::Line { vec![rest] } else { quoted.collect() };
        directive.run(&mut scope, &words)
    }
}

/// Files by the end of their names.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let text = match path.file_name().and_then(|name| name.to_str()).unwrap_or_default() {
        "eab.json" => r#"{ "kid": "k", "hmac": "aGVsbG8" }"#,
        "cut-off.json" => r#"{ "kid": "k", "hmac": "aGVsb" }"#,
        "damaged.json" => r#"{ "kid": "#,
        "no-kid.json" => r#"{ "hmac": "h" }"#,
        "no-hmac.json" => r#"{ "kid": "k", "hmac": 1 }"#,
        "locked.json" => return Err(Error::from(ErrorKind::PermissionDenied)),
        "listed.json" => return Ok(None),
        _ => return Err(Error::from(ErrorKind::NotFound)),
    };
    Ok(Some(text.as_bytes().to_vec()))
}

/// Name, arguments, place, whether the C module has it.
type Row = (&'static str, Args, Place, bool);

#[rustfmt::skip]
const TABLE: [Row; 56] = {
    use Args::*;
    use Place::*;
    [
        ("<MDomain", Section, Server, true),
        ("<MDomainSet", Section, Server, true),
        ("MDActivation", One, Anywhere, false),
        ("MDActivationDelay", One, Server, true),
        ("MDActivationMinInterval", One, Server, false),
        ("MDActivationWindow", One, Server, false),
        ("MDBaseServer", One, Server, true),
        ("MDCACertificateFile", One, Anywhere, true),
        ("MDCAChallenges", List, Anywhere, true),
        ("MDCertificateAgreement", One, Anywhere, true),
        ("MDCertificateAuthority", List, Anywhere, true),
        ("MDCertificateCheck", Two, Anywhere, true),
        ("MDCertificateFile", One, Domain, true),
        ("MDCertificateKeyFile", One, Domain, true),
        ("MDCertificateMonitor", Two, Anywhere, false),
        ("MDCertificateProtocol", One, Anywhere, true),
        ("MDCertificateStatus", One, Anywhere, true),
        ("MDChallengeDns01", Line, Anywhere, true),
        ("MDChallengeDns01Version", One, Server, true),
        ("MDCheckInterval", One, Server, true),
        ("MDCmdTimeout", OneOrTwo, Server, false),
        ("MDContactEmail", One, Anywhere, true),
        ("MDDriveMode", One, Anywhere, true),
        ("MDExternalAccountBinding", OneOrTwo, Anywhere, true),
        ("MDHttpProxy", One, Anywhere, true),
        ("MDHttpProxyCACertificateFile", One, Anywhere, true),
        ("MDInitialDelay", One, Server, true),
        ("MDLazyCertificates", One, Server, false),
        ("MDMatchNames", One, Server, true),
        ("MDMember", List, Anywhere, true),
        ("MDMembers", List, Anywhere, true),
        ("MDMessageCmd", Line, Server, true),
        ("MDMessageEvents", One, Server, false),
        ("MDMustStaple", One, Anywhere, true),
        ("MDNotifyCmd", Line, Server, true),
        ("MDPortMap", OneOrTwo, Server, true),
        ("MDPreferredChain", One, Anywhere, false),
        ("MDPrivateKeys", List, Anywhere, true),
        ("MDProfile", One, Anywhere, true),
        ("MDProfileMandatory", One, Anywhere, true),
        ("MDRenewMode", One, Anywhere, true),
        ("MDRenewViaARI", One, Anywhere, true),
        ("MDRenewWindow", One, Anywhere, true),
        ("MDRenewWorkers", One, Server, false),
        ("MDRequireHttps", One, AnywhereOrIf, true),
        ("MDRetryDelay", One, Server, true),
        ("MDRetryFailover", One, Server, true),
        ("MDServerStatus", One, Anywhere, true),
        ("MDStapleOthers", One, Anywhere, true),
        ("MDStapling", One, Anywhere, true),
        ("MDStaplingKeepResponse", One, Anywhere, true),
        ("MDStaplingRenewWindow", One, Anywhere, true),
        ("MDStoreDir", One, Server, true),
        ("MDStoreLocks", One, Server, true),
        ("MDWarnWindow", One, Anywhere, true),
        ("MDomain", List, Server, true),
    ]
};

#[test]
fn the_table_has_the_directives_of_the_c_module_and_marks_what_differs() {
    let mut rows: Vec<Row> = DIRECTIVES.iter().map(|row| (row.name(), row.args, row.place, !row.is_ours)).collect();
    rows.sort_unstable_by_key(|row| row.0);
    for (row, expected) in rows.iter().zip(TABLE) {
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.len(), TABLE.len());
    for row in &DIRECTIVES {
        assert!(!row.help.is_empty(), "{}", row.name());
    }
}

const IN: bool = true;
const OUT: bool = false;

#[test]
fn wrong_values_are_refused_in_words() {
    let on_off = "supported parameter values are 'on' and 'off'";
    let rows = [
        (OUT, "MDomain", "needs at least one domain name"),
        (OUT, "MDomain auto", "needs at least one domain name"),
        (OUT, "MDomain a/b.org", "cannot be a domain name"),
        (OUT, "<MDomain", "section must specify a unique domain name"),
        (OUT, "<MDomainSet", "section must specify a unique domain name"),
        (IN, "<MDomain y.org", "is not allowed inside an '<MDomainSet' context"),
        (IN, "MDomain x.org", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDMember x.org", "unknown value 'x.org', use 'auto|manual'"),
        (OUT, "MDMembers", "is only valid inside a '<MDomainSet' context, not here"),
        (OUT, "MDMembers x.org y.org", "is only valid inside a '<MDomainSet' context, not here"),
        (IN, "MDMember a/b", "cannot be a domain name"),
        (OUT, "MDCertificateAuthority nobody", "The CA name 'nobody' is not known "),
        (OUT, "MDCertificateAuthority nobody", "Known CA names are: LetsEncrypt, "),
        (OUT, "MDCertificateAuthority https://", "is not known "),
        (
            OUT,
            "MDCertificateAuthority file://x.org/run/sock",
            "is not on this machine: use file://localhost/path/to/socket",
        ),
        (OUT, "MDPrivateKeys", "needs to specify the private key type"),
        (OUT, "MDPrivateKeys RSA 1024", "must be 2048 or higher in order to be considered safe."),
        (OUT, "MDPrivateKeys RSA 2147483647", "is too large for an RSA key length."),
        (OUT, "MDPrivateKeys RSA 99999999999", "is too large for an RSA key length."),
        (OUT, "MDPrivateKeys RSA rsa4096", "two keys of type 'RSA' are not possible."),
        (OUT, "MDPrivateKeys p-256 secp384r1 P-256", "two keys of type 'P-256' are not possible."),
        (OUT, "MDPrivateKeys rsa default", "'Default' allows no other parameter"),
        (OUT, "MDRenewMode never", "unknown mode 'never', use 'auto'"),
        (OUT, "MDDriveMode never", "unknown mode 'never', use 'auto'"),
        (OUT, "MDRenewWindow soon", "has unrecognized format"),
        (OUT, "MDRenewWindow -1%", "percent must be less than 100"),
        (OUT, "MDRenewWindow 100%", "a length of 100% or more is not allowed."),
        (OUT, "MDWarnWindow 3m", "has unrecognized format"),
        (OUT, "MDWarnWindow 101%", "a length of 100% or more is not allowed."),
        (OUT, "MDStaplingRenewWindow 100%", "with a length of 100% or more is not allowed."),
        (OUT, "MDStaplingRenewWindow x", "has unrecognized format"),
        (OUT, "MDStaplingKeepResponse x", "has unrecognized format"),
        (OUT, "MDStaplingKeepResponse -1%", "percent must be less than 100"),
        (OUT, "MDMustStaple x", on_off),
        (OUT, "MDProfileMandatory x", on_off),
        (OUT, "MDRenewViaARI x", on_off),
        (OUT, "MDStapling x", on_off),
        (OUT, "MDStapleOthers x", on_off),
        (OUT, "MDBaseServer x", on_off),
        (OUT, "MDServerStatus x", on_off),
        (OUT, "MDCertificateStatus x", on_off),
        (OUT, "MDExternalAccountBinding bad", "Invalid file path"),
        (OUT, "MDExternalAccountBinding none.json", "file not found: /root/none.json"),
        (OUT, "MDExternalAccountBinding locked.json", "error reading JSON file /root/locked.json"),
        (OUT, "MDExternalAccountBinding damaged.json", "error reading JSON file /root/damaged.json"),
        (OUT, "MDExternalAccountBinding no-kid.json", "JSON does not contain 'kid' element in file /root/no-kid.json"),
        (OUT, "MDExternalAccountBinding no-hmac.json", "JSON does not contain 'hmac' element in file "),
        (OUT, "MDExternalAccountBinding cut-off.json", "'hmac' element in file /root/cut-off.json cannot be decoded"),
        (OUT, "MDExternalAccountBinding kid aGVsb", "the MAC key of 'kid' cannot be decoded: it has to be "),
        (IN, "MDExternalAccountBinding kid aGVs.G8", "the MAC key of 'kid' cannot be decoded"),
        (OUT, "MDExternalAccountBinding kid ==", "the MAC key of 'kid' cannot be decoded"),
        (OUT, "MDExternalAccountBinding kid ''", "the MAC key of 'kid' cannot be decoded"),
        (OUT, "MDChallengeDns01Version 3", "Only versions `1` and `2` are supported"),
        (OUT, "MDChallengeDns01Version 01", "Only versions `1` and `2` are supported"),
        (IN, "MDChallengeDns01Version 2", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDHttpProxy localhost", "missing uri scheme"),
        (OUT, "MDHttpProxy localhost:99", "uri scheme must be http or https"),
        (OUT, "MDHttpProxy ftp://x.org", "uri scheme must be http or https"),
        (OUT, "MDHttpProxy http:x.org", "missing hostname"),
        (OUT, "MDHttpProxy http://:80", "missing hostname"),
        (OUT, "MDHttpProxy http:///path", "missing hostname"),
        (OUT, "MDHttpProxy http://a..b", "invalid hostname"),
        (OUT, "MDHttpProxy http://a_b", "invalid hostname"),
        (OUT, "MDHttpProxy http://[::1", "invalid hostname"),
        (OUT, "MDHttpProxy http://x.org:0", "invalid port"),
        (OUT, "MDHttpProxy http://x.org:65536", "invalid port"),
        (OUT, "MDHttpProxy http://x.org:y", "invalid port"),
        (OUT, "MDHttpProxy 'http://x .org'", "whitespace in uri"),
        (OUT, "MDHttpProxy ''", "missing uri identifier"),
        (OUT, "MDCertificateFile x", "is only valid inside a '<MDomainSet' context, not here"),
        (OUT, "MDCertificateKeyFile x", "is only valid inside a '<MDomainSet' context, not here"),
        (IN, "MDCertificateFile bad", "certificate file not found: "),
        (IN, "MDCertificateKeyFile bad", "certificate key file not found: "),
        (OUT, "MDRequireHttps on", "unknown 'on', supported parameter values are 'temporary' and 'permanent'"),
        (OUT, "MDStoreDir bad", "not a path: bad"),
        (IN, "MDStoreDir x", "is not allowed inside an '<MDomainSet' context"),
        (IN, "MDNotifyCmd x", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDMessageEvents some", "unknown 'some', use 'compatible' or 'all'"),
        (IN, "MDMessageEvents all", "is not allowed inside an '<MDomainSet' context"),
        (IN, "MDMessageCmd x", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDPortMap 80", "no ':' after first port number"),
        (OUT, "MDPortMap x:80", "unable to parse first port number"),
        (OUT, "MDPortMap http:x", "unable to parse second port number"),
        (OUT, "MDPortMap http:0", "invalid number for port map, must be in ]0,65535]"),
        (OUT, "MDPortMap 80:80 81:80", "mapped port number must be 80 or 443"),
        (OUT, "MDCheckInterval 3m", "unrecognized duration format"),
        (OUT, "MDCheckInterval 10ms", "check interval cannot be less than one second"),
        (OUT, "MDInitialDelay x", "unrecognized duration format"),
        (OUT, "MDInitialDelay -1", "initial delay must not be negative"),
        (OUT, "MDRetryDelay x", "unrecognized duration format"),
        (OUT, "MDRetryDelay 0", "minimum delay must be greater than 0"),
        (OUT, "MDCmdTimeout 0", "time-out must be greater than 0"),
        (OUT, "MDCmdTimeout 10s x", "unrecognized duration format"),
        (OUT, "MDRetryFailover 0", "invalid argument, must be a number > 0"),
        (OUT, "MDRetryFailover -1", "invalid argument, must be a number > 0"),
        (OUT, "MDRetryFailover many", "invalid argument, must be a number > 0"),
        (OUT, "MDActivationDelay x", "unrecognized duration format"),
        (OUT, "MDActivation on", "unknown 'on', use 'restart', 'live' or 'graceful'"),
        (OUT, "MDActivationMinInterval 0", "interval cannot be less than one second: '0'"),
        (IN, "MDActivationMinInterval 1h", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDActivationWindow 3-5", "has unrecognized format: '3-5', use hours like 03:00-05:00"),
        (IN, "MDActivationWindow any", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDMatchNames some", "invalid argument, must be a 'all' or 'servernames'"),
        (OUT, "MDRenewWorkers 0", "must be a number from 1 to 64"),
        (OUT, "MDRenewWorkers 65", "must be a number from 1 to 64"),
        (OUT, "MDLazyCertificates maybe", on_off),
        (IN, "MDLazyCertificates on", "is not allowed inside an '<MDomainSet' context"),
        (OUT, "MDStoreLocks maybe", "neither 'on', 'off' or a duration specified"),
        (OUT, "MDStoreLocks -1s", "neither 'on', 'off' or a duration specified"),
        (IN, "MDStoreLocks on", "is not allowed inside an '<MDomainSet' context"),
    ];
    for (in_section, line, phrase) in rows {
        let error = Config::new().run(in_section, line).expect_err(line);
        let name = line.split(' ').next().unwrap();
        assert!(error.starts_with(name) && error.contains(phrase), "{line}: {error}");
    }
}

#[test]
fn what_a_server_says_once_is_set_from_anywhere_and_the_last_one_counts() {
    let mut config = Config::new();
    let lines = [
        (OUT, "MDStoreDir store"),
        (OUT, "MDPortMap 80:8080"),
        (OUT, "MDPortMap https:-"),
        (OUT, "MDCheckInterval 1"),
        (OUT, "MDInitialDelay 3mi"),
        (OUT, "MDRetryDelay 1ms"),
        (OUT, "MDRetryFailover 1"),
        (OUT, "MDActivationDelay -2"),
        (OUT, "MDActivationMinInterval 10mi"),
        (OUT, "MDActivationWindow 03:00-05:00"),
        (OUT, "MDBaseServer ON"),
        (OUT, "MDMatchNames ServerNames"),
        (OUT, "MDRenewWorkers 64"),
        (OUT, "MDChallengeDns01Version 2"),
        (OUT, "MDNotifyCmd  /bin/x 'a  b' c "),
        (OUT, "MDMessageCmd"),
        (OUT, "MDMessageEvents ALL"),
        (OUT, "MDCmdTimeout 30 1h"),
        (OUT, "MDCmdTimeout 20s"),
        (OUT, "MDStaplingKeepResponse 200%"),
        (IN, "MDStaplingRenewWindow 2d"),
        (OUT, "MDServerStatus on"),
        (IN, "MDServerStatus off"),
        (IN, "MDCertificateStatus Off"),
        (IN, "MDCertificateCheck a https://a?"),
        (OUT, "MDCertificateMonitor b https://b?"),
    ];
    for (in_section, line) in lines {
        config.run(in_section, line).unwrap();
    }
    let globals = config.globals;
    let expected = Globals {
        store_dir: Some("/root/store".into()),
        port_map: globals.port_map,
        check_interval: SignedDuration::from_secs(1),
        cmd_timeout: crate::model::CmdTimeout {
            events: std::time::Duration::from_secs(20),
            dns01: std::time::Duration::from_secs(3600),
        },
        initial_delay: SignedDuration::from_secs(180),
        retry_delay: SignedDuration::from_millis(1),
        retry_failover: 1,
        activation_delay: SignedDuration::from_hours(-48),
        activation_interval: SignedDuration::from_mins(10),
        activation_window: Some(DailyWindow::parse("03:00-05:00").unwrap()),
        base_server: true,
        match_names: MatchNames::ServerNames,
        renew_workers: NonZeroU8::new(64).unwrap(),
        dns01_version: 2,
        notify_command: Some("/bin/x 'a  b' c".to_owned()),
        all_events: true,
        keep_response: Window::Percent(200),
        stapling_renew_window: Window::Length(SignedDuration::from_hours(48)),
        server_status: Some(false),
        certificate_status: false,
        certificate_check: ("b".to_owned(), "https://b?".to_owned()),
        ..Globals::default()
    };
    assert_eq!((globals.port_map.http, globals.port_map.https), (Some(8080), None));
    assert_eq!(globals, expected);
    assert_eq!((config.settings, &config.declared[0].settings), (Settings::default(), &Settings::default()));
}

#[test]
fn properties_stay_where_they_are_said() {
    let lines = [
        "MDMembers manual",
        "MDCertificateAuthority letsencrypt-test https://ca.x.org/dir",
        "MDCertificateProtocol Other",
        "MDCertificateAgreement accepted",
        "MDContactEmail a@x.org",
        "MDCAChallenges dns-01 foo-99",
        "MDPrivateKeys RSA",
        "MDDriveMode stick",
        "MDRenewMode Automatic",
        "MDRenewWindow 10",
        "MDWarnWindow 0%",
        "MDMustStaple on",
        "MDProfile short",
        "MDProfileMandatory on",
        "MDPreferredChain Shortest",
        "MDRenewViaARI off",
        "MDActivation Live",
        "MDExternalAccountBinding eab.json",
        "MDRequireHttps Permanent",
        "MDStapling on",
        "MDStapleOthers off",
    ];
    let eab = |kid: &str, hmac: &str| Some(Some(Arc::new(Eab { kid: kid.to_owned(), hmac: hmac.to_owned() })));
    let expected = Settings {
        members: Some(MemberMode::Manual),
        ca_urls: Some(
            ["https://acme-staging-v02.api.letsencrypt.org/directory", "https://ca.x.org/dir"]
                .map(str::to_owned)
                .to_vec(),
        ),
        protocol: Some("Other".into()),
        agreement: Some("accepted".to_owned()),
        contact: Some(Contact::of_directive("mailto:a@x.org", Origin::default())),
        challenges: Some(vec!["dns-01".to_owned(), "foo-99".to_owned()]),
        keys: Some(Arc::new(KeySpecs::parse(&["RSA"]).unwrap())),
        renew_mode: Some(RenewMode::Auto),
        renew_window: Some(Window::Length(SignedDuration::from_hours(240))),
        warn_window: Some(Window::Percent(0)),
        must_staple: Some(true),
        profile: Some("short".into()),
        profile_mandatory: Some(true),
        preferred_chain: Some("shortest".into()),
        ari_renewals: Some(false),
        activation: Some(ActivationMode::Live),
        eab: eab("k", "aGVsbG8"),
        require_https: Some(Some(RequireHttps::Permanent)),
        stapling: Some(true),
        staple_others: Some(false),
        // Without `..`, so that the compiler asks for the line of a new setting. These have tests of their own.
        cert_files: Vec::new(),
        key_files: Vec::new(),
        dns01_command: None,
        proxy: None,
        proxy_ca_file: None,
        ca_file: None,
    };
    let mut domains = Vec::new();
    for in_section in [IN, OUT] {
        let mut config = Config::new();
        lines.iter().for_each(|line| config.run(in_section, line).unwrap());
        let (own, other) = if in_section {
            (&config.declared[0].settings, &config.settings)
        } else {
            (&config.settings, &config.declared[0].settings)
        };
        assert_eq!((own, other), (&expected, &Settings::default()));
        domains.push(config.declared[0].complete(&config.settings));
    }
    assert_eq!(domains[0], domains[1], "a domain inherits what it does not say");
    for (line, expected) in [
        ("MDExternalAccountBinding kid hmac", eab("kid", "hmac")),
        ("MDExternalAccountBinding kid A-z_4ME", eab("kid", "A-z_4ME")),
        ("MDExternalAccountBinding kid A+z/4ME=", eab("kid", "A-z_4ME")),
        ("MDExternalAccountBinding NONE", Some(None)),
        ("MDExternalAccountBinding listed.json", Some(None)),
    ] {
        let mut config = Config::new();
        config.run(OUT, line).unwrap();
        assert_eq!(config.settings.eab, expected, "{line}");
    }
}

#[test]
fn what_a_domain_can_have_for_itself_is_of_the_whole_server_outside_of_sections() {
    let lines = ["MDChallengeDns01 /bin/dns 'a b'", "MDHttpProxy http://x.org:3128", "MDCACertificateFile /ca.pem"];
    let mut config = Config::new();
    lines.iter().for_each(|line| config.run(OUT, line).unwrap());
    config.run(OUT, "MDHttpProxyCACertificateFile None").unwrap();
    let all = &config.globals;
    assert_eq!(all.dns01_command.as_deref(), Some("/bin/dns 'a b'"));
    assert_eq!((all.proxy.as_deref(), all.ca_file.as_deref()), (Some("http://x.org:3128"), Some("/ca.pem")));
    assert_eq!(all.proxy_ca_file, None);
    assert_eq!((&config.settings, &config.declared[0].settings), (&Settings::default(), &Settings::default()));

    let before = config.globals.clone();
    for line in ["MDChallengeDns01 /bin/own", "MDHttpProxy http://own", "MDCACertificateFile none"] {
        config.run(IN, line).unwrap();
    }
    config.run(IN, "MDHttpProxyCACertificateFile p.pem").unwrap();
    config.run(IN, "MDCertificateFile a.pem").unwrap();
    config.run(IN, "MDCertificateKeyFile /a.key").unwrap();
    config.run(IN, "MDCertificateFile b.pem").unwrap();
    let own = &config.declared[0].settings;
    assert_eq!((own.dns01_command.as_deref(), own.proxy.as_deref()), (Some("/bin/own"), Some("http://own")));
    assert_eq!((own.ca_file.as_deref(), own.proxy_ca_file.as_deref()), (Some("none"), Some("/root/p.pem")));
    assert_eq!(
        (own.cert_files.as_slice(), own.key_files.as_slice()),
        (&["/root/a.pem".to_owned(), "/root/b.pem".to_owned()][..], &["/a.key".to_owned()][..])
    );
    assert_eq!(config.globals, before);
}

#[test]
fn proxies_that_can_be_asked() {
    for url in ["http://localhost", "HTTPS://proxy.x.org:8443/", "http://192.0.2.1:3128", "http://[2001:db8::1]:80"] {
        Config::new().run(OUT, &format!("MDHttpProxy {url}")).unwrap();
    }
}

#[test]
fn a_section_is_named_by_its_first_word() {
    let mut config = Config::default();
    config.run(OUT, "<MDomain auto manual www.x.org").unwrap();
    let md = &config.declared[0];
    assert_eq!(md.names.iter().map(DomainName::as_str).collect::<Vec<_>>(), ["auto", "www.x.org"]);
    assert_eq!(md.settings.members, Some(MemberMode::Manual));
}

#[test]
fn the_store_is_locked_if_that_is_wanted_with_a_wait() {
    let rows = [("on", Some(5000)), ("OFF", None), ("10", Some(10_000)), ("500ms", Some(500)), ("0", None)];
    for (text, wait) in rows {
        let mut config = Config::new();
        config.run(OUT, &format!("MDStoreLocks {text}")).unwrap();
        assert_eq!(config.globals.store_locks, wait.map(std::time::Duration::from_millis), "{text}");
    }
}

#[test]
fn certificates_are_used_when_the_mode_and_the_window_say() {
    let rows =
        [("restart", ActivationMode::Restart), ("LIVE", ActivationMode::Live), ("Graceful", ActivationMode::Graceful)];
    for (text, mode) in rows {
        let mut config = Config::new();
        config.run(OUT, &format!("MDActivation {text}")).unwrap();
        assert_eq!(config.settings.activation, Some(mode), "{text}");
    }
    let mut config = Config::new();
    config.run(OUT, "MDActivationWindow 23:00-01:00").unwrap();
    config.run(OUT, "MDActivationWindow Any").unwrap();
    assert_eq!(config.globals.activation_window, None);
}
