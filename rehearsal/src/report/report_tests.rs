use super::*;
use crate::load::record::{Done, Phase, Verdict};
use crate::scorecard::{Recovery, Spike};
use crate::timeline::{Kind, Moment};
use banyan_runtime::clock;
use std::time::Duration;

fn timeline() -> Timeline {
    let mut timeline = Timeline::default();
    timeline.mark(Kind::Phase, "monolith alone");
    timeline.mark(Kind::Fault, "kill -9 sync <b>");
    timeline.stand(Moment { percent: 50.0, wanted_percent: 100.0, forward_lag_ms: 3, reverse_lag_ms: 9 });
    for (second, verdict) in
        [Verdict::Good, Verdict::Failed("500".into()), Verdict::Shed].into_iter().enumerate()
    {
        let due = clock::instant() + Duration::from_secs(second as u64);
        let done = Done { step: "GET /home", due, ended: due, phase: Phase::Before, verdict, write: None };
        timeline.note(&done, 12.0);
    }
    timeline
}

#[test]
fn the_page_stands_alone_and_holds_what_was_measured() {
    let mut card = Scorecard { spike: Some(Spike::default()), ..Scorecard::default() };
    card.recoveries.push(Recovery {
        fault: "kill -9 sync".into(),
        recovered_ms: 1234.0,
        ..Recovery::default()
    });
    card.broken.push("failed is 1 & more".into());
    let page = render(&card, &timeline()).unwrap();
    for wanted in
        ["kill -9 sync: 0 ms → 1.2 s", "failed is 1 &amp; more", "kill -9 sync &lt;b&gt;", "not measured"]
    {
        assert!(page.contains(wanted), "{wanted} is missing");
    }
    for foreign in ["<script", "src=", "href=", "@import", "url(", "http"] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert_eq!(page.matches("<svg").count(), 5);
    assert!(!page.contains("NaN") && !page.contains("inf"), "every place in a plot is a number");
}

#[test]
fn a_run_that_measured_nothing_has_a_page_too() {
    let page = render(&Scorecard::default(), &Timeline::default()).unwrap();
    assert!(page.contains("not measured") && !page.contains("NaN"));
}

#[test]
fn the_report_is_written_where_it_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/report.html");
    write(&Scorecard::default(), &Timeline::default(), Some(&file)).unwrap();
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("<!DOCTYPE html>"));
    let refused = write(&Scorecard::default(), &Timeline::default(), Some(&file.join("below/a.html")));
    assert!(format!("{:#}", refused.unwrap_err()).contains("cannot write"));
}
