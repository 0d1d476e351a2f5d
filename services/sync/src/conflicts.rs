//! Conflicts: events of a service that came after the monolith had taken over without it.
//!
//! They stand in the monolith's database, written by reverse in the transaction that moves its position behind
//! them. A person decides: replayed, an event's rows are written as a write of the monolith's own, under its
//! gate and only while the monolith owns the bucket, so that they reach the service like any other; discarded,
//! nothing happens. Either way the row stays, with who, when and why.

use crate::own::CONFLICT;
use banyan_core::protocol::target::OutboxEvent;

/// The statement that keeps an event.
pub fn insert(capability: &str, event: &OutboxEvent, incarnation: &str) -> String {
    let text = serde_json::to_string(event).unwrap_or_default();
    let bucket = event.bucket.map_or_else(|| "0".into(), |bucket| bucket.to_string());
    format!(
        "INSERT INTO {} (capability, incarnation, position, bucket, event, queued_at)
         VALUES ('{capability}', '{incarnation}', {}, {bucket}, {}, UTC_TIMESTAMP(3))",
        CONFLICT.name,
        event.position,
        crate::literal::quote(&text)
    )
}
