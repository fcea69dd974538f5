//! Faults of requests and their effects.

use super::*;

fn row(operation: Operation, fault: Fault, says: &'static str, status: Status) -> Row {
    Row { operation, fault, says, status }
}

/// A run that fails in this way, then one that succeeds.
fn fails_then_succeeds(row: Row) -> AcmeError {
    let scene = world_for(row.operation);
    let context = format!("{:?} {:?}", row.operation, row.fault);
    scene.ca.fail(row.operation, row.fault);
    let err = scene.run().expect_err(&context);
    assert_eq!((err.to_string(), err.status()), (row.says.to_owned(), row.status), "{context}");
    let result = err.to_result();
    let says = row.says.split(" <urn:").next().unwrap_or_default();
    assert!(result.detail.is_some_and(|detail| detail.starts_with(says)), "{context}");
    scene.ca.recover();
    scene.succeeds();
    assert_eq!(scene.ca.accounts(), 1, "{context}");
    err
}

#[test]
fn connections_that_end_are_tried_again_in_the_next_run() {
    for operation in ALL {
        for fault in [Fault::Drop, Fault::DropAnswer] {
            let says = match operation {
                Operation::Directory => {
                    "Unsuccessful in contacting ACME server at <https://ca.test/directory>: the request to ca.test failed: \
                     connection reset"
                }
                _ => "the request to ca.test failed: connection reset",
            };
            let err = fails_then_succeeds(row(operation, fault, says, Status::GENERAL));
            assert!(!err.is_permanent() && err.retry_after().is_none());
        }
    }
}

#[test]
fn rate_limits_say_when_to_come_back() {
    let limited = with_header(problem(429, "rateLimited", "too many"), "Retry-After", "3600");
    for operation in ALL {
        let (says, status) = match operation {
            Operation::Directory => (
                "Unsuccessful in contacting ACME server at <https://ca.test/directory>: the server answered with HTTP status 429: \
                 too many",
                Status::AGAIN,
            ),
            Operation::Nonce => (
                "Unsuccessful in contacting ACME server at <https://ca.test/nonce>: the server answered with HTTP status 429: too many",
                Status::AGAIN,
            ),
            _ => ("too many <urn:ietf:params:acme:error:rateLimited>", Status::BAD_ARGUMENT),
        };
        let err = fails_then_succeeds(row(operation, Fault::Answer(limited.clone()), says, status));
        assert!(!err.is_permanent());
        let wait = err.retry_after().unwrap().as_second() - 1_700_000_000;
        assert!((3600..3605).contains(&wait), "{operation:?}: {wait}");
    }
}

#[test]
fn retry_after_is_a_date_or_seconds_and_at_most_a_week() {
    let rows = [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Tue, 14 Nov 2023 22:15:20 GMT", Some(120)),
        ("Fri, 14 Nov 2053 22:15:20 GMT", Some(7 * 86_400)),
        ("4000000000", Some(7 * 86_400)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ];
    for (text, expected) in rows {
        let scene = busy_world();
        let unavailable = with_header(answer(503, "text/html", "<html>"), "retry-after", text);
        scene.ca.fail(Operation::Directory, Fault::Answer(unavailable));
        let err = scene.run().unwrap_err();
        assert_eq!(err.retry_after().map(|at| at.as_second() - 1_700_000_000), expected, "{text:?}");
        assert!(err.to_string().contains("the server is unavailable (HTTP status 503)"), "{err}");
    }
}

#[test]
fn problems_are_told_and_some_are_permanent() {
    let rows = [
        (Operation::NewAccount, "externalAccountRequired", Status::INVALID, true),
        (Operation::Account, "serverInternal", Status::GENERAL, false),
        (Operation::NewOrder, "rejectedIdentifier", Status::BAD_ARGUMENT, true),
        (Operation::NewOrder, "unauthorized", Status::DENIED, false),
        (Operation::NewOrder, "userActionRequired", Status::GENERAL, true),
        (Operation::NewOrder, "caa", Status::GENERAL, false),
        (Operation::Order, "unauthorized", Status::DENIED, false),
        (Operation::Authorization, "serverInternal", Status::GENERAL, false),
        (Operation::Challenge, "malformed", Status::INVALID, true),
        (Operation::Finalize, "badCSR", Status::INVALID, true),
        (Operation::Certificate, "serverInternal", Status::GENERAL, false),
    ];
    for (operation, name, status, permanent) in rows {
        let says: &str = Box::leak(format!("no <urn:ietf:params:acme:error:{name}>").into_boxed_str());
        let err = fails_then_succeeds(row(operation, Fault::Answer(problem(403, name, "no")), says, status));
        assert_eq!(err.is_permanent(), permanent, "{operation:?} {name}");
        assert!(err.to_result().problem.unwrap().ends_with(name));
    }
}

#[test]
fn empty_and_broken_answers_are_errors_of_this_run_only() {
    let bodies: [fn(&mut Response); 3] = [
        |answer| answer.body.clear(),
        |answer| answer.body.truncate(answer.body.len() / 3),
        |answer| answer.body = b"<html>sorry</html>".to_vec(),
    ];
    for operation in ALL {
        for (index, body) in bodies.into_iter().enumerate() {
            let scene = world_for(operation);
            scene.ca.fail(operation, Fault::Alter(body));
            let err = match (operation, scene.run()) {
                // What is in these answers is in their headers.
                (Operation::Nonce | Operation::Challenge, result) => {
                    result.unwrap();
                    continue;
                }
                (_, result) => result.expect_err(&format!("{operation:?} {index}")),
            };
            let says = match operation {
                Operation::Directory => "Unable to understand ACME server response",
                Operation::Certificate => "the certificate from <https://ca.test/certificate/0> cannot be used",
                _ => "unable to process the response from <https://ca.test/",
            };
            assert!(err.to_string().starts_with(says), "{operation:?} {index}: {err}");
            assert_eq!(err.status(), Status::INVALID);
            assert!(!err.is_permanent());
            scene.ca.recover();
            scene.succeeds();
            assert_eq!(scene.ca.accounts(), 1);
        }
    }
}

#[test]
fn errors_without_a_problem_document_have_the_status() {
    let rows = [
        (400, Status::INVALID),
        (401, Status::DENIED),
        (403, Status::DENIED),
        (404, Status::NOT_FOUND),
        (500, Status::GENERAL),
        (301, Status::GENERAL),
    ];
    for (http_status, status) in rows {
        for body in [answer(http_status, "text/html", "<html>"), answer(http_status, "application/problem+json", "{}")]
        {
            let says = format!("unexpected http status: {http_status} from <https://ca.test/new-order>");
            let says: &str = Box::leak(says.into_boxed_str());
            fails_then_succeeds(row(Operation::NewOrder, Fault::Answer(body), says, status));
        }
    }
}

#[test]
fn a_missing_location_matters_only_where_something_is_created() {
    let strip: fn(&mut Response) = |answer| answer.headers.retain(|(name, _)| name != "Location");
    for (operation, url) in [(Operation::NewAccount, "new-account"), (Operation::NewOrder, "new-order")] {
        let says: &str = Box::leak(format!("the CA's answer from <https://ca.test/{url}> lacks a Location").into());
        fails_then_succeeds(row(operation, Fault::Alter(strip), says, Status::INVALID));
    }
    let scene = busy_world();
    for operation in [Operation::Finalize, Operation::Certificate, Operation::Authorization] {
        scene.ca.fail(operation, Fault::Alter(strip));
    }
    scene.succeeds();
}

#[test]
fn content_types_of_good_answers_do_not_matter() {
    let types: [fn(&mut Response); 3] = [
        |answer| answer.headers.retain(|(name, _)| name != "Content-Type"),
        |answer| {
            answer
                .headers
                .iter_mut()
                .filter(|(n, _)| n == "Content-Type")
                .for_each(|(_, v)| *v = "text/plain".to_owned())
        },
        |answer| {
            answer.headers.iter_mut().filter(|(n, _)| n == "Content-Type").for_each(|(_, v)| *v = "a/b".to_owned())
        },
    ];
    for alter in types {
        let scene = busy_world();
        ALL.into_iter().for_each(|operation| scene.ca.fail_times(operation, 100, Fault::Alter(alter)));
        scene.succeeds();
    }
}

#[test]
fn refused_nonces_are_answered_with_the_new_one_in_every_operation() {
    for operation in ALL.into_iter().filter(|o| !matches!(o, Operation::Directory | Operation::Nonce)) {
        let scene = world_for(operation);
        scene.ca.fail_times(operation, 25, Fault::RefuseNonce);
        scene.succeeds();
        assert_eq!(scene.ca.count(Operation::Nonce), 1, "{operation:?}");
        assert_eq!(scene.ca.ordered().len(), 1);
    }
    let scene = world_for(Operation::Finalize);
    scene.ca.fail_times(Operation::Finalize, 26, Fault::RefuseNonce);
    let began = scene.clock.now();
    assert!(matches!(scene.run(), Err(AcmeError::BadNonce)));
    let took = scene.clock.now().duration_since(began);
    assert!(took > SignedDuration::from_secs(5) && took < SignedDuration::from_secs(60), "{took:?}");
}

#[test]
fn a_refusal_without_a_nonce_leads_to_a_fresh_one() {
    let scene = busy_world();
    let bare = with_header(problem(400, "badNonce", "stale"), "No-Nonce", "");
    scene.ca.fail(Operation::NewOrder, Fault::Answer(bare));
    scene.succeeds();
    assert_eq!(scene.ca.count(Operation::Nonce), 2);
    scene.ca.fail(
        Operation::Nonce,
        Fault::Answer(with_header(Response { status: 200, ..Response::default() }, "No-Nonce", "")),
    );
    let scene = Scene { journal: MemoryJournal::default(), ..scene };
    assert_eq!(
        scene.run().unwrap_err().to_string(),
        "the CA's answer from <https://ca.test/nonce> lacks a Replay-Nonce"
    );
}
