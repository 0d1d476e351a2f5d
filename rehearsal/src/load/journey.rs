//! What customers do: short journeys, each a few steps that belong together, drawn by weight.
//!
//! One step is one request. About a quarter of the steps write; about one in eighty is a login, since a
//! password check takes the monolith 50 ms of CPU.

use rand::RngExt as _;
use rand::rngs::StdRng;

/// One request of a customer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `GET /login`
    LoginPage,
    /// `POST /login`
    Login,
    /// `POST /logout`
    Logout,
    /// `GET /register`
    RegisterPage,
    /// `POST /register`
    Register,
    /// `GET /home`
    Dashboard,
    /// `GET /notifications`
    NotificationsPage,
    /// `GET /notifications/preferences`
    PreferencesPage,
    /// `GET /history`
    HistoryPage,
    /// `GET /payments`
    PaymentsPage,
    /// `GET /payments/new`
    PaymentForm,
    /// `GET /unsubscribe`
    UnsubscribePage,
    /// `GET /api/notifications`
    List,
    /// `GET /api/notifications?unread=1`
    ListUnread,
    /// `GET /api/notifications/unread-count`
    UnreadCount,
    /// `GET /api/notification-preferences`
    ShowPreferences,
    /// `GET /api/history`
    ListHistory,
    /// `GET /api/payments`
    ListPayments,
    /// `POST /api/notifications/{id}/read`
    Read,
    /// `POST /notifications/{id}/read`
    ReadForm,
    /// `POST /api/notifications/read-all`
    ReadAll,
    /// `POST /notifications/read-all`
    ReadAllForm,
    /// `DELETE /api/notifications/{id}`
    Delete,
    /// `POST /notifications/{id}/delete`
    DeleteForm,
    /// `PUT /api/notification-preferences`
    SetPreferences,
    /// `POST /notifications/preferences`
    SetPreferencesForm,
    /// `POST /api/notifications`
    Remind,
    /// `POST /notifications/reminders`
    RemindForm,
    /// `POST /unsubscribe`
    Unsubscribe,
    /// `POST /api/payments`
    Pay,
    /// `POST /payments`
    PayForm,
}

impl Step {
    /// Method and path, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::LoginPage => "GET /login",
            Self::Login => "POST /login",
            Self::Logout => "POST /logout",
            Self::RegisterPage => "GET /register",
            Self::Register => "POST /register",
            Self::Dashboard => "GET /home",
            Self::NotificationsPage => "GET /notifications",
            Self::PreferencesPage => "GET /notifications/preferences",
            Self::HistoryPage => "GET /history",
            Self::PaymentsPage => "GET /payments",
            Self::PaymentForm => "GET /payments/new",
            Self::UnsubscribePage => "GET /unsubscribe",
            Self::List => "GET /api/notifications",
            Self::ListUnread => "GET /api/notifications?unread=1",
            Self::UnreadCount => "GET /api/notifications/unread-count",
            Self::ShowPreferences => "GET /api/notification-preferences",
            Self::ListHistory => "GET /api/history",
            Self::ListPayments => "GET /api/payments",
            Self::Read => "POST /api/notifications/{id}/read",
            Self::ReadForm => "POST /notifications/{id}/read",
            Self::ReadAll => "POST /api/notifications/read-all",
            Self::ReadAllForm => "POST /notifications/read-all",
            Self::Delete => "DELETE /api/notifications/{id}",
            Self::DeleteForm => "POST /notifications/{id}/delete",
            Self::SetPreferences => "PUT /api/notification-preferences",
            Self::SetPreferencesForm => "POST /notifications/preferences",
            Self::Remind => "POST /api/notifications",
            Self::RemindForm => "POST /notifications/reminders",
            Self::Unsubscribe => "POST /unsubscribe",
            Self::Pay => "POST /api/payments",
            Self::PayForm => "POST /payments",
        }
    }

    /// Whether the step asks the payment provider for money.
    pub fn pays(self) -> bool {
        matches!(self, Self::Pay | Self::PayForm)
    }

    /// Whether the step leaves something behind that the audit looks for.
    #[cfg(test)]
    pub fn writes(self) -> bool {
        !self.name().starts_with("GET") && !matches!(self, Self::Login | Self::Logout)
    }
}

/// What a customer without a session does first.
pub const LOGIN: &[Step] = &[Step::LoginPage, Step::Login, Step::Dashboard];

/// Journeys of a customer with a session, and how often each is chosen.
const JOURNEYS: &[(u32, &[Step])] = &[
    (18, &[Step::Dashboard, Step::UnreadCount]),
    (14, &[Step::List, Step::Read, Step::UnreadCount]),
    (4, &[Step::ListUnread, Step::Read, Step::Read, Step::ListUnread]),
    (8, &[Step::NotificationsPage, Step::ReadForm, Step::NotificationsPage]),
    (3, &[Step::List, Step::ReadAll, Step::UnreadCount]),
    (2, &[Step::NotificationsPage, Step::ReadAllForm, Step::NotificationsPage]),
    (4, &[Step::List, Step::Delete, Step::List]),
    (2, &[Step::NotificationsPage, Step::DeleteForm, Step::NotificationsPage]),
    (5, &[Step::ShowPreferences, Step::SetPreferences, Step::ShowPreferences]),
    (3, &[Step::PreferencesPage, Step::SetPreferencesForm, Step::PreferencesPage]),
    (5, &[Step::Remind, Step::List]),
    (3, &[Step::NotificationsPage, Step::RemindForm, Step::NotificationsPage]),
    (5, &[Step::PaymentForm, Step::PayForm, Step::PaymentsPage]),
    (6, &[Step::Pay, Step::ListPayments]),
    (8, &[Step::HistoryPage, Step::ListHistory]),
    (2, &[Step::UnsubscribePage, Step::Unsubscribe]),
    (3, &[Step::Dashboard, Step::Logout, Step::LoginPage, Step::Login, Step::Dashboard]),
    (1, &[Step::Dashboard, Step::Logout, Step::RegisterPage, Step::Register, Step::Dashboard]),
];

/// Draws the next journey.
pub fn draw(chance: &mut StdRng) -> &'static [Step] {
    let all: u32 = JOURNEYS.iter().map(|(weight, _)| weight).sum();
    let mut ticket = chance.random_range(0..all);
    for (weight, steps) in JOURNEYS {
        match ticket.checked_sub(*weight) {
            Some(rest) => ticket = rest,
            None => return steps,
        }
    }
    unreachable!("a ticket below the sum of the weights falls to one of them")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    #[test]
    fn the_mix_has_enough_writes_and_few_password_checks() {
        let mut chance = StdRng::seed_from_u64(1);
        let steps: Vec<Step> = (0..20_000).flat_map(|_| draw(&mut chance).iter().copied()).collect();
        let share = |wanted: fn(Step) -> bool| {
            steps.iter().filter(|s| wanted(**s)).count() as f64 / steps.len() as f64
        };
        let writes = share(Step::writes);
        assert!((0.20..0.30).contains(&writes), "{writes}");
        let passwords = share(|s| matches!(s, Step::Login | Step::Register));
        assert!(passwords * 50.0 < 2.0, "{passwords}");
        assert!(share(|s| matches!(s, Step::Pay | Step::PayForm)) > 0.03);
    }
}
