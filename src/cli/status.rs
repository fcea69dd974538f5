//! The command `status`: a table of the domains with validity, next renewal, and the reason of a failure.

use super::drive::chosen;
use super::error::CliError;
use super::given::Given;
use super::output::{self, show};
use super::session::Session;
use super::words::Colour;
use crate::crypto::Summary;
use crate::model::{Job, RenewMode, Timestamp};
use crate::registry::{Place, Registry};
use crate::renewals::activation_verdict;
use crate::sets::Activation;
use crate::status::{StateWord, View, has_failed};
use crate::store::{Aspect, Group};

const TITLES: [&str; 5] = ["DOMAIN", "STATE", "VALID UNTIL (UTC)", "DAYS", "NEXT (UTC)"];

/// Note for a domain that the server does not renew.
const BY_DRIVE: &str = "MDRenewMode manual: 'a2md drive' renews it, the server does not";

/// The row of a domain in the table, and the notes below it.
struct Row {
    state: StateWord,
    cells: [String; 5],
    notes: Vec<String>,
}

/// A line of the table. The word of the state, if there is one, stands between two texts.
struct Line {
    before: String,
    state: Option<StateWord>,
    after: String,
}

/// Prints the table: `status [name...]`.
pub fn status(session: &mut Session, given: &Given<'_>) -> Result<(), CliError> {
    let registry = session.domains_of(&given.args())?;
    let positions = chosen(&registry, &given.args())?;
    if session.json {
        for name in positions.iter().map(|position| registry.domains[*position].md.name.as_str()) {
            session.report(name, crate::status::domain(&registry, name).unwrap_or_default());
        }
        return Ok(());
    }
    let now = registry.clock.now();
    let mut rows: Vec<Row> = positions.iter().map(|position| row(&registry, *position, now)).collect();
    for row in &mut rows {
        row.notes.extend(session.idle(&row.cells[0]).map(|reason| format!("the server does not renew it: {reason}")));
    }
    for Line { before, state, after } in lines(&rows) {
        match state {
            Some(state) => {
                session.terminal().print_coloured(&before, Colour::of(state.urgency()), state.word(), &after)
            }
            None => session.terminal().print(&before),
        }
    }
    Ok(())
}

fn row(registry: &Registry, position: usize, now: Timestamp) -> Row {
    let domain = &registry.domains[position];
    let md = &domain.md;
    let job = registry.job(position);
    let view = View::new(registry, domain, true);
    let until = view.served.common_validity().map(|(_, until)| until);
    let is_new = !view.is_staged_live() && activation_verdict(&registry.documents, md, now) == Activation::Activated;
    let due_at = registry.due_at(position, now);
    let state = match view.in_a_word() {
        StateWord::Unusable => StateWord::Unusable,
        _ if is_revoked(registry, &view) => StateWord::Revoked,
        _ if is_new && domain.slot.is_none() => StateWord::Waiting,
        word => word,
    };
    let next = match state {
        _ if is_new => next_use(&view, now),
        StateWord::Revoked => format!("'a2md drive -f {}' obtains a new certificate", md.name),
        _ => due(due_at, job.as_ref(), now),
    };
    let says_all = view.served.certificates.iter().all(Option::is_none) && state != StateWord::Unusable;
    let mut notes: Vec<String> = view.served.state_descr.iter().filter(|_| !says_all).cloned().collect();
    notes.extend(job.filter(has_failed).map(|job| failure(&job)));
    notes.extend(view.last_step().map(|step| format!("last step: {step}")));
    notes.extend(view.domain.activation_warning());
    notes.extend(activation(&view));
    notes.extend((md.renew_mode == RenewMode::Manual && !md.is_static()).then(|| BY_DRIVE.to_owned()));
    let days = until.map(|until| (until.duration_since(now).as_hours() / 24).max(0).to_string());
    let [until, days] = [until.map(show), days].map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
    Row { state, cells: [md.name.to_string(), state.word().to_owned(), until, days, next], notes }
}

/// Whether one of the certificates that are served is revoked: by what the CA says, or by the report of `a2md revoke`.
fn is_revoked(registry: &Registry, view: &View<'_>) -> bool {
    let job: Option<Job> = registry.documents.load_json(Group::Domains, view.md.name.as_str(), &Aspect::JobJson);
    let revoked = job.map(|job| job.revoked).unwrap_or_default();
    view.domain.is_revoked() || view.certificates().any(|(_, own)| revoked.contains(&own.serial_hex()))
}

/// Describes when a new certificate gets into use.
fn next_use(view: &View<'_>, now: Timestamp) -> String {
    match (view.domain.slot.is_some(), view.ready_at().filter(|at| *at > now)) {
        (false, _) if view.domain.restarts() => "new certificate waits for the server to restart itself".to_owned(),
        (false, _) => "new certificate waits for a restart".to_owned(),
        (true, Some(at)) => format!("new certificate goes live {}", show(at)),
        (true, None) => "new certificate goes live now; if not, the error log has the reason (MD0035)".to_owned(),
    }
}

/// Describes the certificates that are live, and those that the server will use after a restart, unless the domain has
/// `MDActivation restart`.
fn activation(view: &View<'_>) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(set) = &view.live {
        let since = set.since.map(|at| format!(" since {}", show(at))).unwrap_or_default();
        let certificates = set.pairs.iter().map(|(spec, pair)| output::certificate(spec.json_name(), pair.summary()));
        notes.extend(certificates.map(|certificate| format!("live{since}: {certificate}")));
    }
    if view.activation().is_some() {
        let certificate = |(kind, place, certificate): (String, Place, Summary)| {
            format!("after a restart: {}, from {}/", output::certificate(&kind, &certificate), place.name())
        };
        notes.extend(view.after_restart().into_iter().map(certificate));
    }
    notes
}

/// Describes when the domain is renewed.
fn due(at: Option<Timestamp>, job: Option<&Job>, now: Timestamp) -> String {
    let retry = job.and_then(|job| job.next_run).filter(|next| *next > now);
    match (at, retry) {
        (None, _) => "not renewed by mod_md".to_owned(),
        (Some(at), _) if at > now => format!("renewal {}", show(at)),
        (Some(_), Some(next)) => format!("renewal now, next attempt {}", show(next)),
        (Some(_), None) => "renewal now".to_owned(),
    }
}

/// Describes the failure of a renewal.
fn failure(job: &Job) -> String {
    let failed = match job.errors {
        // A command denied the renewal.
        0 => "not started".to_owned(),
        1 => "failed once".to_owned(),
        errors => format!("failed {errors} times"),
    };
    let when = job.last_run.map(|at| format!(", last {}", show(at))).unwrap_or_default();
    let last = job.last.as_ref();
    let why = last.and_then(|last| last.detail.as_deref()).unwrap_or("reason not known");
    let problem = last.and_then(|last| last.problem.as_deref()).filter(|problem| !why.contains(problem));
    format!("{failed}{when}: {why}{}", problem.map(|problem| format!(" <{problem}>")).unwrap_or_default())
}

/// Formats the table; columns are as wide as their widest cells.
fn lines(rows: &[Row]) -> Vec<Line> {
    let wide = |column: usize| {
        let cells = rows.iter().map(|row| row.cells[column].chars().count());
        cells.chain([TITLES[column].len()]).max().unwrap_or_default()
    };
    let [name_width, state_width, until_width, days_width, _] = [0, 1, 2, 3, 4].map(wide);
    let line = |state: Option<StateWord>, [name, word, until, days, next]: [&str; 5]| {
        let before = format!("{name:name_width$}  ");
        let gap = state_width - word.chars().count();
        let after = format!("{:gap$}  {until:until_width$}  {days:>days_width$}  {next}", "");
        match state {
            Some(_) => Line { before, state, after },
            None => Line { before: format!("{before}{word}{after}"), state, after: String::new() },
        }
    };
    let note = |note: &String| Line { before: format!("    {note}"), state: None, after: String::new() };
    let mut lines = vec![line(None, TITLES)];
    for row in rows {
        lines.push(line(Some(row.state), row.cells.each_ref().map(String::as_str)));
        lines.extend(row.notes.iter().map(note));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::SignedDuration;

    use super::super::testing::Shell;
    use super::*;
    use crate::crypto::Certificate;
    use crate::model::{ActivationMode, JobResult};
    use crate::store::{ServerFacts, Store};
    use crate::testing::ca::{Fault, Operation, problem};
    use crate::testing::{Call, TestServer, p256};

    fn table(server: &TestServer) -> Vec<String> {
        let registry = Registry::stored(
            Arc::clone(&server.documents),
            Arc::clone(&server.clock) as _,
            &ServerFacts::default(),
            None,
        )
        .unwrap();
        registry.live_sets.open(None);
        let rows: Vec<Row> = (0..registry.domains.len())
            .map(|at| row(&registry, at, crate::clock::Clock::now(&*server.clock)))
            .collect();
        let text = |line: Line| line.before + line.state.map_or("", StateWord::word) + &line.after;
        lines(&rows).into_iter().map(text).collect()
    }

    #[test]
    fn the_table_tells_what_is_due_and_what_failed() {
        let server = TestServer::new(&["a.status.test", "long-name.status.test"]);
        drop(server.start(false));
        assert_eq!(
            table(&server),
            [
                "DOMAIN                 STATE               VALID UNTIL (UTC)  DAYS  NEXT (UTC)",
                "a.status.test          no certificate yet  -                     -  renewal now",
                "long-name.status.test  no certificate yet  -                     -  renewal now",
            ]
        );
        server.ca.fail(Operation::NewOrder, Fault::Answer(problem(500, "serverInternal", "no disk")));
        drop(server.run(false));
        let lines = table(&server);
        let failed = lines.iter().find(|line| line.contains("failed once, last 2023-11-14 22:13: ")).unwrap();
        assert!(failed.contains("no disk") && failed.contains("serverInternal"), "{failed}");
        assert!(lines.iter().any(|line| line.contains("renewal now, next attempt 2023-11-14 22:1")), "{lines:?}");
        assert!(lines.iter().any(|line| line.ends_with("new certificate waits for a restart")), "{lines:?}");
        drop(server.start(true));
        assert!(
            table(&server)
                .iter()
                .any(|line| line.contains(" good ") && line.contains("22:13     89  renewal 2024-01-1")),
            "{:?}",
            table(&server)
        );
    }

    #[test]
    fn what_is_live_is_told_with_what_waits_and_what_a_restart_brings() {
        let name = "live.status.test";
        let mut server = TestServer::new(&[name]);
        server.declared[0].settings.activation = Some(ActivationMode::Live);
        server.globals.activation_delay = SignedDuration::from_hours(10);
        let staged = |server: &TestServer| {
            let text = server.text(Group::Staging, name, &Aspect::Chain(p256())).unwrap();
            Certificate::from_pem(text.as_bytes()).unwrap().summary().serial_hex()
        };
        let renewals = server.run(false);
        let first = staged(&server);
        let since = show(server.store.modified(Group::Live, name, &Aspect::LiveJson).unwrap());
        let lines = table(&server);
        assert!(lines[1].contains("good   2024-02-12") && lines[1].contains("renewal 2024-"), "{lines:?}");
        let certificate = |serial: &str, until: &str| format!("P-256 serial {serial}, valid until {until}");
        let until = &lines[1][lines[1].find("2024-02-12").unwrap()..][..16];
        let live = format!("    live since {since}: {}", certificate(&first, until));
        assert_eq!(
            lines[2..],
            [live.clone(), format!("    after a restart: {}, from live/", certificate(&first, until))]
        );

        server.clock.advance(SignedDuration::from_hours(24 * 61));
        server.go_on(&renewals);
        let lines = table(&server);
        assert!(lines[1].contains("new certificate goes live 2024-01-15"), "{lines:?}");
        assert_eq!(lines[2], live);
        let after = format!("after a restart: P-256 serial {}, valid until 2024-", staged(&server));
        assert!(lines[3].contains(&after) && lines[3].ends_with(", from staging/"), "{lines:?}");
    }

    #[test]
    fn the_command_shows_all_domains_or_those_that_are_named() {
        let shell = Shell::new();
        assert_eq!(shell.succeed("status"), "DOMAIN  STATE  VALID UNTIL (UTC)  DAYS  NEXT (UTC)\n");
        assert_eq!(shell.json("status"), serde_json::json!([]));
        shell.succeed("add a.status.test");
        shell.succeed("add b.status.test");
        let row = "b.status.test  no certificate yet  -                     -  renewal now\n";
        assert_eq!(
            shell.succeed("status b.status.test"),
            format!("DOMAIN         STATE               VALID UNTIL (UTC)  DAYS  NEXT (UTC)\n{row}")
        );
        let output = shell.json("status");
        assert_eq!((&output[0]["name"], &output[1]["renew"]), (&"a.status.test".into(), &true.into()));
        let read = || shell.server.store.count(Call::Load, Group::Domains, Some(&Aspect::MdJson));
        let before = read();
        shell.succeed("status B.status.test");
        assert_eq!(read() - before, 1, "no other domain is read");
        assert_eq!(shell.fail("status x.org"), "Info 2: managed domain not found: x.org\n");
    }

    #[test]
    fn the_last_step_of_a_renewal_in_progress_is_told() {
        let name = "step.status.test";
        let server = TestServer::new(&[name]);
        drop(server.start(false));
        let said = |job: &str| {
            server.put(Group::Staging, name, &Aspect::JobJson, &format!(r#"{{"name":"{name}",{job}}}"#));
            table(&server).iter().filter(|line| line.contains("last step: ")).cloned().collect::<Vec<_>>()
        };
        let last = r#""last":{"status":0,"activity":"Creating new order"}"#;
        assert_eq!(said(last), ["    last step: Creating new order"]);
        assert!(said(&format!(r#"{last},"finished":true"#)).is_empty());
        assert!(said(&format!(r#"{last},"errors":1,"next-run":"Fri, 01 Dec 2023 00:00:00 GMT""#)).is_empty());
    }

    #[test]
    fn a_failure_is_told_with_count_time_and_problem() {
        let at = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let result = |detail: Option<&str>, problem: Option<&str>| {
            Some(JobResult {
                detail: detail.map(str::to_owned),
                problem: problem.map(str::to_owned),
                ..JobResult::default()
            })
        };
        for (errors, last_run, last, expected) in [
            (0, None, result(Some("denied by /cmd"), None), "not started: denied by /cmd"),
            (1, at("2023-11-14T22:13:20Z"), None, "failed once, last 2023-11-14 22:13: reason not known"),
            (3, None, result(Some("no disk"), Some("urn:x")), "failed 3 times: no disk <urn:x>"),
            (3, None, result(Some("no disk (urn:x)"), Some("urn:x")), "failed 3 times: no disk (urn:x)"),
        ] {
            assert_eq!(failure(&Job { errors, last_run, last, ..Job::default() }), expected);
        }
    }

    #[test]
    fn a_renewal_is_due_at_a_time_now_or_never() {
        let [now, later] = ["2023-11-14T22:13:20Z", "2023-11-15T00:00:00Z"].map(|at| at.parse::<Timestamp>().unwrap());
        let waits = Job { next_run: Some(later), ..Job::default() };
        for (at, job, expected) in [
            (None, None, "not renewed by mod_md"),
            (Some(later), None, "renewal 2023-11-15 00:00"),
            (Some(now), None, "renewal now"),
            (Some(now), Some(&waits), "renewal now, next attempt 2023-11-15 00:00"),
            (Some(now), Some(&Job::default()), "renewal now"),
        ] {
            assert_eq!(due(at, job, now), expected);
        }
    }

    #[test]
    fn who_renews_and_who_restarts_is_told_where_it_is_not_the_server() {
        let mut server = TestServer::new(&["who.status.test"]);
        server.declared[0].settings.renew_mode = Some(RenewMode::Manual);
        drop(server.start(false));
        assert!(table(&server).contains(&format!("    {BY_DRIVE}")), "{:?}", table(&server));
        server.declared[0].settings.renew_mode = None;
        server.declared[0].settings.activation = Some(ActivationMode::Graceful);
        drop(server.run(true));
        let lines = table(&server);
        assert!(lines[1].ends_with("new certificate waits for the server to restart itself"), "{lines:?}");
        drop(server.start(true));
        server.clock.advance(SignedDuration::from_hours(24 * 91));
        assert!(table(&server)[1].contains("  expired  2024-02-12 "), "{:?}", table(&server));
        server.put(Group::Domains, "who.status.test", &Aspect::Chain(p256()), &"x".repeat(2000));
        assert!(table(&server)[1].contains("  unusable "), "{:?}", table(&server));
    }
}
