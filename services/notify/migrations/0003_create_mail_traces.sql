-- The W3C trace context of what made a notification, while its mail is pending or being sent.
CREATE TABLE mail_traces (
    notification_id INTEGER PRIMARY KEY,
    traceparent TEXT NOT NULL
);
