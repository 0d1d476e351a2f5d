//! What users may send, from fields to valid values (`App\Traits\NotificationInput` of the monolith).

use super::rules::{Errors, Field, Fields, Rule, check, integer};
use crate::domain::{Action, Digest, Flag, PreferencesChange};
use serde_json::{Value, json};

/// The client's own reference of a write.
const CLIENT_REF: Field = Field { name: "client_ref", nullable: true, rules: &[Rule::Text, Rule::Max(80)] };

const REMINDER: [Field; 3] = [
    Field { name: "title", nullable: false, rules: &[Rule::Required, Rule::Text, Rule::Max(160)] },
    Field { name: "body", nullable: true, rules: &[Rule::Text, Rule::Max(2000)] },
    CLIENT_REF,
];

const TIME: &[Rule] = &[Rule::RequiredWith("quiet_hours"), Rule::TimeOfDay];

const PREFERENCES: [Field; 9] = [
    Field { name: "email_enabled", nullable: false, rules: &[Rule::Boolean] },
    Field { name: "sms_enabled", nullable: false, rules: &[Rule::Boolean] },
    Field { name: "digest", nullable: false, rules: &[Rule::In(&["none", "daily", "weekly"])] },
    Field { name: "salutation", nullable: true, rules: &[Rule::Text, Rule::Max(60), Rule::Latin1] },
    Field { name: "max_per_day", nullable: false, rules: &[Rule::Integer, Rule::Min(0), Rule::Max(1000)] },
    Field { name: "quiet_hours", nullable: true, rules: &[Rule::Array] },
    Field { name: "quiet_hours.from", nullable: false, rules: TIME },
    Field { name: "quiet_hours.to", nullable: false, rules: TIME },
    CLIENT_REF,
];

/// An action and the client's reference of it.
pub type Wanted = (Action, Option<String>);

/// An action that takes no fields but the client's reference.
///
/// # Errors
/// The messages, by field.
pub fn plain(fields: &Fields, action: Action) -> Result<Wanted, Errors> {
    valid(&[CLIENT_REF], fields)?;
    Ok((action, text(fields, "client_ref")))
}

/// A reminder.
///
/// # Errors
/// The messages, by field.
pub fn reminder(fields: &Fields) -> Result<Wanted, Errors> {
    valid(&REMINDER, fields)?;
    let action =
        Action::Remind { title: text(fields, "title").unwrap_or_default(), body: text(fields, "body") };
    Ok((action, text(fields, "client_ref")))
}

/// Preferences, only those that are named.
///
/// # Errors
/// The messages, by field.
pub fn preferences(fields: &Fields) -> Result<Wanted, Errors> {
    let mut fields = fields.clone();
    // The form sends both times, empty where there are no quiet hours.
    if let Some(hours) = fields.get_mut("quiet_hours")
        && is_hollow(hours)
    {
        *hours = Value::Null;
    }
    valid(&PREFERENCES, &fields)?;
    let number = |name: &str| fields.get(name).and_then(integer);
    let flag = |name: &str| fields.get(name).map(|value| if truthy(value) { Flag::YES } else { Flag::NO });
    let change = PreferencesChange {
        email_enabled: flag("email_enabled"),
        sms_enabled: flag("sms_enabled"),
        digest: text(&fields, "digest").and_then(|label| Digest::from_label(&label)),
        salutation: fields.contains_key("salutation").then(|| text(&fields, "salutation")),
        max_per_day: number("max_per_day").and_then(|number| u64::try_from(number).ok()),
        quiet_hours: fields.get("quiet_hours").map(quiet_hours),
    };
    Ok((Action::SetPreferences(change), text(&fields, "client_ref")))
}

fn valid(rules: &[Field], fields: &Fields) -> Result<(), Errors> {
    let errors = check(rules, fields);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn text(fields: &Fields, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(Into::into)
}

/// An array or object without any member that PHP takes for true.
fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.iter().any(truthy),
        Value::Object(members) => !members.values().any(truthy),
        _ => false,
    }
}

/// PHP's cast to a boolean.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty() && text != "0",
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
    }
}

/// As the monolith stores it: `from` first.
fn quiet_hours(value: &Value) -> Option<String> {
    let hours = value.as_object()?;
    Some(format!("{{\"from\":{},\"to\":{}}}", json!(hours.get("from")), json!(hours.get("to"))))
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
