//! The contract of [`Meeting`], run on the engine in memory by tests, and on a real engine by `a2md fleet check`.

use std::time::Duration;

use super::{Changes, FORMAT, Fence, Key, Meeting, MeetingError, Put, Revision, Session};
use crate::cancel::Cancel;

/// The point of the contract that an engine does not keep.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failed {
    /// The engine answers, and wrongly.
    #[error("the engine does not keep the contract: {0}")]
    Point(&'static str),
    /// The engine refuses a call, or is away.
    #[error(transparent)]
    Call(#[from] MeetingError),
}

type Connect<'a> = &'a mut dyn FnMut() -> Result<Box<dyn Meeting>, MeetingError>;

/// Makes a session for the suite.
pub fn session(node: &str) -> Session {
    Session { node: format!("check-{node}"), id: "0".to_owned(), version: String::new(), format: FORMAT, domains: 1 }
}

fn hold(holds: bool, point: &'static str) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed::Point(point)) }
}

/// Runs all points with two connections. `pass` lets time pass, and `life` is that of a session. Records of the suite are
/// removed again.
///
/// # Errors
/// The first point that is not kept.
pub fn run(connect: Connect<'_>, pass: &dyn Fn(Duration), life: Duration) -> Result<(), Failed> {
    let (mut a, mut b) = (connect()?, connect()?);
    let (one, two) = (session("one"), session("two"));
    sessions(&mut *a, &mut *b, (&one, &two), pass, life)?;
    claims(&mut *a, &mut *b, (&one, &two), pass, life)?;
    records(&mut *a, &mut *b, &one)?;
    fenced(&mut *a, &mut *b, (&one, &two), pass, life)?;
    for session in [&one, &two] {
        a.leave(&session.name())?;
    }
    Ok(())
}

fn sessions(
    a: &mut dyn Meeting,
    b: &mut dyn Meeting,
    (one, two): (&Session, &Session),
    pass: &dyn Fn(Duration),
    life: Duration,
) -> Result<(), Failed> {
    a.beat(one, Revision(0))?;
    let pulse = b.beat(two, Revision(7))?;
    let applied =
        |session: &Session| pulse.sessions.iter().find(|live| live.session == *session).map(|live| live.applied);
    hold(applied(one) == Some(Revision(0)), "a beat shows the other sessions")?;
    hold(applied(two) == Some(Revision(7)), "a beat shows its own session")?;
    pass(life * 3 / 5);
    a.beat(one, Revision(0))?;
    pass(life * 3 / 5);
    let pulse = a.beat(one, Revision(0))?;
    hold(pulse.sessions.iter().any(|live| live.session == *one), "a beat prolongs a session")?;
    hold(!pulse.sessions.iter().any(|live| live.session == *two), "a session without a beat ends")?;
    hold(b.claim(&Key::new("check", "x"), two) == Err(MeetingError::Lost), "a session that is over claims nothing")
}

fn claims(
    a: &mut dyn Meeting,
    b: &mut dyn Meeting,
    (one, two): (&Session, &Session),
    pass: &dyn Fn(Duration),
    life: Duration,
) -> Result<(), Failed> {
    let key = Key::new("check", "claim");
    a.beat(one, Revision(0))?;
    b.beat(two, Revision(0))?;
    let first = a.claim(&key, one)?.ok_or(Failed::Point("a free key can be claimed"))?;
    hold(b.claim(&key, two)?.is_none(), "a key is claimed by one session")?;
    let again = a.claim(&key, one)?.ok_or(Failed::Point("a session can claim a key again"))?;
    hold(again.fence > first.fence, "a later claim has a greater number")?;
    a.free(&first)?;
    hold(b.claim(&key, two)?.is_none(), "a claim that was replaced frees nothing")?;
    a.free(&again)?;
    let second = b.claim(&key, two)?.ok_or(Failed::Point("a key that was freed can be claimed"))?;
    hold(second.fence > again.fence, "claims of other sessions have greater numbers")?;
    b.leave(&two.name())?;
    let third = a.claim(&key, one)?.ok_or(Failed::Point("the claims of a session that left are free"))?;
    pass(life * 3 / 5);
    b.beat(two, Revision(0))?;
    hold(b.claim(&key, two)?.is_none(), "a claim lasts as long as its session")?;
    pass(life * 3 / 5);
    b.beat(two, Revision(0))?;
    let fourth = b.claim(&key, two)?.ok_or(Failed::Point("a claim ends with its session"))?;
    hold(fourth.fence > third.fence, "the next claim has a greater number")?;

    let driver = Key::new("driver", "-");
    hold(b.claim(&driver, two)?.is_some(), "the driver can be claimed")?;
    hold(a.beat(one, Revision(0))?.driver == Some(two.name()), "a beat shows the driver")?;
    b.leave(&two.name())?;
    hold(a.beat(one, Revision(0))?.driver.is_none(), "a driver that left is none")
}

fn records(a: &mut dyn Meeting, b: &mut dyn Meeting, one: &Session) -> Result<(), Failed> {
    let (x, y) = (Key::new("check", "x"), Key::new("check", "y"));
    let pulse = a.beat(one, Revision(0))?;
    let epoch = pulse.epoch;
    hold(a.get(&x)?.is_none(), "an absent record is none")?;
    let first = a.put(&Put::new(&x, b"\0one\xff"))?.ok_or(Failed::Point("a record can be written"))?;
    hold(first > pulse.revision, "a change has a greater revision")?;
    let found = b.get(&x)?.ok_or(Failed::Point("a record is seen by others"))?;
    hold(
        (found.revision, found.fence, &found.bytes[..]) == (first, Fence(0), b"\0one\xff"),
        "a record is returned as it is",
    )?;
    hold(b.put(&Put::new(&x, b"two").over(Revision(0)))?.is_none(), "an existing record is not written as a new one")?;
    let second =
        b.put(&Put::new(&x, b"two").over(first))?.ok_or(Failed::Point("a record is replaced by its revision"))?;
    hold(a.put(&Put::new(&x, b"three").over(first))?.is_none(), "an older revision replaces nothing")?;
    let third = a.put(&Put::new(&y, b"y").over(Revision(0)))?.ok_or(Failed::Point("a new record can be asked for"))?;
    a.wait(second, Duration::from_secs(2), &Cancel::default())?;
    let expected = vec![(x.clone(), second, false), (y.clone(), third, false)];
    hold(b.changes(&epoch, pulse.revision)? == Changes::Keys(expected), "changes are listed once, in their order")?;
    let Changes::Keys(all) = b.changes(&epoch, Revision(0))? else {
        return Err(Failed::Point("from the first revision on, everything is listed"));
    };
    hold(all.iter().any(|(key, ..)| *key == y), "from the first revision on, everything is listed")?;
    hold(b.changes("other", Revision(0))? == Changes::Everything, "of another memory nothing is known")?;
    b.remove(&x, None)?;
    b.remove(&x, None)?;
    hold(a.get(&x)?.is_none(), "a removed record is none")?;
    let Changes::Keys(left) = a.changes(&epoch, third)? else { return Err(Failed::Point("a removal is a change")) };
    hold(left.len() == 1 && left[0].0 == x && left[0].2, "a removal is listed as one")?;
    hold(a.changes(&epoch, left[0].1)? == Changes::Keys(vec![]), "nothing has changed since the newest revision")?;
    b.remove(&y, None)?;
    Ok(())
}

fn fenced(
    a: &mut dyn Meeting,
    b: &mut dyn Meeting,
    (one, two): (&Session, &Session),
    pass: &dyn Fn(Duration),
    life: Duration,
) -> Result<(), Failed> {
    let (claim, record) = (Key::new("check", "fence"), Key::new("check", "fenced"));
    a.beat(one, Revision(0))?;
    let old = a.claim(&claim, one)?.ok_or(Failed::Point("a free key can be claimed"))?;
    a.put(&Put::new(&record, b"old").under(&old))?;
    hold(b.get(&record)?.map(|found| found.fence) == Some(old.fence), "a record has the number of its claim")?;
    pass(life * 6 / 5);
    hold(
        a.put(&Put::new(&record, b"late").under(&old)) == Err(MeetingError::Lost),
        "a session that is over writes nothing",
    )?;
    b.beat(two, Revision(0))?;
    let new = b.claim(&claim, two)?.ok_or(Failed::Point("a claim ends with its session"))?;
    b.put(&Put::new(&record, b"new").under(&new))?;
    a.beat(one, Revision(0))?;
    hold(
        a.put(&Put::new(&record, b"late").under(&old)) == Err(MeetingError::Lost),
        "a claim that was lost writes nothing",
    )?;
    hold(a.remove(&record, Some(&old)) == Err(MeetingError::Lost), "a claim that was lost removes nothing")?;
    hold(b.get(&record)?.is_some_and(|found| found.bytes == b"new"), "what another session wrote stays")?;
    b.remove(&record, Some(&new))?;
    let short = Key::new("check", "short");
    b.put(&Put::new(&short, b"x").living(life))?;
    hold(a.get(&short)?.is_some(), "a record with a life is there at first")?;
    pass(life * 6 / 5);
    hold(a.get(&short)?.is_none(), "a record with a life vanishes")
}
