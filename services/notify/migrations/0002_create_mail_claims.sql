-- Notifications whose mail this service, and not the monolith, is sending.
CREATE TABLE mail_claims (
    notification_id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL
);
