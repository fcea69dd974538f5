//! Certificates of a run: their keys and chains.

use super::*;

#[test]
fn a_chain_of_one_certificate_is_taken() {
    let scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| ca.with_issuer = false);
    scene.succeeds();
    assert_eq!(scene.staged().chains["P-256"].certificates().len(), 1);
}

#[test]
fn a_certificate_for_another_key_is_refused() {
    let scene = busy_world();
    scene.ca.fail(Operation::Certificate, Fault::Drop);
    scene.run().unwrap_err();
    // As if the key had been lost: the order of the former run is replaced at once.
    scene.staged().keys.insert("P-256".to_owned(), ec());
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 2);
    // In its own run it is an error.
    let scene = Scene::new(&["x.org"]);
    let other: fn(&mut Response) = |answer| {
        let name = [DomainName::parse("x.org").unwrap()];
        let at = Timestamp::from_second(1_700_000_000).unwrap();
        answer.body = crate::crypto::self_signed(&ec(), "x", &name, at, 1).unwrap().to_pem().into_bytes();
    };
    scene.ca.fail(Operation::Certificate, Fault::Alter(other));
    assert!(matches!(scene.run(), Err(AcmeError::WrongKey)));
    assert!(scene.staged().chains.is_empty() && scene.staged().order.is_empty());
    scene.succeeds();
}

#[test]
fn a_key_that_is_lost_while_its_certificate_is_ordered_costs_one_more_order() {
    let scene = Scene::new(&["x.org"]);
    scene.staged().loses_keys = true;
    let err = scene.run().unwrap_err();
    assert!(matches!(err, AcmeError::KeyLost(_)) && !err.is_permanent());
    assert!(scene.staged().order.is_empty());
    scene.staged().loses_keys = false;
    scene.succeeds();
    assert_eq!(scene.ca.ordered().len(), 2);
}

#[test]
fn issuers_of_a_single_certificate_are_found_by_links() {
    // The first answer is the leaf alone, with a link to what the second answer is.
    fn leaf(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.leaf().to_der().to_vec();
        answer.headers[0].1 = "application/pkix-cert".to_owned();
        let link = r#"<https://ca.test/directory>;rel="index", </certificate/0>; title=x; rel="up""#;
        answer.headers.push(("Link".to_owned(), r#"</certificate/0/1>;rel="alternate""#.to_owned()));
        answer.headers.push(("link".to_owned(), link.to_owned()));
    }
    fn issuer(answer: &mut Response) {
        let chain = Chain::from_pem(&answer.body).unwrap();
        answer.body = chain.certificates()[1].to_pem().into_bytes();
        answer.headers[0].1 = "text/plain; charset=utf-8".to_owned();
        // Round in a circle.
        answer.headers.push(("Link".to_owned(), "<0>; rel=up".to_owned()));
    }
    fn list(answer: &mut Response) {
        answer.headers[0].1 = "application/x-pkcs7-mime".to_owned();
        answer.body = b"\x30\x03\x02\x01\x05".to_vec();
    }
    for (second, length) in [(issuer as fn(&mut Response), 2), (list, 1)] {
        let scene = Scene::new(&["x.org"]);
        scene.ca.fail(Operation::Certificate, Fault::Alter(leaf));
        scene.ca.fail_times(Operation::Certificate, 2, Fault::Alter(second));
        scene.succeeds();
        let chain = scene.staged().chains["P-256"].clone();
        assert_eq!(chain.certificates().len(), length);
        assert_eq!(chain.leaf().names(), ["x.org"]);
    }
    // A chain that is complete needs no more.
    let scene = Scene::new(&["x.org"]);
    let linked: fn(&mut Response) = |answer| answer.headers.push(("Link".to_owned(), "<0>;rel=up".to_owned()));
    scene.ca.fail(Operation::Certificate, Fault::Alter(linked));
    scene.succeeds();
    assert_eq!(scene.ca.count(Operation::Certificate), 1);
}

#[test]
fn links_lead_up_where_they_say_so() {
    let rows = [
        (r#"<https://ca/issuer>;rel="up""#, Some("https://ca/issuer")),
        ("</issuer>; Rel=UP", Some("https://ca.test/issuer")),
        (r#"<a>; rel="index up", <b>; rel=up"#, Some("https://ca.test/certificate/a")),
        (r#"<a>;rel="alternate""#, None),
        ("<a>; rel=update", None),
        ("<a; rel=up", None),
        ("", None),
    ];
    for (value, expected) in rows {
        let response = Response { headers: vec![("Link".to_owned(), value.to_owned())], ..Response::default() };
        assert_eq!(issuer_url("https://ca.test/certificate/0", &response).as_deref(), expected, "{value}");
    }
}

/// Alternate chains that are of use: to another root, and without any issuer.
fn crossed(ca: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&[chain[0].clone(), ca.crossed("Other Root")])
}

fn twice_crossed(ca: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&[chain[0].clone(), ca.crossed("Bücher Root")])
}

fn leaf_alone(_: &Issuer, chain: &[Certificate]) -> Response {
    certificate(&chain[..1])
}

/// Alternate chains that are damaged, or not chains, or not of this certificate.
const DAMAGED: [fn(&Issuer, &[Certificate]) -> Response; 6] = [
    |_, _| problem(404, "malformed", "not found"),
    |_, _| answer(200, "application/pem-certificate-chain", "<html>"),
    |ca, _| certificate(&[ca.crossed("Other Root")]),
    |ca, chain| {
        certificate(&[chain[0].clone(), Issuer::new(chain[0].not_before()).crossed("Other Root"), ca.root().clone()])
    },
    |ca, chain| certificate(&[ca.crossed("Other Root"), chain[0].clone()]),
    |ca, _| {
        let mut answer = certificate(&[ca.crossed("Other Root")]);
        answer.headers.push(("Link".to_owned(), "<1>;rel=up, </certificate/0>;rel=alternate".to_owned()));
        answer
    },
];

/// The issuer at the top of the chain that is taken, its length, and how many were read.
fn chain_for(wanted: &str, alternates: &[fn(&Issuer, &[Certificate]) -> Response]) -> (String, usize, usize) {
    let mut scene = Scene::new(&["x.org"]);
    scene.ca.behave(|ca| ca.alternates = alternates.to_vec());
    scene.wanted.preferred_chain = Some(wanted.into()).filter(|_| !wanted.is_empty());
    scene.succeeds();
    let chain = scene.staged().chains["P-256"].clone();
    let top = chain.certificates().last().unwrap().issuer_common_name().unwrap();
    (top, chain.certificates().len(), scene.ca.count(Operation::Certificate))
}

#[test]
fn the_chain_that_is_preferred_is_taken_if_the_ca_has_it() {
    let all = [crossed as fn(&Issuer, &[Certificate]) -> Response, twice_crossed, leaf_alone, leaf_alone];
    let rows: [(&str, usize, (&str, usize, usize)); 8] = [
        // Wanted, how many alternates there are; the top of what is taken, its length, how many are read
        ("", 4, ("Fake CA", 2, 1)),
        ("Fake CA", 4, ("Fake CA", 2, 1)),
        ("Other Root", 4, ("Other Root", 2, 2)),
        ("Bücher Root", 4, ("Bücher Root", 2, 3)),
        ("No Root", 2, ("Fake CA", 2, 3)),
        ("No Root", 0, ("Fake CA", 2, 1)),
        ("shortest", 4, ("Fake CA", 1, 5)),
        ("shortest", 2, ("Fake CA", 2, 3)),
    ];
    for (wanted, alternates, (top, length, read)) in rows {
        assert_eq!(chain_for(wanted, &all[..alternates]), (top.to_owned(), length, read), "{wanted} of {alternates}");
    }
}

#[test]
fn an_alternate_chain_that_is_of_no_use_does_not_cost_the_certificate() {
    for (number, damaged) in DAMAGED.into_iter().enumerate() {
        for wanted in ["Other Root", "shortest"] {
            let (top, length, _) = chain_for(wanted, &[damaged]);
            assert_eq!((&*top, length), ("Fake CA", 2), "{number}, {wanted}");
            let (top, ..) = chain_for("Other Root", &[damaged, crossed]);
            assert_eq!(top, "Other Root", "{number}");
        }
    }
    // However many there are, not all are read.
    let (.., read) = chain_for("No Root", &[DAMAGED[0]; 50]);
    assert_eq!(read, 11);
}

#[test]
fn refused_nonces_and_lost_connections_do_not_keep_from_the_default_chain() {
    for (fault, top) in [(Fault::RefuseNonce, "Other Root"), (Fault::Drop, "Fake CA"), (Fault::DropAnswer, "Fake CA")] {
        let mut scene = Scene::new(&["x.org"]);
        scene.ca.behave(|ca| ca.alternates = vec![crossed]);
        scene.wanted.preferred_chain = Some("Other Root".into());
        // The first is the default one.
        scene.ca.fail(Operation::Certificate, Fault::Slow(SignedDuration::ZERO));
        scene.ca.fail(Operation::Certificate, fault.clone());
        scene.run().unwrap();
        let chain = scene.staged().chains["P-256"].clone();
        assert_eq!(chain.certificates().last().unwrap().issuer_common_name().as_deref(), Some(top), "{fault:?}");
    }
}
