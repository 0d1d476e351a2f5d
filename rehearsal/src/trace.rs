//! `rehearsal trace`: one click of a customer, followed from the browser to the mail.
//!
//! Two clicks on real servers, each role of Banyan a process of its own: a payment, whose notification the
//! monolith inserts and the service mails; and a reminder, which the service makes itself. Their spans are
//! collected here and printed as trees, which must be exactly those of [`CLICKS`].

mod collector;
mod figures;
mod tree;

use anyhow::{Context as _, bail};
use banyan_core::protocol::monolith::OfCapability;
use banyan_runtime::clock;
use banyan_runtime::trace::SpanContext;
use mysql_async::prelude::Queryable as _;
use std::time::Duration;

use crate::audit::read;
use crate::control::{CAPABILITY, Operator, POLL};
use crate::installation::{Layout, Shape};
use crate::load::journey::Step;
use crate::load::{Load, LoadOptions};
use crate::options::TraceOptions;
use crate::progress::Progress;
use crate::rehearse;
use crate::system::System;
use collector::Collector;
use tree::Tree;

/// How long copying, and the move of all buckets, may take.
const MOVE_MAX: Duration = Duration::from_secs(120);
/// How long the last span of a click may take to arrive.
const SPANS_MAX: Duration = Duration::from_secs(90);

/// Bounds that a busy machine does not reach: what is repeated adds spans.
const PATIENT: &str = "\
log = 'json'
[control]
lease_ms = 8000
[gateway]
identity_timeout_ms = 30000
service_timeout_ms = 60000
[notify]
mail_timeout_ms = 60000
";
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(40);

/// A click and the tree that must come of it: `service name`, and what tells siblings apart.
struct Click {
    what: &'static str,
    step: Step,
    tree: &'static str,
}

const CLICKS: [Click; 2] = [
    Click {
        what: "a payment: the monolith notes the trace in a row, the service mails it",
        step: Step::PayForm,
        tree: "\
browser POST /payments
  gateway POST payments
    gateway POST monolith
      sync apply
        notify import
          notify mail sent
          sync reverse mail.claimed
          sync reverse mail.settled
",
    },
    Click {
        what: "a reminder: the service's own write",
        step: Step::RemindForm,
        tree: "\
browser POST /notifications/reminders
  gateway POST notifications
    auth POST /v1/identity
    gateway POST notifications
      notify POST /notifications/reminders
        notify mail sent
        sync reverse mail.claimed
        sync reverse mail.settled
        sync reverse notification.reminded
",
    },
];

/// Follows both clicks; whether each came to its tree.
///
/// # Errors
/// A server cannot be started, or a request fails.
pub async fn run(options: &TraceOptions) -> anyhow::Result<bool> {
    let progress = Progress::new();
    let collector = Collector::start().await?;
    let run = options.run();
    let mut system = System::start(&run, &progress).await?;
    let customers = LoadOptions { rate: run.rate, browsers: 1, users: run.users, seed: run.seed };
    let mut load = rehearse::customers(&system, customers, ANSWER_MAX)?;
    load.log_in(|_| ()).await?;
    let operator = start_banyan(&mut system, &collector).await?;
    load.turn_to(&system.banyan().context("Banyan was started")?.url());
    progress.doing("moving all buckets to the service");
    operator.move_to(100.0, true, MOVE_MAX).await?;
    progress.finish();
    // Keys that the service fetches once are no part of a click's tree.
    load.act(Step::List, SpanContext::root(false)).await?;
    let mut passed = true;
    let mut trees = Vec::new();
    for click in &CLICKS {
        let (tree, whole) = follow(&mut load, &collector, click).await?;
        println!("\n{}\n{}", click.what, tree.print());
        println!("log lines with its id: {}", figures::log_lines(&system, &tree.trace_id)?);
        if !whole {
            println!("the tree should be:\n{}but is:\n{}", click.tree, tree.shape());
        }
        passed &= whole;
        trees.push(tree);
    }
    if let Some(file) = &options.json {
        let spans: Vec<_> = trees.iter().map(Tree::spans).collect();
        std::fs::write(file, serde_json::to_string_pretty(&spans)? + "\n")?;
    }
    if let Some(file) = &options.metrics {
        let scrapes = figures::scrape(&system).await?;
        std::fs::write(file, scrapes).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(passed)
}

/// Starts Banyan with the collector, and waits until all rows are copied.
async fn start_banyan(system: &mut System, collector: &Collector) -> anyhow::Result<Operator> {
    // The first customer wants mails, and none that are left from before count against the day's bound.
    system.stop_scheduler();
    let mut database = read::connect(&system.root_url()).await?;
    database
        .query_drop(
            "INSERT INTO notification_preferences (user_id, email_enabled, max_per_day, created_at, updated_at)
             VALUES (1, 1, 1000, NOW(), NOW()) ON DUPLICATE KEY UPDATE email_enabled = 1, max_per_day = 1000",
        )
        .await?;
    database.disconnect().await?;
    let changes = format!("{PATIENT}[telemetry]\notlp_endpoint = '{}'", collector.url()).parse()?;
    let installation = system.start_banyan(&Shape { layout: Layout::Apart, changes, armed: None }).await?;
    let operator = installation.operator().clone();
    let of = OfCapability { capability: CAPABILITY.into() };
    let _: serde_json::Value = operator.sync.post("/v1/fence/install", &of).await?;
    let start = clock::instant();
    while !operator.sync_status().await.is_ok_and(|s| s.copied && s.forward_live && s.fence_installed) {
        if start.elapsed() > MOVE_MAX {
            bail!("the rows are not copied within {} s", MOVE_MAX.as_secs());
        }
        tokio::time::sleep(POLL).await;
    }
    Ok(operator)
}

/// Clicks, and waits for the spans; whether they are all there.
async fn follow(load: &mut Load, collector: &Collector, click: &Click) -> anyhow::Result<(Tree, bool)> {
    let root = SpanContext::root(true);
    let begun_ns = clock::unix_ns();
    load.act(click.step, root).await?;
    let browser = tree::browser(root, click.step.name(), (begun_ns, clock::unix_ns()));
    let start = clock::instant();
    loop {
        let spans = collector.spans(&root.trace_id());
        let tree = Tree::of(browser.clone(), spans);
        let whole = tree.shape() == click.tree;
        if whole || start.elapsed() > SPANS_MAX {
            return Ok((tree, whole));
        }
        tokio::time::sleep(POLL).await;
    }
}
