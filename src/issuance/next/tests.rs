use jiff::SignedDuration;

use super::*;
use crate::acme::{Authorization, Challenge, ChallengeSetup, OrderRecord};
use crate::issuance::facts::Refusal;
use crate::issuance::poll::Poll;
use crate::model::{Problem, Status};

const HTTP: ChallengeType = ChallengeType::Http01;
const DNS: ChallengeType = ChallengeType::Dns01;
const ALPN: ChallengeType = ChallengeType::TlsAlpn01;

fn start() -> Timestamp {
    Timestamp::from_second(1_700_000_000).unwrap()
}

fn after(millis: i64) -> Timestamp {
    start() + SignedDuration::from_millis(millis)
}

/// A run that has a directory and an account and nothing else.
fn facts() -> Facts {
    let facts = Facts::new(false, OrderRecord::default(), ChallengeType::USUAL.to_vec(), start());
    Facts { directory: true, account: true, ..facts }
}

/// An order of this run with that status.
fn ordered(status: OrderStatus) -> Facts {
    let mut facts = facts();
    facts.ordered_now = true;
    facts.record.url = Some("order".to_owned());
    facts.observe_order(Order { status, finalize: Some("finalize".to_owned()), ..Order::default() }, start());
    facts
}

/// An order of an earlier run with that status.
fn earlier(status: OrderStatus) -> Facts {
    Facts { ordered_now: false, ..ordered(status) }
}

fn authorization(status: AuthorizationStatus, kind: &str, challenge: ChallengeStatus) -> AuthorizationFacts {
    let challenges = vec![
        Challenge { kind: "foo-99".to_owned(), ..Challenge::default() },
        Challenge { kind: kind.to_owned(), status: challenge, token: "t".to_owned(), ..Challenge::default() },
    ];
    let mut facts = AuthorizationFacts::new("a".to_owned());
    facts.observe(Authorization { status, challenges, ..Authorization::default() }, start());
    facts
}

fn with(mut facts: Facts, authorizations: Vec<AuthorizationFacts>) -> Facts {
    facts.authorizations = authorizations;
    facts
}

fn unread() -> AuthorizationFacts {
    AuthorizationFacts { observed: None, ..pending() }
}

fn pending() -> AuthorizationFacts {
    authorization(AuthorizationStatus::Pending, "http-01", ChallengeStatus::Pending)
}

fn valid() -> AuthorizationFacts {
    authorization(AuthorizationStatus::Valid, "http-01", ChallengeStatus::Valid)
}

fn answered() -> AuthorizationFacts {
    AuthorizationFacts { answered: Some(HTTP), ..put(HTTP) }
}

/// A pending authorization whose challenge is in place.
fn put(kind: ChallengeType) -> AuthorizationFacts {
    let txt = (kind == DNS).then(|| "value".to_owned());
    let set_up = Some(ChallengeSetup { kind, name: "x.org".to_owned(), txt });
    AuthorizationFacts {
        set_up,
        ..authorization(AuthorizationStatus::Pending, kind.as_str(), ChallengeStatus::Pending)
    }
}

/// A pending authorization for which that type was refused.
fn refused(kind: ChallengeType, set_up: Option<ChallengeSetup>) -> AuthorizationFacts {
    let refusal = Refusal { kind, status: Status::GENERAL, text: "broken".to_owned() };
    AuthorizationFacts { refused: vec![refusal], set_up, ..put(kind) }
}

fn set_up(mut facts: Facts) -> Facts {
    facts.record.challenge_setups.push("http-01:x.org".to_owned());
    facts
}

fn check(rows: Vec<(&str, Facts, Step)>) {
    for (what, facts, step) in rows {
        assert_eq!(next(&facts, start()), step, "{what}");
    }
}

#[test]
fn directory_and_account_come_before_the_order() {
    let new = || Facts { directory: false, account: false, ..facts() };
    check(vec![
        ("nothing is known", new(), Step::Directory),
        ("an earlier order waits", Facts { record: earlier(OrderStatus::Ready).record, ..new() }, Step::Directory),
        ("no account", Facts { directory: true, ..new() }, Step::Register),
        ("no order", facts(), Step::NewOrder),
        ("set-ups without an order", set_up(facts()), Step::TearDown),
        ("an order in the journal", Facts { order: None, ..earlier(OrderStatus::Pending) }, Step::RefreshOrder),
    ]);
}

#[test]
fn a_chain_ends_it_whatever_else_there_is() {
    let done = |facts| Facts { chain: true, directory: false, account: false, ..facts };
    check(vec![
        ("a chain alone", done(facts()), Step::Done),
        ("its order", done(ordered(OrderStatus::Valid)), Step::TearDown),
        ("what was set up", done(set_up(facts())), Step::TearDown),
        ("an order that failed", done(ordered(OrderStatus::Invalid)), Step::TearDown),
    ]);
}

#[test]
fn the_status_of_the_order_decides() {
    let mut without_finalize = ordered(OrderStatus::Ready);
    without_finalize.order.as_mut().unwrap().value.finalize = None;
    let mut issued = ordered(OrderStatus::Valid);
    issued.order.as_mut().unwrap().value.certificate = Some("certificate".to_owned());
    let renewed = Facts { ordered_now: false, ..without_finalize.clone() };
    let soon = || Step::Wait { until: after(100) };
    let finalized = |status| Facts { finalized: true, ..ordered(status) };
    let not_ready = |status, at| Facts { not_ready: Some(after(at)), ..ordered(status) };
    check(vec![
        ("ready, but finalized", finalized(OrderStatus::Ready), soon()),
        ("processing, as it is finalized", finalized(OrderStatus::Processing), soon()),
        ("ready, but the CSR was refused since", not_ready(OrderStatus::Ready, 0), soon()),
        ("ready again after the refusal", not_ready(OrderStatus::Ready, -1), Step::Finalize),
        ("processing after all", not_ready(OrderStatus::Processing, 0), soon()),
        ("pending after all", with(not_ready(OrderStatus::Pending, 0), vec![valid()]), soon()),
        (
            "pending, as it was not read since it is authorized",
            with(ordered(OrderStatus::Pending), vec![valid()]),
            Step::Finalize,
        ),
        ("pending, and finalized", with(finalized(OrderStatus::Pending), vec![valid()]), soon()),
        ("ready at once", ordered(OrderStatus::Ready), Step::Finalize),
        ("ready, from before", earlier(OrderStatus::Ready), Step::Finalize),
        ("ready, with open authorizations", with(ordered(OrderStatus::Ready), vec![unread()]), Step::Finalize),
        ("nowhere to finalize", without_finalize, Step::GiveUp(Failure::NoFinalizeUrl)),
        ("nowhere to finalize, from before", renewed, Step::NewOrder),
        ("valid at once", issued.clone(), Step::Download("certificate".to_owned())),
        ("valid, from before", Facts { ordered_now: false, ..issued }, Step::Download("certificate".to_owned())),
        ("valid, but where", ordered(OrderStatus::Valid), Step::GiveUp(Failure::NoCertificateUrl)),
        ("valid, but where, from before", earlier(OrderStatus::Valid), Step::NewOrder),
        ("processing", ordered(OrderStatus::Processing), soon()),
        ("no authorizations", ordered(OrderStatus::Pending), soon()),
        ("invalid", ordered(OrderStatus::Invalid), Step::GiveUp(Failure::Order)),
        ("invalid, from before", earlier(OrderStatus::Invalid), Step::NewOrder),
        ("invalid, with set-ups", set_up(ordered(OrderStatus::Invalid)), Step::TearDown),
        ("invalid, from before, with set-ups", set_up(earlier(OrderStatus::Invalid)), Step::TearDown),
        ("gone", Facts { order_gone: true, ..earlier(OrderStatus::Pending) }, Step::NewOrder),
        (
            "gone, nothing heard",
            Facts { order_gone: true, order: None, ..earlier(OrderStatus::Pending) },
            Step::NewOrder,
        ),
        ("gone, with set-ups", Facts { order_gone: true, ..set_up(earlier(OrderStatus::Pending)) }, Step::TearDown),
    ]);
}

#[test]
fn an_invalid_order_is_explained_by_its_authorizations() {
    let failed = || authorization(AuthorizationStatus::Invalid, "http-01", ChallengeStatus::Invalid);
    let invalid = |authorizations| with(ordered(OrderStatus::Invalid), authorizations);
    check(vec![
        ("one failed", invalid(vec![valid(), failed()]), Step::GiveUp(Failure::Authorization(1))),
        ("one is not known", invalid(vec![valid(), unread()]), Step::Refresh(1)),
        ("failed before unknown", invalid(vec![unread(), failed()]), Step::GiveUp(Failure::Authorization(1))),
        ("none failed", invalid(vec![valid()]), Step::GiveUp(Failure::Order)),
        ("from before: which type failed", with(earlier(OrderStatus::Invalid), vec![unread()]), Step::Refresh(0)),
        (
            "from before, with one type: no need to know",
            Facts { challenges: vec![HTTP], ..with(earlier(OrderStatus::Invalid), vec![unread()]) },
            Step::NewOrder,
        ),
    ]);
}

#[test]
fn authorizations_are_met_one_after_the_other() {
    let order = |authorizations| with(ordered(OrderStatus::Pending), authorizations);
    let put = || put(HTTP);
    let looking = authorization(AuthorizationStatus::Pending, "http-01", ChallengeStatus::Processing);
    let unknown = authorization(AuthorizationStatus::Pending, "dns-persist-01", ChallengeStatus::Pending);
    let met = authorization(AuthorizationStatus::Valid, "dns-persist-01", ChallengeStatus::Valid);
    let looking_again = AuthorizationFacts { set_up: put().set_up, ..looking.clone() };
    let soon = || Step::Wait { until: after(100) };
    check(vec![
        ("not heard of", order(vec![valid(), unread()]), Step::Refresh(1)),
        ("pending", order(vec![valid(), pending()]), Step::ChallengeSetup(1, HTTP)),
        ("set up", order(vec![put(), pending()]), Step::Answer(0, HTTP)),
        ("answered, the next one", order(vec![answered(), pending()]), Step::ChallengeSetup(1, HTTP)),
        ("answered, the next one not heard of", order(vec![answered(), unread()]), Step::Refresh(1)),
        ("all answered", order(vec![answered(), answered()]), soon()),
        ("answered by an earlier run", order(vec![looking]), Step::ChallengeSetup(0, HTTP)),
        ("answered by an earlier run, set up again", order(vec![looking_again]), soon()),
        ("only unknown types", order(vec![unknown]), Step::GiveUp(Failure::NoChallenge(0))),
        ("unknown type that was met", order(vec![met, pending()]), Step::ChallengeSetup(1, HTTP)),
        (
            "no type can be used",
            Facts { challenges: Vec::new(), ..order(vec![pending()]) },
            Step::GiveUp(Failure::NoChallenge(0)),
        ),
        ("all valid already", order(vec![valid(), valid()]), Step::Finalize),
    ]);
}

#[test]
fn a_type_that_cannot_be_set_up_is_taken_away_and_the_next_one_is_tried() {
    let order = |authorizations| with(ordered(OrderStatus::Pending), authorizations);
    let offer = |mut facts: AuthorizationFacts, kind: ChallengeType| {
        let challenge = Challenge { kind: kind.as_str().to_owned(), token: "t".to_owned(), ..Challenge::default() };
        facts.observed.as_mut().unwrap().value.challenges.push(challenge);
        facts
    };
    let is_there = refused(ALPN, put(ALPN).set_up);
    let without_token = Challenge { kind: "dns-01".to_owned(), ..Challenge::default() };
    let mut tokenless = refused(ALPN, None);
    tokenless.observed.as_mut().unwrap().value.challenges.push(without_token);
    check(vec![
        ("part of it may be there", order(vec![offer(is_there, HTTP)]), Step::Withdraw(0)),
        ("the next type", order(vec![offer(refused(ALPN, None), HTTP)]), Step::ChallengeSetup(0, HTTP)),
        ("the next type is in place", order(vec![offer(refused(ALPN, put(HTTP).set_up), HTTP)]), Step::Answer(0, HTTP)),
        ("none is left", order(vec![refused(ALPN, None)]), Step::GiveUp(Failure::NoChallenge(0))),
        ("none that has a token", order(vec![tokenless]), Step::GiveUp(Failure::NoChallenge(0))),
        ("none is left, with set-ups", set_up(order(vec![valid(), refused(HTTP, None)])), Step::TearDown),
    ]);
}

/// An authorization whose answered challenge has an error and this status, and for which http-01 is offered, too.
fn with_error(kind: ChallengeType, status: ChallengeStatus) -> AuthorizationFacts {
    let mut facts = AuthorizationFacts { answered: Some(kind), ..put(kind) };
    let mut value = facts.observed.take().unwrap().value;
    value.challenges[1].status = status;
    value.challenges[1].error = Some(Problem::default());
    value.challenges.push(Challenge { kind: HTTP.as_str().to_owned(), token: "t".to_owned(), ..Challenge::default() });
    facts.observe(value, start());
    facts
}

#[test]
fn a_challenge_with_an_error_has_failed_if_it_is_given_back_or_another_type_is_left_when_the_wait_is_over() {
    use ChallengeStatus::{Invalid, Pending, Processing};
    let order = |authorizations| with(ordered(OrderStatus::Pending), authorizations);
    let late = |facts: Facts| Facts { poll: Poll { since: after(-301_000), at: start(), ..facts.poll }, ..facts };
    let postponed = |facts: Facts| Facts { retry_after: Some(after(3_600_000)), ..facts };
    let only = |kind, facts: Facts| Facts { challenges: vec![kind], ..facts };
    let looks_again = || order(vec![valid(), with_error(ALPN, Processing)]);
    let mut tried = looks_again();
    tried.challenge_record.learn(&["http-01"], []);
    let look = "the CA to look at the challenges";
    let failed = || Step::GiveUp(Failure::Authorization(1));
    check(vec![
        ("given back", order(vec![valid(), with_error(ALPN, Pending)]), failed()),
        ("invalid in a pending authorization", order(vec![valid(), with_error(ALPN, Invalid)]), failed()),
        (
            "the same since an earlier run",
            with(
                earlier(OrderStatus::Pending),
                vec![AuthorizationFacts { answered: None, ..with_error(ALPN, Invalid) }],
            ),
            Step::NewOrder,
        ),
        ("given back, the only type", only(ALPN, order(vec![valid(), with_error(ALPN, Pending)])), failed()),
        (
            "given back, from before",
            with(earlier(OrderStatus::Pending), vec![with_error(ALPN, Pending)]),
            Step::NewOrder,
        ),
        ("it looks again", looks_again(), Step::Wait { until: after(100) }),
        ("too long", late(looks_again()), failed()),
        ("too long, with set-ups", set_up(late(looks_again())), Step::TearDown),
        ("too long, the only type", late(only(ALPN, looks_again())), Step::GiveUp(Failure::TimedOut(look))),
        ("too long, the other one failed", late(tried), Step::GiveUp(Failure::TimedOut(look))),
        ("too long, nothing found", late(order(vec![answered()])), Step::GiveUp(Failure::TimedOut(look))),
        ("it looks again in an hour", postponed(looks_again()), failed()),
        (
            "it looks again in an hour, the only type",
            postponed(only(ALPN, looks_again())),
            Step::GiveUp(Failure::Postponed(look, after(3_600_000))),
        ),
    ]);
}

#[test]
fn a_type_that_failed_is_the_last_to_be_set_up() {
    let order = |failed: &[&str], proven: Option<&'static str>| {
        let mut value = with_error(ALPN, ChallengeStatus::Pending);
        (value.set_up, value.answered) = (None, None);
        value.observed.as_mut().unwrap().value.identifier.value = "x.org".to_owned();
        let mut facts = with(ordered(OrderStatus::Pending), vec![value]);
        facts.challenge_record.learn(failed, proven.map(|kind| ("x.org".to_owned(), kind)));
        facts
    };
    check(vec![
        ("none failed", order(&[], None), Step::ChallengeSetup(0, ALPN)),
        ("the first failed", order(&["tls-alpn-01"], None), Step::ChallengeSetup(0, HTTP)),
        ("both failed", order(&["tls-alpn-01", "http-01"], None), Step::ChallengeSetup(0, ALPN)),
        ("it failed for another name", order(&["tls-alpn-01"], Some("tls-alpn-01")), Step::ChallengeSetup(0, ALPN)),
    ]);
}

#[test]
fn what_commands_of_an_earlier_run_have_set_up_is_taken_away_first() {
    let mut record = earlier(OrderStatus::Pending).record;
    record.challenge_setups = vec!["http-01:x.org".to_owned()];
    let files = Facts::new(false, record.clone(), ChallengeType::USUAL.to_vec(), start());
    record.challenge_setups.push("dns-01:x.org value".to_owned());
    let records = Facts::new(false, record, ChallengeType::USUAL.to_vec(), start());
    check(vec![
        ("files stay for the order", files, Step::Directory),
        ("before the CA is asked", records.clone(), Step::CleanUp),
        ("also where there is a certificate", Facts { chain: true, ..records }, Step::CleanUp),
    ]);
}

#[test]
fn a_name_and_its_wildcard_have_their_records_together_or_one_after_the_other() {
    let dns = || AuthorizationFacts { set_up: None, ..put(DNS) };
    let valid = |facts: AuthorizationFacts| {
        let mut facts = facts;
        facts.observed.as_mut().unwrap().value.status = AuthorizationStatus::Valid;
        facts
    };
    let answered = || AuthorizationFacts { answered: Some(DNS), ..put(DNS) };
    let other = |facts: AuthorizationFacts| {
        let mut facts = facts;
        facts.observed.as_mut().unwrap().value.identifier.value = "y.org".to_owned();
        facts
    };
    let unread = || AuthorizationFacts { observed: None, ..dns() };
    let together = |authorizations| with(ordered(OrderStatus::Pending), authorizations);
    let one = |authorizations| Facts { one_txt: true, ..together(authorizations) };
    let soon = || Step::Wait { until: after(100) };
    check(vec![
        ("together: the first", together(vec![dns(), dns()]), Step::ChallengeSetup(0, DNS)),
        ("together: the second", together(vec![put(DNS), dns()]), Step::ChallengeSetup(1, DNS)),
        ("together: perhaps there is a second", together(vec![put(DNS), unread()]), Step::Refresh(1)),
        ("together: both", together(vec![put(DNS), put(DNS)]), Step::Answer(0, DNS)),
        ("together: the second needs none", together(vec![put(DNS), valid(dns())]), Step::Answer(0, DNS)),
        ("together: the second answer", together(vec![answered(), put(DNS)]), Step::Answer(1, DNS)),
        ("together: stay until all is over", together(vec![valid(answered()), answered()]), soon()),
        ("another name does not matter", together(vec![put(DNS), other(dns())]), Step::Answer(0, DNS)),
        ("one: the first", one(vec![dns(), dns()]), Step::ChallengeSetup(0, DNS)),
        ("one: its answer", one(vec![put(DNS), dns()]), Step::Answer(0, DNS)),
        ("one: the second waits", one(vec![answered(), dns()]), soon()),
        ("one: the first is done", one(vec![valid(answered()), dns()]), Step::Withdraw(0)),
        ("one: the second", one(vec![valid(dns()), dns()]), Step::ChallengeSetup(1, DNS)),
        ("one: another name does not wait", one(vec![answered(), other(dns())]), Step::ChallengeSetup(1, DNS)),
        ("one: nothing has to give way", one(vec![valid(answered()), valid(dns())]), Step::Finalize),
    ]);
}

#[test]
fn authorizations_that_failed_end_the_order() {
    for status in [
        AuthorizationStatus::Invalid,
        AuthorizationStatus::Expired,
        AuthorizationStatus::Deactivated,
        AuthorizationStatus::Revoked,
    ] {
        let failed = || vec![valid(), authorization(status, "http-01", ChallengeStatus::Invalid), unread()];
        let now = ordered(OrderStatus::Pending);
        let before = earlier(OrderStatus::Pending);
        check(vec![
            ("of this run", with(now.clone(), failed()), Step::GiveUp(Failure::Authorization(1))),
            ("of this run, with set-ups", set_up(with(now, failed())), Step::TearDown),
            ("from before", with(before.clone(), failed()), Step::NewOrder),
            ("from before, with set-ups", set_up(with(before, failed())), Step::TearDown),
        ]);
    }
}

/// Lets time pass: answers to questions are always that nothing has changed. Gives the moments of the questions.
fn questions(mut facts: Facts, retry_after: impl Fn(Timestamp) -> Option<Timestamp>) -> (Vec<i64>, Step) {
    let mut now = start();
    let mut asked = Vec::new();
    loop {
        match next(&facts, now) {
            Step::Wait { until } => {
                assert!(until > now);
                if until > facts.poll.at {
                    facts.poll = facts.poll.again(until);
                }
                now = until;
                continue;
            }
            Step::RefreshOrder => facts.order.as_mut().unwrap().at = now,
            Step::Finalize => {
                facts.observe_not_ready(None, now);
                continue;
            }
            Step::Refresh(index) => facts.authorizations[index].observed.as_mut().unwrap().at = now,
            end => return (asked, end),
        }
        asked.push(now.duration_since(start()).as_millis() as i64);
        facts.observe_retry_after(retry_after(now));
    }
}

#[test]
fn polling_doubles_to_a_second_and_ends_after_five_minutes() {
    let rows = [
        (ordered(OrderStatus::Processing), "the certificate to be issued"),
        (Facts { finalized: true, ..ordered(OrderStatus::Ready) }, "the certificate to be issued"),
        (with(ordered(OrderStatus::Pending), vec![answered()]), "the CA to look at the challenges"),
        (with(ordered(OrderStatus::Pending), vec![valid()]), "the order to become ready"),
        (Facts { not_ready: Some(start()), ..ordered(OrderStatus::Ready) }, "the order to become ready"),
    ];
    for (facts, what) in rows {
        let (asked, end) = questions(facts, |_| None);
        assert_eq!(end, Step::GiveUp(Failure::TimedOut(what)));
        assert_eq!(asked[..5], [100, 300, 700, 1500, 2500], "{what}");
        let gaps: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(asked.iter().zip(&gaps).all(|(at, gap)| *gap <= if *at < 10_000 { 1000 } else { 10_000 }), "{asked:?}");
        let last = *asked.last().unwrap();
        assert!((300_000..=310_000).contains(&last), "{last}");
    }
}

#[test]
fn retry_after_is_the_least_wait_between_questions() {
    let (asked, end) = questions(ordered(OrderStatus::Processing), |now| Some(now + SignedDuration::from_secs(60)));
    assert_eq!(asked, [100, 60_100, 120_100, 180_100, 240_100]);
    assert_eq!(end, Step::GiveUp(Failure::Postponed("the certificate to be issued", after(300_100))));
    let (asked, _) = questions(ordered(OrderStatus::Processing), |now| Some(now - SignedDuration::from_secs(60)));
    assert_eq!(asked[..3], [100, 300, 700]);
}

#[test]
fn a_retry_after_beyond_the_limit_of_a_wait_ends_the_run() {
    for (seconds, ends) in [(300, false), (301, true)] {
        let late = after(seconds * 1000);
        let mut facts = with(ordered(OrderStatus::Pending), vec![answered()]);
        facts.observe_retry_after(Some(late));
        let step = Step::Wait { until: late };
        let failed = Step::GiveUp(Failure::Postponed("the CA to look at the challenges", late));
        facts.start_poll(start());
        assert_eq!(next(&facts, after(50)), if ends { failed } else { step });
        // What needs no wait is done all the same.
        facts.authorizations.push(pending());
        assert_eq!(next(&facts, after(50)), Step::ChallengeSetup(1, HTTP));
    }
}

#[test]
fn every_open_authorization_is_asked_once_per_round() {
    let (asked, _) = questions(with(ordered(OrderStatus::Pending), vec![answered(), valid(), answered()]), |_| None);
    assert_eq!(asked[..6], [100, 100, 300, 300, 700, 700]);
}

#[test]
fn the_csr_is_sent_as_soon_as_the_last_authorization_is_valid_and_if_that_is_too_early_the_order_is_asked() {
    let mut facts = with(ordered(OrderStatus::Pending), vec![valid(), valid()]);
    facts.authorizations[1].observed.as_mut().unwrap().at = after(150);
    facts.poll = Poll::start(start()).again(after(140));
    assert_eq!(next(&facts, after(150)), Step::Finalize);
    facts.not_ready = Some(after(150));
    facts.authorizations[1].observed.as_mut().unwrap().at = after(250);
    assert_eq!(next(&facts, after(250)), Step::RefreshOrder);
}

#[test]
fn a_new_wait_heeds_what_was_said_before() {
    let mut facts = ordered(OrderStatus::Processing);
    facts.observe_retry_after(Some(after(5000)));
    facts.observe_retry_after(None);
    facts.start_poll(start());
    assert_eq!(next(&facts, start()), Step::Wait { until: after(5000) });
    facts.forget_order(after(100));
    facts.start_poll(after(100));
    assert_eq!(facts.poll.at, after(200));
}

#[test]
fn a_challenge_that_failed_in_an_earlier_run_is_answered_again() {
    let processing = |error| {
        let mut facts = put(HTTP);
        let challenge = &mut facts.observed.as_mut().unwrap().value.challenges[1];
        challenge.status = ChallengeStatus::Processing;
        challenge.error = error;
        set_up(with(earlier(OrderStatus::Pending), vec![facts]))
    };
    check(vec![
        ("the CA looks at it", processing(None), Step::Wait { until: after(100) }),
        ("the CA has looked at it", processing(Some(crate::model::Problem::default())), Step::Answer(0, HTTP)),
    ]);
}
