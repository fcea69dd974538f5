//! Tests that certificates with lifetimes from hours to months are served without a gap, also while the CA is down for a time.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::{Clock as _, SettableClock};
use crate::http::{HttpClient, HttpError, Request, Response};
use crate::model::{ActivationMode, Window};
use crate::renewals::queue::Renewals;
use crate::testing::TestServer;
use crate::testing::ca::FakeCa;

/// A CA that fails for 30 % of a lifetime in each 107 % of it, and so at all ages of certificates in turn.
struct Failing {
    ca: Arc<FakeCa>,
    clock: Arc<SettableClock>,
    since: Timestamp,
    life: SignedDuration,
}

impl HttpClient for Failing {
    fn send(&self, request: &Request) -> Result<Response, HttpError> {
        let passed = self.clock.now().duration_since(self.since).as_secs();
        let period = self.life.as_secs() * 107 / 100;
        let down = self.life.as_secs() * 30 / 100;
        if passed % period >= period - down {
            return Err(HttpError::Other { host: "ca.test".to_owned(), reason: "connection refused".to_owned() });
        }
        self.ca.send(request)
    }
}

/// Runs a server with default settings for a number of hours. Returns how many certificates it served one after the other.
fn serve(hours: i64, for_hours: i64, early: i64, fails: bool) -> usize {
    let mut server = TestServer::new(&["x.lives.test"]);
    server.declared[0].settings.activation = Some(ActivationMode::Live);
    let issued_early = SignedDuration::from_mins(early);
    server.ca.behave(|ca| (ca.hours, ca.starts_in) = (Some(hours), -issued_early));
    let life = SignedDuration::from_hours(hours);
    let registry = server.start_moving(false, |_| ());
    let failing = Arc::new(Failing {
        ca: Arc::clone(&server.ca),
        clock: Arc::clone(&server.clock),
        since: server.clock.now(),
        life,
    });
    let ca: Arc<dyn HttpClient> = if fails { failing } else { Arc::clone(&server.ca) as _ };
    let renewals = Renewals::new(Arc::clone(&registry), Box::new(move |_, _| Arc::clone(&ca)), || 0.5);
    let end = server.clock.now() + SignedDuration::from_hours(for_hours);
    let mut served = Vec::new();
    while server.clock.now() < end {
        server.go_on(&renewals);
        let now = server.clock.now();
        let (from, until) =
            registry.domains[0].served().common_validity().expect("there is a certificate from the start");
        assert!((from..until).contains(&now), "{hours} h: {from} to {until} is served at {now}");
        if served.last() != Some(&from) {
            served.push(from);
        }
        server.clock.advance(life / 100);
    }
    server.ca.check();
    served.len()
}

#[test]
fn certificates_of_hours_and_days_are_served_without_a_gap() {
    let month = 30 * 24;
    // Lifetime in hours, duration, least and largest number of certificates.
    for (hours, for_hours, expected) in
        [(1, 24, 35..=50), (6, month / 3, 60..=90), (6 * 24, month, 9..=11), (90 * 24, 13 * month, 6..=7)]
    {
        let served = serve(hours, for_hours, 0, false);
        assert!(expected.contains(&served), "{hours} h: {served}");
    }
}

#[test]
fn a_ca_that_is_down_for_a_third_of_the_life_makes_no_gap() {
    for (hours, for_hours) in [(1, 24), (6, 10 * 24), (6 * 24, 100 * 24), (90 * 24, 600 * 24)] {
        let served = serve(hours, for_hours, 0, true);
        assert!(i64::try_from(served).unwrap() >= for_hours / hours, "{hours} h: {served}");
    }
}

#[test]
fn certificates_that_are_dated_back_are_renewed_in_time_and_not_too_often() {
    // Certificates of two hours, one of which has passed when they are issued.
    let served = serve(2, 24, 60, false);
    assert!((24..=65).contains(&served), "{served}");
}

/// How long the servers run whose certificates live for seconds.
const FOR_SECONDS: i64 = 2000;

/// Runs a server for some time, which is restarted once in `restarts` if that is not 0, with certificates of so many seconds that are
/// dated back by so many. Returns the moments of its orders, in seconds.
fn orders(activation: ActivationMode, life: i64, dated_back: i64, restarts: i64, window: Option<Window>) -> Vec<i64> {
    let mut server = TestServer::new(&["x.seconds.test"]);
    server.declared[0].settings.activation = Some(activation);
    server.declared[0].settings.renew_window = window;
    // The server looks as often as it can.
    server.globals.check_interval = SignedDuration::from_secs(1);
    server.globals.retry_delay = SignedDuration::from_secs(1);
    let early = SignedDuration::from_secs(dated_back);
    server.ca.behave(|ca| (ca.seconds, ca.starts_in) = (Some(life + dated_back), -early));
    let began = server.clock.now();
    let seconds = || server.clock.now().duration_since(began).as_secs();
    let start = |is_restart| server.renewals_with(is_restart, server.moving_clock(), |_| None);
    let mut renewals = start(false);
    let mut orders = Vec::new();
    let mut restarted = 0;
    while seconds() < FOR_SECONDS {
        if restarts > 0 && seconds() >= restarted + restarts {
            restarted = seconds();
            drop(renewals);
            renewals = start(restarted % 2 == 0);
        }
        server.go_on(&renewals);
        let known = orders.len();
        orders.extend((known..server.ca.ordered().len()).map(|_| seconds()));
        server.clock.advance(SignedDuration::from_secs(1));
    }
    server.ca.check();
    orders
}

#[test]
fn a_ca_with_certificates_of_seconds_gets_an_order_per_minute_or_per_tenth_of_the_life() {
    use ActivationMode::{Live, Restart};
    let percent = |percent| Some(Window::Percent(percent));
    // Seconds of life and dated back, between restarts, MDRenewWindow; the least time between two orders
    let rows = [
        (Live, 10, 0, 0, None, 60),
        (Live, 10, 0, 7, None, 60),
        (Live, 10, 0, 7, percent(50), 60),
        (Live, 10, 3600, 0, None, 361),
        (Live, 90, 0, 0, None, 60),
        (Live, 90, 0, 0, percent(95), 60),
        (Live, 600, 7200, 0, None, 780),
        (Live, 600, 7200, 50, None, 780),
        (Restart, 10, 0, 0, None, 60),
        (Restart, 10, 0, 7, None, 60),
        (Restart, 10, 3600, 7, None, 361),
        // An administrator who wants to see renewals gets them at each restart.
        (Restart, 600, 0, 50, percent(95), 40),
    ];
    for (activation, life, dated_back, restarts, window, least) in rows {
        let orders = orders(activation, life, dated_back, restarts, window);
        let gaps: Vec<_> = orders.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let context = format!("{activation:?} {life} {dated_back} {restarts} {window:?}: {orders:?}");
        assert!(gaps.iter().min().is_some_and(|gap| (least..least + 40).contains(gap)), "{context}");
    }
}
