//! A batch is worth what its commands are worth one by one.

use crate::accounts::{Bank, Command, Outcome, bucket, claimed, close, keyed, open, seed, transfer};
use banyan_core::OwnerEpoch;
use banyan_store::{Claim, Fault, Refusal};
use proptest::prelude::*;
use std::collections::BTreeMap;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[derive(Clone, Debug)]
struct Wish {
    from: i64,
    to: i64,
    amount: i64,
    key: Option<u8>,
}

impl Wish {
    fn command(&self) -> Command {
        match self.key {
            Some(key) => keyed(self.from, self.to, self.amount, &key.to_string()),
            None => transfer(self.from, self.to, self.amount),
        }
    }
}

fn wish() -> impl Strategy<Value = Wish> {
    (1..5i64, 5..8i64, 0..90i64, proptest::option::weighted(0.4, 0..3u8))
        .prop_map(|(from, to, amount, key)| Wish { from, to, amount, key })
}

/// What should come of the wishes, without a database.
fn model(wishes: &[Wish]) -> (BTreeMap<i64, i64>, Vec<Result<i64, &'static str>>) {
    let mut balances: BTreeMap<i64, i64> = BTreeMap::new();
    let mut answers: BTreeMap<u8, (String, Result<i64, &str>)> = BTreeMap::new();
    let mut outcomes = Vec::new();
    for wish in wishes {
        let fingerprint = format!("{} {} {}", wish.from, wish.to, wish.amount);
        if let Some((first, outcome)) = wish.key.and_then(|key| answers.get(&key)) {
            outcomes.push(if *first == fingerprint { *outcome } else { Err("reused") });
            continue;
        }
        let balance = |id: &i64| balances.get(id).copied().unwrap_or(100);
        let (from, to) = (balance(&wish.from) - wish.amount, balance(&wish.to) + wish.amount);
        let outcome = if from < 0 {
            Err("rejected")
        } else {
            balances.extend([(wish.from, from), (wish.to, to)]);
            Ok(from + to)
        };
        if let Some(key) = wish.key {
            answers.insert(key, (fingerprint, outcome));
        }
        outcomes.push(outcome);
    }
    (balances, outcomes)
}

fn told(outcomes: &[Outcome]) -> Vec<Result<i64, &'static str>> {
    let told = |outcome: &Outcome| match outcome {
        Ok((sum, _)) => Ok(*sum),
        Err(Refusal::Rejected(_)) => Err("rejected"),
        Err(Refusal::KeyReused) => Err("reused"),
        Err(_) => Err("fault"),
    };
    outcomes.iter().map(told).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_batch_is_worth_its_commands_one_by_one(wishes in proptest::collection::vec(wish(), 1..30)) {
        runtime().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let commands = || wishes.iter().map(Wish::command).collect();
            let batched = Bank::open(&folder.path().join("batched"));
            let alone = Bank::open(&folder.path().join("alone"));
            let one = batched.together(commands()).await;
            let other = alone.one_by_one(commands()).await;
            let (balances, outcomes) = model(&wishes);
            assert_eq!(told(&one), outcomes);
            assert_eq!(one, other, "answers and positions");
            assert_eq!((batched.balances(), alone.balances()), (balances.clone(), balances));
            assert_eq!(batched.events(), alone.events());
            assert!(batched.batches.lock().unwrap().contains(&wishes.len()), "it was no batch");
        });
    }
}

#[tokio::test]
async fn a_poison_command_harms_only_itself() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Bank::open(folder.path());
    let outcomes = bank.together(vec![transfer(1, 2, 10), open(1, 1), seed(3), transfer(2, 1, 5)]).await;
    assert!(matches!(&outcomes[2], Err(Refusal::Fault(Fault::Data(_)))), "{:?}", outcomes[2]);
    assert_eq!((outcomes[0].clone(), outcomes[3].clone()), (Ok((200, 2)), Ok((200, 4))));
    assert_eq!(bank.balances(), [(1, 95), (2, 105)].into());
    assert!(bank.shell.execute(claimed(Claim::Open(bucket()))).await.is_ok(), "the opening stands");
}

#[tokio::test]
async fn a_write_needs_the_bucket_open_in_its_owner_epoch_and_a_lease() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Bank::open(folder.path());
    let routed = |epoch| claimed(Claim::Routed(bucket(), OwnerEpoch(epoch)));
    let refused = Err(Refusal::NotOwner(bucket()));
    let outcomes = bank
        .together(vec![
            routed(7),
            open(1, 7),
            routed(7),
            routed(6),
            close(2, 8),
            routed(7),
            open(1, 9),
            open(3, 7),
            routed(9),
        ])
        .await;
    let (before, wrong, after) = (&outcomes[0], &outcomes[3], &outcomes[5]);
    assert_eq!([before, wrong, after], [&refused; 3]);
    assert!(outcomes[2].is_ok() && outcomes[4].is_ok() && outcomes[8].is_ok(), "{outcomes:?}");
    assert_eq!(bank.events()[2].1, "", "the mark stands behind the write before it: {:?}", bank.events());
    bank.lease.end();
    for claim in [Claim::Routed(bucket(), OwnerEpoch(9)), Claim::Open(bucket())] {
        assert_eq!(bank.shell.execute(claimed(claim)).await, Err(Refusal::NoLease));
    }
    assert!(bank.shell.execute(transfer(1, 2, 1)).await.is_ok(), "what is not owned needs no lease");
}

#[tokio::test]
async fn a_replay_is_answered_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Bank::open(folder.path());
    let first = bank.shell.execute(keyed(1, 2, 30, "k")).await;
    let rejected = bank.shell.execute(keyed(1, 2, 90, "poor")).await;
    assert!(first.is_ok() && matches!(rejected, Err(Refusal::Rejected(_))));
    bank.shell.execute(transfer(2, 1, 20)).await.unwrap();
    let Bank { shell, database, tasks, batches, lease } = bank;
    drop((shell, database, batches, lease));
    tasks.stop(std::time::Duration::from_secs(5)).await;

    let bank = reopened(folder.path()).await;
    assert_eq!(bank.shell.execute(keyed(1, 2, 30, "k")).await, first);
    assert_eq!(bank.shell.execute(keyed(1, 2, 90, "poor")).await, rejected, "a rejection is an outcome too");
    assert_eq!(bank.shell.execute(keyed(1, 2, 31, "k")).await, Err(Refusal::KeyReused));
    assert_eq!(bank.balances(), [(1, 90), (2, 110)].into());
}

/// The writer thread lets go of the file when it has seen that the last shell is gone.
async fn reopened(folder: &std::path::Path) -> Bank {
    let path = folder.join("bank.db.lock");
    let free = || std::fs::File::open(&path).unwrap().try_lock().is_ok();
    let deadline = banyan_runtime::clock::Boot::now().plus(std::time::Duration::from_secs(10));
    while !free() {
        assert!(banyan_runtime::clock::Boot::now() < deadline, "the file stays locked");
        tokio::task::yield_now().await;
    }
    Bank::open(folder)
}

#[tokio::test]
async fn a_queue_that_is_full_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let bank = Bank::open(folder.path());
    let outcomes = bank.together((0..1100).map(|_| transfer(1, 2, 0)).collect()).await;
    let busy = outcomes.iter().filter(|o| **o == Err(Refusal::Fault(Fault::Busy))).count();
    assert_eq!((busy, outcomes.iter().filter(|o| o.is_ok()).count()), (100, 1000));
}
