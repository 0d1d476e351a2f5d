//! What a consumer of the outbox sees.

use crate::accounts::{Bank, transfer};
use banyan_store::Outbox;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_page_waits_for_an_event_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Bank::open(folder.path());
    let outbox = Outbox::new(bank.database.readers(2).unwrap(), bank.shell.head());
    let empty = outbox.page(0, 10, Duration::ZERO).await.unwrap();
    assert_eq!((empty.events.len(), empty.head, empty.incarnation.len()), (0, 0, 32));

    let (page, written) = tokio::join!(outbox.page(0, 10, LONG), bank.shell.execute(transfer(1, 2, 5)));
    let page = page.unwrap();
    assert_eq!((written, page.head, page.incarnation), (Ok((200, 2)), 2, empty.incarnation.clone()));
    let subjects: Vec<_> = page.events.iter().map(|e| (e.position, e.subject.as_str())).collect();
    assert_eq!(subjects, [(1, "2"), (2, "1")]);
    assert!(page.events.iter().all(|e| e.bucket == Some(banyan_core::Bucket::of(&e.subject))));

    for n in 0..5 {
        bank.shell.execute(transfer(1, 2, n)).await.unwrap();
    }
    let limited = outbox.page(2, 3, LONG).await.unwrap();
    assert_eq!(limited.events.iter().map(|e| e.position).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(limited.head, 12);
    // A position of another database does not wait for this one to come up to it.
    let beyond = outbox.page(500, 3, LONG).await.unwrap();
    assert_eq!((beyond.events.len(), beyond.head), (0, 12));
}

#[tokio::test]
async fn two_databases_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut incarnations = Vec::new();
    for name in ["a", "b"] {
        let bank = Bank::open(&folder.path().join(name));
        let outbox = Outbox::new(bank.database.readers(1).unwrap(), bank.shell.head());
        incarnations.push(outbox.page(0, 1, Duration::ZERO).await.unwrap().incarnation);
    }
    assert_ne!(incarnations[0], incarnations[1]);
}
