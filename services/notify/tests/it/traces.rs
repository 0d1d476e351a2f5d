//! A mail belongs to the trace of whatever made its notification.

use crate::world::{World, insert, notification, until};
use banyan_core::protocol::import::ImportTrace;
use serde_json::json;

const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// The traces of the events about mails.
async fn of_mails(world: &World) -> Vec<(String, Option<String>)> {
    let events = world.events(0).await.into_iter();
    events.filter(|e| e.kind.starts_with("mail.")).map(|e| (e.kind, e.traceparent)).collect()
}

/// The traces that are kept.
fn kept(world: &World) -> u64 {
    let database = rusqlite::Connection::open(world.folder.path().join("notify.db")).unwrap();
    database.query_row("SELECT COUNT(*) FROM mail_traces", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_trace_of_the_monolith_is_kept_until_the_mail_is_sent() {
    let world = World::owned().await;
    let row = |id: u64, state: &str| insert("notifications", notification(id, json!({"mail_state": state})));
    let changes = vec![row(20, "none"), row(21, "pending")];
    let trace = |traceparent: &str, changes| ImportTrace { traceparent: traceparent.into(), changes };
    let traces = vec![trace(TRACE, vec![0, 1, 7]), trace("nonsense", vec![1])];
    assert_eq!(world.import_traced(changes, traces).await.imported, 2);
    until("it is mailed", async || of_mails(&world).await.len() == 2).await;
    for (kind, traceparent) in of_mails(&world).await {
        let traceparent = traceparent.unwrap();
        assert_eq!(traceparent[..36], TRACE[..36], "{kind}");
        assert_ne!(traceparent, TRACE, "{kind}: the import is a span of its own");
    }
    assert_eq!((world.smtp.arrived().len(), kept(&world)), (1, 0));
}

#[tokio::test]
async fn a_reminders_mail_belongs_to_the_trace_of_its_request() {
    let world = World::owned().await;
    for traceparent in [Some(TRACE), None] {
        let seen = of_mails(&world).await.len();
        let ask = world.ask("POST", "/api/notifications").json(json!({ "title": "later" }));
        let ask = traceparent.into_iter().fold(ask, |ask, value| ask.header("traceparent", value));
        assert_eq!(ask.send().await.status, 201);
        until("it is mailed", async || of_mails(&world).await.len() == seen + 2).await;
        for (kind, found) in &of_mails(&world).await[seen..] {
            assert_eq!(found.as_deref(), traceparent, "{kind}");
        }
    }
    assert_eq!(kept(&world), 0);
}
