//! Verification finds what was planted and nothing else.

use crate::world::{World, until};
use banyan_core::protocol::monolith::VerifyReport;
use mysql_async::prelude::Queryable as _;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[tokio::test]
async fn planted_differences_are_found_and_described_while_rows_keep_changing() {
    let Some(world) = World::start().await else { return };
    world.sql("INSERT INTO notifications (user_id, title) SELECT seq, 'n' FROM seq_1_to_2500").await;
    world.carried().await;
    {
        let mut memory = world.peer.memory();
        let rows = memory.tables.get_mut("notifications").unwrap();
        rows.get_mut(&7).unwrap().insert("title".into(), json!("planted"));
        rows.remove(&1000);
        // What notes a trace is the monolith's alone.
        rows.get_mut(&9).unwrap().remove("trace");
        let extra = rows[&8]
            .clone()
            .into_iter()
            .map(|(k, v)| if k == "id" { (k, json!(9_000_000)) } else { (k, v) })
            .collect();
        rows.insert(9_000_000, extra);
    }
    let done = AtomicBool::new(false);
    let mut monolith = world.connect().await;
    let writer = async {
        let mut n = 0;
        while !done.load(Ordering::Relaxed) {
            n += 1;
            let sql = format!("UPDATE notifications SET body = 'b{n}' WHERE id BETWEEN 2000 AND 2100");
            monolith.query_drop(sql).await.unwrap();
            // Slower than the stream, or verification waits for a stream that never catches up.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let verify = async {
        let report: VerifyReport = world.sync.post("/v1/verify", &world.of()).await.unwrap();
        done.store(true, Ordering::Relaxed);
        report
    };
    let (report, ()) = tokio::join!(verify, writer);
    assert_eq!((report.rows_compared, report.mismatches), (2501, 3), "{:?}", report.samples);
    let wanted = [
        "`notifications` id 7: title is \"n\" at the monolith, \"planted\" at the service",
        "`notifications` id 1000: only at the monolith",
        "`notifications` id 9000000: only at the service",
    ];
    assert_eq!(report.samples, wanted);
    until("the status tells the newest", async || world.status().await.verified.as_ref() == Some(&report))
        .await;
    world.stop().await;
}
