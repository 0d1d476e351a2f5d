//! The working set: the rows that a batch touches. [`State::apply`] is the only way in which an event
//! changes it.

use super::event::{Event, EventKind, Record};
use super::rows::{Activity, MailState, Notification, Preferences, User};
use banyan_store::blocks::Blocks;
use banyan_store::import::Stream;
use banyan_store::letters::Letters;
use banyan_store::working::{Single, Table, Working};

/// The rows of a batch.
#[derive(Debug, Default)]
pub struct State {
    /// By id.
    pub notifications: Table<u64, Notification>,
    /// By user.
    pub preferences: Table<u64, Preferences>,
    /// By id.
    pub activity: Table<u64, Activity>,
    /// By id.
    pub users: Table<u64, User>,
    /// Users by notification whose mail is being sent here; all of them, where a batch touches any.
    pub claims: Table<u64, u64>,
    /// The traces of notifications whose mail is awaited; looked up where a mail is claimed or recorded.
    pub traces: Table<u64, String>,
    /// Mails sent today, by user.
    pub sent_today: Table<u64, u64>,
    /// Unused ids.
    pub blocks: Blocks,
    /// The monolith's stream; loaded where a batch imports or buckets are opened.
    pub stream: Option<Stream>,
    /// Dead letters.
    pub letters: Letters,
    /// Whether buckets were opened, which makes their pending mails due.
    pub opened: Single<bool>,
}

impl State {
    /// Takes an event over.
    pub fn apply(&mut self, event: &Event) {
        for row in &event.rows {
            if let Record::Notification(row) = row {
                self.follow_mail(event.kind, row);
            }
            self.put(row.clone());
        }
    }

    /// Writes a row as it stands.
    pub fn put(&mut self, record: Record) {
        match record {
            Record::Notification(row) => self.notifications.put(row.id, row),
            Record::Preferences(row) => self.preferences.put(row.user_id, row),
            Record::Activity(row) => self.activity.put(row.id, row),
        }
    }

    /// Notes the trace of a notification whose mail is awaited.
    pub fn trace(&mut self, id: u64, traceparent: &str) {
        if self.notifications.is_loaded(&id)
            && self.notifications.get(&id).is_some_and(Notification::awaits_mail)
        {
            self.traces.put(id, traceparent.to_owned());
        }
    }

    /// The trace of a notification, where it has been looked up.
    pub fn trace_of(&self, id: u64) -> Option<&str> {
        if self.traces.is_loaded(&id) { self.traces.get(&id).map(String::as_str) } else { None }
    }

    /// Keeps the marker of who sends, and the count of what was sent.
    fn follow_mail(&mut self, kind: EventKind, row: &Notification) {
        // A mail that is skipped was never claimed.
        let claimed = self.claims.is_loaded(&row.id) && self.claims.get(&row.id).is_some();
        match kind {
            EventKind::MailClaimed => self.claims.put(row.id, row.user_id),
            EventKind::MailSettled if claimed => self.claims.remove(row.id),
            _ => {}
        }
        let sent_before = self.notifications.is_loaded(&row.id)
            && self.notifications.get(&row.id).is_some_and(|before| before.mail_state == MailState::Sent);
        if row.mail_state == MailState::Sent && !sent_before && self.sent_today.is_loaded(&row.user_id) {
            let sent = self.sent_today.get(&row.user_id).copied().unwrap_or_default();
            self.sent_today.put(row.user_id, sent + 1);
        }
    }
}

impl Working for State {
    fn keep(&mut self) {
        self.each(|part| part.keep());
    }

    fn undo(&mut self) {
        self.each(|part| part.undo());
    }
}

impl State {
    fn each(&mut self, run: fn(&mut dyn Working)) {
        run(&mut self.notifications);
        run(&mut self.preferences);
        run(&mut self.activity);
        run(&mut self.users);
        run(&mut self.claims);
        run(&mut self.traces);
        run(&mut self.sent_today);
        run(&mut self.blocks);
        run(&mut self.letters);
        run(&mut self.opened);
        if let Some(stream) = &mut self.stream {
            run(stream);
        }
    }
}
