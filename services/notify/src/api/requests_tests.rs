//! The monolith's verdicts and texts, field by field.

use super::*;
use serde_json::json;

fn fields(value: Value) -> Fields {
    match value {
        Value::Object(fields) => fields,
        _ => panic!("fields are an object"),
    }
}

/// The messages as `field: message`, or what the request means.
fn check_preferences(value: Value) -> Result<PreferencesChange, Vec<String>> {
    match preferences(&fields(value)) {
        Ok((Action::SetPreferences(change), _)) => Ok(change),
        Ok(other) => panic!("{other:?}"),
        Err(errors) => Err(shown(&errors)),
    }
}

fn shown(errors: &Errors) -> Vec<String> {
    let each = errors.fields().iter();
    each.flat_map(|(field, messages)| messages.iter().map(move |m| format!("{field}: {m}"))).collect()
}

#[test]
fn a_reminder_needs_a_title_that_fits() {
    let long = |n| "ü".repeat(n);
    let table = [
        (json!({}), vec!["title: The title field is required."]),
        (json!({"title": null}), vec!["title: The title field is required."]),
        (json!({"title": []}), vec!["title: The title field is required."]),
        (json!({"title": 5}), vec!["title: The title must be a string."]),
        (json!({"title": long(160)}), vec![]),
        (json!({"title": long(161)}), vec!["title: The title must not be greater than 160 characters."]),
        (json!({"title": "a", "body": null, "client_ref": null}), vec![]),
        (json!({"title": "a", "body": false}), vec!["body: The body must be a string."]),
        (
            json!({"title": "a", "body": long(2001), "client_ref": long(81)}),
            vec![
                "body: The body must not be greater than 2000 characters.",
                "client_ref: The client ref must not be greater than 80 characters.",
            ],
        ),
    ];
    for (value, wanted) in table {
        let messages = reminder(&fields(value.clone())).err().map(|e| shown(&e)).unwrap_or_default();
        assert_eq!(messages, wanted, "{value}");
    }
}

#[test]
fn preferences_are_judged_as_laravel_judges_them() {
    let table = [
        (
            json!({"email_enabled": "yes"}),
            vec!["email_enabled: The email enabled field must be true or false."],
        ),
        (
            json!({"email_enabled": null}),
            vec!["email_enabled: The email enabled field must be true or false."],
        ),
        (json!({"sms_enabled": 2}), vec!["sms_enabled: The sms enabled field must be true or false."]),
        (json!({"digest": "hourly"}), vec!["digest: The selected digest is invalid."]),
        (json!({"digest": null}), vec!["digest: The selected digest is invalid."]),
        (
            json!({"salutation": "Łukasz"}),
            vec!["salutation: The salutation must only contain Western European characters."],
        ),
        (
            json!({"salutation": 7}),
            vec![
                "salutation: The salutation must be a string.",
                "salutation: The salutation must only contain Western European characters.",
            ],
        ),
        (json!({"max_per_day": "many"}), vec!["max_per_day: The max per day must be an integer."]),
        (json!({"max_per_day": 1.5}), vec!["max_per_day: The max per day must be an integer."]),
        (json!({"max_per_day": "007"}), vec!["max_per_day: The max per day must be an integer."]),
        (json!({"max_per_day": -1}), vec!["max_per_day: The max per day must be at least 0."]),
        (json!({"max_per_day": "1001"}), vec!["max_per_day: The max per day must not be greater than 1000."]),
        (
            json!({"quiet_hours": "22:00"}),
            vec![
                "quiet_hours: The quiet hours must be an array.",
                "quiet_hours.from: The quiet hours.from field is required when quiet hours is present.",
                "quiet_hours.to: The quiet hours.to field is required when quiet hours is present.",
            ],
        ),
        (
            json!({"quiet_hours": {"from": "9:00", "to": null}}),
            vec![
                "quiet_hours.from: The quiet hours.from does not match the format H:i.",
                "quiet_hours.to: The quiet hours.to field is required when quiet hours is present.",
            ],
        ),
        (
            json!({"quiet_hours": {"from": "24:00", "to": "23:60"}}),
            vec![
                "quiet_hours.from: The quiet hours.from does not match the format H:i.",
                "quiet_hours.to: The quiet hours.to does not match the format H:i.",
            ],
        ),
    ];
    for (value, wanted) in table {
        assert_eq!(
            check_preferences(value.clone()),
            Err(wanted.into_iter().map(Into::into).collect()),
            "{value}"
        );
    }
}

#[test]
fn only_named_preferences_change() {
    let none = PreferencesChange::default();
    assert_eq!(check_preferences(json!({"other": 1})), Ok(none.clone()));
    let change = check_preferences(json!({
        "email_enabled": "0", "sms_enabled": true, "digest": "weekly", "salutation": "Zoë Œuvre €",
        "max_per_day": "15", "quiet_hours": {"to": "07:00", "from": "22:00", "zone": "x"},
    }));
    let wanted = PreferencesChange {
        email_enabled: Some(Flag::NO),
        sms_enabled: Some(Flag::YES),
        digest: Some(Digest::Weekly),
        salutation: Some(Some("Zoë Œuvre €".into())),
        max_per_day: Some(15),
        quiet_hours: Some(Some(r#"{"from":"22:00","to":"07:00"}"#.into())),
    };
    assert_eq!(change, Ok(wanted));
    for hollow in [json!(null), json!({}), json!([]), json!({"from": null, "to": null}), json!({"from": "0"})]
    {
        let change = check_preferences(json!({ "quiet_hours": hollow, "salutation": null }));
        let wanted = PreferencesChange {
            quiet_hours: Some(None),
            salutation: Some(None),
            ..PreferencesChange::default()
        };
        assert_eq!(change, Ok(wanted), "{hollow}");
    }
}
