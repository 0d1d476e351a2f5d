//! Live progress: two lines that are redrawn on a terminal, a plain line every few seconds elsewhere.

use banyan_core::protocol::migration::MigrationStatus;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

use crate::control::{Holds, Operator};
use crate::keys::HELP;
use crate::load::record::{Live, Phase, Record};
use crate::timeline::Moment;

const REDRAW: Duration = Duration::from_millis(250);
/// Figures of Banyan are asked for every so many redraws.
const ASK_EVERY: u32 = 2;
/// A plain line comes every so many redraws.
const PLAIN_EVERY: u32 = 20;

/// What is shown.
#[derive(Clone)]
pub struct Progress {
    bars: Option<(MultiProgress, ProgressBar, ProgressBar)>,
    operator: Arc<Mutex<Option<Operator>>>,
    help: Arc<Mutex<Option<ProgressBar>>>,
}

impl Progress {
    /// Redraws where standard error is a terminal.
    pub fn new() -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let all = MultiProgress::new();
            let style = |template| ProgressStyle::with_template(template).expect("the template is constant");
            let line = || all.add(ProgressBar::new_spinner());
            let (first, second) = (line(), line());
            first.set_style(style("{spinner:.green} {wide_msg}"));
            second.set_style(style("  {wide_msg}"));
            (all, first, second)
        });
        Self { bars, operator: Arc::default(), help: Arc::default() }
    }

    /// Prints a line above what is redrawn.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // A terminal that went away is no reason to stop.
            Some((all, ..)) => all.println(line).unwrap_or_default(),
            None => eprintln!("{line}"),
        }
    }

    /// Shows what is being done before there is load.
    pub fn doing(&self, what: &str) {
        match &self.bars {
            Some((_, first, _)) => {
                first.set_message(what.to_owned());
                first.tick();
            }
            None => eprintln!("{what}"),
        }
    }

    /// Shows Banyan's figures too from now on.
    pub fn watch_banyan(&self, operator: Operator) {
        *self.operator.lock().unwrap_or_else(PoisonError::into_inner) = Some(operator);
    }

    /// Shows what the keys do, as the last line of a terminal.
    pub fn show_keys(&self) {
        if let Some((all, ..)) = &self.bars {
            let line = all.add(ProgressBar::new_spinner());
            line.set_style(ProgressStyle::with_template("  {wide_msg}").expect("the template is constant"));
            line.set_message(HELP);
            *self.help.lock().unwrap_or_else(PoisonError::into_inner) = Some(line);
        }
    }

    /// Shows the load until the returned set is dropped.
    pub fn watch(&self, record: Record) -> JoinSet<()> {
        let mut task = JoinSet::new();
        let progress = self.clone();
        task.spawn(async move { progress.redraw(record).await });
        task
    }

    /// Takes the redrawn lines away.
    pub fn finish(&self) {
        if let Some((_, first, second)) = &self.bars {
            first.finish_and_clear();
            second.finish_and_clear();
        }
        if let Some(line) = self.help.lock().unwrap_or_else(PoisonError::into_inner).take() {
            line.finish_and_clear();
        }
    }

    async fn redraw(&self, record: Record) {
        let mut seen = Seen::default();
        for round in 0_u32.. {
            if round.is_multiple_of(ASK_EVERY) {
                let operator = self.operator.lock().unwrap_or_else(PoisonError::into_inner).clone();
                if let Some(operator) = operator {
                    seen.ask(&operator).await;
                    if let Some(moment) = seen.moment() {
                        record.timeline(|timeline| timeline.stand(moment));
                    }
                }
            }
            let (load, banyan) = (load_line(&record.live()), seen.line());
            match &self.bars {
                Some((_, first, second)) => {
                    first.set_message(load);
                    second.set_message(banyan);
                    first.tick();
                    second.tick();
                }
                None if round.is_multiple_of(PLAIN_EVERY) => eprintln!("{load} | {banyan}"),
                None => {}
            }
            tokio::time::sleep(REDRAW).await;
        }
    }
}

/// The newest figures of Banyan; those that cannot be had are kept.
#[derive(Default)]
struct Seen {
    status: Option<MigrationStatus>,
    lag_ms: Option<(u64, u64)>,
    holds: Option<Holds>,
}

impl Seen {
    async fn ask(&mut self, operator: &Operator) {
        if let Ok(status) = operator.status().await {
            self.status = Some(status);
        }
        if let Ok(sync) = operator.sync_status().await {
            self.lag_ms = Some((sync.forward_lag_ms, sync.reverse_lag_ms));
        }
        if let Ok(holds) = operator.holds().await {
            self.holds = Some(holds);
        }
    }

    fn moment(&self) -> Option<Moment> {
        let (status, (forward_lag_ms, reverse_lag_ms)) = (self.status.as_ref()?, self.lag_ms?);
        let (percent, wanted_percent) = (status.percent, status.wanted_percent);
        Some(Moment { percent, wanted_percent, forward_lag_ms, reverse_lag_ms })
    }

    fn line(&self) -> String {
        let Some(status) = &self.status else { return "no Banyan yet".into() };
        let mut text = format!("at the service {:>5.1} %", status.percent);
        if (status.percent - status.wanted_percent).abs() > 0.05 {
            text += &format!(" → {:.0} %", status.wanted_percent);
        }
        text += &format!("  handovers {}", status.handovers);
        if !status.stragglers.is_empty() {
            text += &format!("  stragglers {}", status.stragglers);
        }
        if let Some((forward, reverse)) = self.lag_ms {
            text += &format!("  lag {forward}/{reverse} ms");
        }
        if let Some(holds) = &self.holds {
            text += &format!("  hold p99 {:.0} ms ({} held)", holds.hold_ms.p99, holds.hold_ms.count);
        }
        text
    }
}

fn load_line(live: &Live) -> String {
    let mut text = format!(
        "{:<16} requests {:>6}  failed {}  p50 {:>4.0} ms  p99 {:>4.0} ms",
        phase_name(live.phase),
        live.requests,
        live.failed,
        live.p50_ms,
        live.p99_ms
    );
    for (count, what) in [
        (live.failed_by_provider, "failed by the provider"),
        (live.failed_while_down, "failed while a role was down"),
        (live.shed, "shed"),
    ] {
        if count > 0 {
            text += &format!("  {what} {count}");
        }
    }
    if live.waiting > 0 {
        text += &format!("  waiting {}", live.waiting);
    }
    text
}

/// The name of a phase for people.
pub fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Settling => "settling",
        Phase::Before => "monolith alone",
        Phase::ThroughGateway => "through gateway",
        Phase::Copying => "copying",
        Phase::Rounds => "moving cohorts",
        Phase::Outage => "provider hangs",
        Phase::After => "at the service",
        Phase::Recoveries => "roles are killed",
        Phase::Spike => "spike",
        Phase::Finale => "back and again",
        Phase::ByHand => "by hand",
    }
}
