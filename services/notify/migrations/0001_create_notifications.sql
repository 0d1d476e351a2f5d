-- The monolith's rows, column by column; DATETIME columns hold local time as text.
CREATE TABLE notifications (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT,
    data TEXT,
    priority INTEGER NOT NULL,
    is_read INTEGER NOT NULL,
    read_at TEXT,
    mail_state TEXT NOT NULL,
    mailed_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    deleted_at TEXT
);
CREATE INDEX notifications_of_user ON notifications (user_id, id) WHERE deleted_at IS NULL;
CREATE INDEX notifications_unread ON notifications (user_id, id) WHERE deleted_at IS NULL AND is_read = 0;
CREATE INDEX notifications_pending ON notifications (id) WHERE mail_state = 'pending' AND deleted_at IS NULL;
CREATE INDEX notifications_mailed ON notifications (user_id, mailed_at) WHERE mail_state = 'sent';

CREATE TABLE notification_preferences (
    user_id INTEGER PRIMARY KEY,
    email_enabled INTEGER NOT NULL,
    sms_enabled INTEGER NOT NULL,
    digest TEXT NOT NULL,
    salutation TEXT,
    max_per_day INTEGER NOT NULL,
    quiet_hours TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);

CREATE TABLE notification_activity (
    id INTEGER PRIMARY KEY,
    user_id INTEGER NOT NULL,
    notification_id INTEGER,
    action TEXT NOT NULL,
    client_ref TEXT,
    created_at TEXT NOT NULL
);

-- A copy of the monolith's users, as far as mails need it; never written here.
CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    deleted_at TEXT
);
