//! Mails under way: which notification is taken up next, and what the closing of buckets waits for.
//!
//! Nothing is taken up in buckets that are being closed. A mail that is still being sent when the wait is
//! over is broken off; the close itself then records it as failed.

use banyan_core::{Bucket, BucketSet};
use banyan_runtime::clock::Boot;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The mails under way. Clones share them.
#[derive(Clone, Default)]
pub struct Mails(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Woken when a mail has ended, or buckets are no longer held.
    ended: Notify,
}

#[derive(Default)]
struct State {
    flights: HashMap<u64, Flight>,
    /// Buckets that are being closed, by number of the hold.
    held: BTreeMap<u64, BucketSet>,
    next_hold: u64,
    /// Until when a notification is let alone.
    put_off: HashMap<u64, Boot>,
    tries: HashMap<u64, u32>,
    /// Until when the server is let alone, and after how many failures.
    paused: Option<Boot>,
    failures: u32,
}

struct Flight {
    user: u64,
    bucket: Bucket,
    break_off: Option<oneshot::Sender<()>>,
}

impl Mails {
    /// No mails.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes up the first of the candidates (notification, user) that may be: not under way, not put off,
    /// no other mail of the user under way, the bucket not held. The receiver resolves when it is broken
    /// off.
    pub fn take_up(&self, candidates: &[(u64, u64)], now: Boot) -> Option<TakenUp> {
        let mut state = self.state();
        state.put_off.retain(|_, until| *until > now);
        let (id, user) = *candidates.iter().find(|(id, user)| state.is_free(*id, *user))?;
        let (break_off, broken_off) = oneshot::channel();
        let bucket = Bucket::of(&user.to_string());
        state.flights.insert(id, Flight { user, bucket, break_off: Some(break_off) });
        Some(TakenUp { id, user, broken_off, mails: self.clone() })
    }

    /// Lets a notification alone for a while.
    pub fn put_off(&self, id: u64, until: Boot) {
        self.state().put_off.insert(id, until);
    }

    /// Counts a try of a notification; how many there have been.
    pub fn count_try(&self, id: u64) -> u32 {
        let mut state = self.state();
        let tries = state.tries.entry(id).or_default();
        *tries += 1;
        *tries
    }

    /// Forgets the tries of a notification.
    pub fn settled(&self, id: u64) {
        self.state().tries.remove(&id);
    }

    /// Lets the server alone, each time twice as long, at most `most`; for how long.
    pub fn pause(&self, now: Boot, most: Duration) -> Duration {
        const FIRST: Duration = Duration::from_millis(100);
        let mut state = self.state();
        let pause = FIRST.saturating_mul(1 << state.failures.min(16)).min(most);
        if state.paused.is_none_or(|until| until <= now) {
            state.failures += 1;
            state.paused = Some(now.plus(pause));
        }
        pause
    }

    /// The server answers.
    pub fn resume(&self) {
        let mut state = self.state();
        (state.paused, state.failures) = (None, 0);
    }

    /// Whether the server is let alone.
    pub fn is_paused(&self, now: Boot) -> bool {
        self.state().paused.is_some_and(|until| until > now)
    }

    /// When what was put off, or the server, may be tried again.
    pub fn next_try(&self) -> Option<Boot> {
        let state = self.state();
        state.put_off.values().copied().chain(state.paused).min()
    }

    /// Holds buckets: nothing is taken up in them until the value is dropped. Waits for what is under way,
    /// at most `wait`, then breaks it off.
    pub async fn hold(&self, buckets: &BucketSet, wait: Duration) -> Held {
        let number = {
            let mut state = self.state();
            state.next_hold += 1;
            let number = state.next_hold;
            state.held.insert(number, buckets.clone());
            number
        };
        let held = Held { number, mails: self.clone() };
        let landed = async {
            loop {
                let ended = self.0.ended.notified();
                tokio::pin!(ended);
                // Registered before the look, so that no end is missed.
                ended.as_mut().enable();
                if !self.state().is_flying(buckets) {
                    return;
                }
                ended.await;
            }
        };
        if tokio::time::timeout(wait, landed).await.is_err() {
            self.state().break_off(buckets);
        }
        held
    }

    /// Resolves when a mail has ended or buckets are no longer held.
    pub async fn ended(&self) {
        self.0.ended.notified().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn is_free(&self, id: u64, user: u64) -> bool {
        let bucket = Bucket::of(&user.to_string());
        !self.put_off.contains_key(&id)
            && !self.held.values().any(|held| held.contains(bucket))
            && !self.flights.iter().any(|(flying, flight)| *flying == id || flight.user == user)
    }

    fn is_flying(&self, buckets: &BucketSet) -> bool {
        self.flights.values().any(|flight| buckets.contains(flight.bucket))
    }

    fn break_off(&mut self, buckets: &BucketSet) {
        for (id, flight) in &mut self.flights {
            if buckets.contains(flight.bucket)
                && let Some(break_off) = flight.break_off.take()
            {
                tracing::warn!(notification = id, "a mail is broken off: its bucket leaves");
                // A sender that has just ended does not need to know.
                let _ = break_off.send(());
            }
        }
    }
}

/// A mail that is taken up; ends when it is dropped.
pub struct TakenUp {
    /// The notification.
    pub id: u64,
    /// Whose it is.
    pub user: u64,
    /// Resolves with `Ok` when the mail is broken off.
    pub broken_off: oneshot::Receiver<()>,
    mails: Mails,
}

impl Drop for TakenUp {
    fn drop(&mut self) {
        self.mails.state().flights.remove(&self.id);
        self.mails.0.ended.notify_waiters();
    }
}

/// Buckets in which nothing is taken up.
pub struct Held {
    number: u64,
    mails: Mails,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.mails.state().held.remove(&self.number);
        self.mails.0.ended.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    fn all() -> BucketSet {
        BucketSet::all()
    }

    #[tokio::test]
    async fn one_mail_of_a_user_is_under_way_at_a_time() {
        let (mails, now) = (Mails::new(), Boot::from_ms(1000));
        let candidates = [(1, 10), (2, 10), (3, 30)];
        let first = mails.take_up(&candidates, now).unwrap();
        let third = mails.take_up(&candidates, now).unwrap();
        assert_eq!((first.id, third.id), (1, 3));
        assert!(mails.take_up(&candidates, now).is_none());
        drop(first);
        mails.put_off(1, now.plus(LONG));
        let second = mails.take_up(&candidates, now).unwrap();
        assert_eq!(second.id, 2);
        drop(second);
        assert_eq!(mails.take_up(&candidates, now.plus(LONG)).unwrap().id, 1);
    }

    #[tokio::test]
    async fn a_hold_waits_for_what_is_under_way_and_lets_nothing_new_begin() {
        let (mails, now) = (Mails::new(), Boot::from_ms(1000));
        let flight = mails.take_up(&[(1, 10)], now).unwrap();
        let other: BucketSet = [Bucket::of("11")].into_iter().collect();
        drop(mails.hold(&other, LONG).await);
        let buckets = all();
        let hold = mails.hold(&buckets, LONG);
        tokio::pin!(hold);
        assert!(tokio::time::timeout(Duration::ZERO, &mut hold).await.is_err());
        assert!(mails.take_up(&[(2, 20)], now).is_none(), "held before it is reached");
        drop(flight);
        let held = hold.await;
        assert!(mails.take_up(&[(2, 20)], now).is_none());
        drop(held);
        assert!(mails.take_up(&[(2, 20)], now).is_some());
    }

    #[tokio::test]
    async fn what_takes_too_long_is_broken_off() {
        let mails = Mails::new();
        let mut flight = mails.take_up(&[(1, 10)], Boot::from_ms(0)).unwrap();
        let _held = mails.hold(&all(), Duration::ZERO).await;
        assert_eq!((&mut flight.broken_off).await, Ok(()));
    }

    #[test]
    fn a_server_that_fails_is_let_alone_longer_and_longer() {
        let (mails, most) = (Mails::new(), Duration::from_millis(1000));
        let mut now = Boot::from_ms(0);
        for wanted in [100, 200, 400, 800, 1000, 1000] {
            let pause = mails.pause(now, most);
            assert_eq!(pause.as_millis(), wanted);
            assert!(mails.is_paused(now) && mails.next_try() == Some(now.plus(pause)));
            // Others that fail meanwhile do not make it longer.
            mails.pause(now, most);
            now = now.plus(pause);
            assert!(!mails.is_paused(now));
        }
        mails.resume();
        assert_eq!(mails.pause(now, most).as_millis(), 100);
    }
}
