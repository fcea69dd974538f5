//! Tests of self-made restarts: when they happen, and what is logged.

use std::sync::Arc;

use super::*;
use crate::model::Settings;
use crate::registry::Registry;
use crate::registry::start::{Setup, Start};
use crate::renewals::Renewals;
use crate::store::{Aspect, Group, Store as _};
use crate::testing::{TestServer, logged, p256, watch_log};

const NOON: u16 = 12 * 60;

#[test]
fn a_restart_follows_a_test_and_keeps_interval_and_window() {
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let ago = |minutes| Some(now - SignedDuration::from_mins(minutes));
    let at = |minutes| Step::WaitUntil(now + SignedDuration::from_mins(minutes));
    let none = Known::default();
    let wanted = Known { is_wanted: true, ..none };
    let restarted = |minutes| Known { restarted: ago(minutes), ..wanted };
    let tested = |minutes| Known { tested: ago(minutes), ..wanted };
    let news = |minutes| Known { has_news: true, ..tested(minutes) };
    let failed = || Trial::Failed("broken".to_owned());
    let complaint = || Step::Complain("broken".to_owned());
    // The interval is an hour, the window from 11:00 to 13:00.
    let rows = [
        (Trial::None, none, NOON, Step::Rest),
        (Trial::None, wanted, NOON, Step::Try),
        (Trial::None, wanted, 13 * 60, Step::WaitForHours),
        (Trial::None, restarted(59), NOON, at(1)),
        (Trial::None, restarted(60), NOON, Step::Try),
        // Times in the future come from a wrong clock.
        (Trial::None, restarted(-60), NOON, Step::Try),
        (Trial::None, restarted(600), 13 * 60, Step::WaitForHours),
        (Trial::None, tested(59), NOON, at(1)),
        (Trial::None, tested(60), NOON, Step::Try),
        (Trial::None, news(0), NOON, at(1)),
        (Trial::None, news(1), NOON, Step::Try),
        (Trial::None, news(1), 0, Step::WaitForHours),
        (Trial::None, Known { restarted: ago(50), ..news(1) }, NOON, at(10)),
        (Trial::Running, wanted, NOON, Step::Rest),
        (Trial::Passed, restarted(600), NOON, Step::Restart),
        // The window closed during the test, or the server was restarted by hand.
        (Trial::Passed, restarted(600), 13 * 60, Step::WaitForHours),
        (Trial::Passed, none, NOON, Step::Rest),
        (Trial::Pointless, wanted, NOON, Step::Forget),
        (failed(), wanted, NOON, complaint()),
        (failed(), wanted, 0, complaint()),
        (failed(), none, NOON, complaint()),
    ];
    let globals = Globals { activation_window: DailyWindow::parse("11:00-13:00").ok(), ..Globals::default() };
    for (trial, known, minute, step) in rows {
        let text = format!("{trial:?} {known:?} {minute}");
        assert_eq!(Rule::new(&globals).next(trial, &known, now, minute), step, "{text}");
    }
    let always = Rule::new(&Globals { activation_interval: SignedDuration::from_secs(2), ..Globals::default() });
    assert_eq!(always.next(Trial::None, &wanted, now, 0), Step::Try);
    let soon = Step::WaitUntil(now + SignedDuration::from_secs(2));
    assert_eq!(always.next(Trial::None, &news(0), now, 0), soon, "the interval is shorter than the pause");
}

#[test]
fn the_test_gets_the_arguments_of_the_server_without_signals() {
    let rows: [(&[&str], &[&str]); 7] = [
        (&["httpd"], &[]),
        (&["/usr/sbin/apache2", "-k", "start"], &[]),
        (
            &["httpd", "-d", "../root", "-f", "conf/my own.conf", "-D", "FOREGROUND"],
            &["-d", "../root", "-f", "conf/my own.conf", "-D", "FOREGROUND"],
        ),
        (&["httpd", "-DFOREGROUND", "-fx.conf", "-kstart", "-Estart.log", "-X"], &["-DFOREGROUND", "-fx.conf"]),
        (&["httpd", "-C", "Define k", "-c", "-k", "-T"], &["-C", "Define k", "-c", "-k", "-T"]),
        (&["httpd", "-E", "-k", "-e", "debug", "-k", "restart", "-D", "X"], &["-e", "debug", "-D", "X"]),
        (&["httpd", "-f"], &["-f"]),
    ];
    for (own, kept) in rows {
        let own: Vec<OsString> = own.iter().map(OsString::from).collect();
        let expected: Vec<OsString> = kept.iter().chain(&OF_A_TRIAL).map(OsString::from).collect();
        assert_eq!(trial_arguments(&own), expected);
    }
}

#[test]
fn a_failed_test_is_logged_with_its_first_lines() {
    let long = "x".repeat(2000);
    let rows: [(i32, &str, &str); 6] = [
        (
            1,
            "AH1: Syntax error on line 3 of /c:\nInvalid command 'Foo', perhaps misspelled\n",
            "AH1: Syntax error on line 3 of /c: Invalid command 'Foo', perhaps misspelled",
        ),
        (
            1,
            "AH2: httpd: Could not reliably determine the server's fully qualified domain name, using 127.0.0.1\n\n[Mon Nov 23 15:00:00 2026] [ssl:emerg] [pid 1:tid 2] AH3: Failed to configure\nSSL Library Error: error:0A [hint]\n",
            "AH3: Failed to configure SSL Library Error: error:0A [hint]",
        ),
        (1, "1\n2\n3\n4\n5\n6", "1 2 3 4"),
        (11, "", "the test ended with 11 and wrote nothing"),
        (9, "\n  \n", "the test ended with 9 and wrote nothing"),
        (1, &long, &format!("{}...", &long[..800])),
    ];
    for (code, written, text) in rows {
        assert_eq!(judge(code, written.as_bytes()), Trial::Failed(text.to_owned()));
    }
    assert_eq!(judge(0, b"Syntax OK"), Trial::Passed);
    assert_eq!(judge(99, b""), Trial::Pointless);
    assert!(matches!(judge(1, b"\xff\xfe"), Trial::Failed(_)));
}

fn test_server(name: &str, mode: ActivationMode) -> TestServer {
    let mut test_server = TestServer::new(&[name]);
    test_server.declared[0].settings.activation = Some(mode);
    test_server
}

/// A server that has started, with a counter to request restarts of the parent.
struct Server<'w>(&'w TestServer, Arc<Registry>, Renewals);

impl<'w> Server<'w> {
    fn start(test_server: &'w TestServer) -> Self {
        let registry = test_server.start_moving(true, |_| {});
        let ca = Arc::clone(&test_server.ca);
        registry.restarts.share(Box::leak(Box::default()));
        Self(
            test_server,
            Arc::clone(&registry),
            Renewals::new(registry, Box::new(move |_, _| Arc::clone(&ca) as _), || 0.5),
        )
    }

    /// Does the work that is due. Returns the number of requests to the parent so far.
    fn asks(&self) -> u32 {
        self.0.go_on(&self.2);
        self.1.restarts.count()
    }
}

/// Returns the result of a configuration test.
fn would_activate(test_server: &TestServer) -> bool {
    let start = Start {
        declared: test_server.declared.clone(),
        main: Settings::default(),
        globals: test_server.globals.clone(),
        hosts: test_server.hosts.clone(),
        is_restart: false,
        read_only: true,
        patience: crate::documents::CLAIM_PATIENCE,
        counts: None,
    };
    Setup::begin(start, Arc::clone(&test_server.documents), Arc::clone(&test_server.clock) as _)
        .unwrap()
        .would_activate()
}

#[test]
fn a_renewal_requests_a_restart_once_when_its_certificates_are_valid() {
    watch_log();
    let name = "asks.test";
    let mut test_server = test_server(name, ActivationMode::Graceful);
    assert!(!would_activate(&test_server));
    let server = Server::start(&test_server);
    let announced = || logged("", "asks.test: its new certificates wait for the server to restart itself");
    assert_eq!((server.asks(), announced(), would_activate(&test_server)), (1, 1, true));
    assert!(test_server.store.exists(Group::Staging, name, &Aspect::MdJson), "a test moves nothing");
    test_server.clock.advance(SignedDuration::from_hours(48));
    assert_eq!((server.asks(), announced()), (1, 1), "nothing is new");
    assert_eq!((Server::start(&test_server).asks(), would_activate(&test_server)), (0, false), "it is served");

    test_server.globals.activation_delay = SignedDuration::from_hours(10);
    test_server.clock.advance(SignedDuration::from_hours(24 * 61));
    let server = Server::start(&test_server);
    assert_eq!(server.asks(), 0, "MDActivationDelay");
    test_server.clock.advance(SignedDuration::from_hours(5));
    assert_eq!(server.asks(), 0);
    test_server.clock.advance(SignedDuration::from_hours(6));
    assert_eq!((server.asks(), announced()), (1, 2));
    // A restart was requested and did not happen.
    test_server.put(Group::Staging, name, &Aspect::PrivateKey(p256()), "no key");
    assert!(!would_activate(&test_server));
}

#[test]
fn only_domains_with_activation_graceful_request_restarts() {
    for mode in [ActivationMode::Restart, ActivationMode::Live] {
        let test_server = test_server("silent.test", mode);
        assert_eq!((Server::start(&test_server).asks(), would_activate(&test_server)), (0, false), "{mode:?}");
        assert!(test_server.staged_job("silent.test").finished);
    }
    let mut test_server = test_server("files.test", ActivationMode::Graceful);
    test_server.declared[0].settings.cert_files = vec!["/none.pem".to_owned()];
    test_server.declared[0].settings.key_files = vec!["/none.key".to_owned()];
    assert!(!test_server.start(true).domains[0].restarts(), "it is the administrator who renews these");
}

#[test]
fn short_lived_certificates_that_wait_for_a_restart_are_warned_of() {
    watch_log();
    for (days, mode, is_warned) in [
        (6, ActivationMode::Restart, true),
        (6, ActivationMode::Live, false),
        (6, ActivationMode::Graceful, false),
        (9, ActivationMode::Restart, true),
        (10, ActivationMode::Restart, false),
        (90, ActivationMode::Restart, false),
    ] {
        let name = format!("life-{days}-{mode:?}.test").to_lowercase();
        let test_server = test_server(&name, mode);
        test_server.ca.behave(|ca| ca.days = days);
        let registry = test_server.start(true);
        assert_eq!(registry.domains[0].activation_warning(), None, "there is no certificate");
        drop(test_server.run(true));
        let registry = test_server.start(true);
        let warning = registry.domains[0].activation_warning();
        assert_eq!((warning.is_some(), logged("MD0039", &name)), (is_warned, usize::from(is_warned)), "{name}");
        if let Some(warning) = warning {
            let expected = format!(
                "certificates are valid for only {days} days, and new ones wait for a restart; restart the server gracefully \
                 more often than every {} days, ",
                days / 2
            );
            assert!(warning.starts_with(&expected), "{warning}");
        }
    }
}

#[test]
fn domains_with_short_lived_certificates_share_one_warning() {
    watch_log();
    let test_server = TestServer::new(&["one.lives.test", "two.lives.test", "three.lives.test"]);
    test_server.ca.behave(|ca| ca.days = 6);
    drop(test_server.run(true));
    drop(test_server.start(true));
    assert_eq!(logged("MD0039", "one.lives.test and 2 more domains: certificates are valid for only 6 days"), 1);
}

#[test]
fn a_restart_is_advised_in_half_of_the_life() {
    for (life, every) in [
        (SignedDuration::from_hours(9 * 24), "4 days"),
        (SignedDuration::from_hours(6 * 24), "3 days"),
        (SignedDuration::from_hours(2 * 24), "day"),
        (SignedDuration::from_hours(47), "23 hours"),
        (SignedDuration::from_hours(12), "6 hours"),
        (SignedDuration::from_hours(2), "hour"),
        (SignedDuration::from_hours(1), "30 minutes"),
        (SignedDuration::from_secs(120), "minute"),
        (SignedDuration::from_secs(20), "minute"),
    ] {
        assert_eq!(interval(life / 2), every, "{life}");
    }
}
