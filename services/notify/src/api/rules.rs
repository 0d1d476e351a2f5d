//! Laravel's validation, as far as the capability uses it: the same verdicts, the same texts in the same
//! order (`Illuminate\Validation\Validator`, Laravel 8; `resources/lang/en/validation.php` of the monolith).

use serde_json::{Map, Value};

/// The fields of a request, after `TrimStrings` and `ConvertEmptyStringsToNull`.
pub type Fields = Map<String, Value>;

/// The messages by field, in the order of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(Vec<(String, Vec<String>)>);

impl Errors {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fields with their messages.
    pub fn fields(&self) -> &[(String, Vec<String>)] {
        &self.0
    }

    /// All messages in order.
    pub fn messages(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(|(_, messages)| messages).map(String::as_str)
    }
}

/// One rule of a field.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// There, and neither null nor empty.
    Required,
    /// As `Required`, where this other field is there.
    RequiredWith(&'static str),
    /// A text.
    Text,
    /// True, false, 0, 1, "0" or "1".
    Boolean,
    /// A whole number, as number or text.
    Integer,
    /// An array or an object.
    Array,
    /// At least that much: characters, items, or the number itself.
    Min(u32),
    /// At most that much.
    Max(u32),
    /// One of these.
    In(&'static [&'static str]),
    /// `HH:MM`.
    TimeOfDay,
    /// Only characters of Windows-1252, which MySQL calls latin1.
    Latin1,
}

/// A field with its rules.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name; a dot leads into an object.
    pub name: &'static str,
    /// Whether null is allowed.
    pub nullable: bool,
    /// In order.
    pub rules: &'static [Rule],
}

/// Checks the fields.
pub fn check(fields: &[Field], input: &Fields) -> Errors {
    let checked = fields.iter().map(|field| (field.name.to_owned(), messages(field, input)));
    Errors(checked.filter(|(_, messages)| !messages.is_empty()).collect())
}

fn messages(field: &Field, input: &Fields) -> Vec<String> {
    let found = find(input, field.name);
    let value = found.unwrap_or(&Value::Null);
    let mut messages = Vec::new();
    for rule in field.rules {
        let implicit = matches!(rule, Rule::Required | Rule::RequiredWith(_));
        if !implicit && (found.is_none() || (field.nullable && value.is_null())) {
            continue;
        }
        if !passes(*rule, value, (field, input)) {
            messages.push(message(*rule, field));
            if implicit {
                break;
            }
        }
    }
    messages
}

/// A field by its name, also within an object.
fn find<'i>(input: &'i Fields, name: &str) -> Option<&'i Value> {
    match name.split_once('.') {
        Some((outer, inner)) => input.get(outer)?.as_object()?.get(inner),
        None => input.get(name),
    }
}

fn is_given(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.trim().is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    }
}

fn passes(rule: Rule, value: &Value, (field, input): (&Field, &Fields)) -> bool {
    match rule {
        Rule::Required => is_given(value),
        Rule::RequiredWith(other) => !find(input, other).is_some_and(is_given) || is_given(value),
        Rule::Text => value.is_string(),
        Rule::Boolean => match value {
            Value::Bool(_) => true,
            Value::Number(number) => number.as_u64().is_some_and(|number| number < 2),
            Value::String(text) => text == "0" || text == "1",
            _ => false,
        },
        Rule::Integer => integer(value).is_some(),
        Rule::Array => value.is_array() || value.is_object(),
        Rule::Min(least) => size(value, field) >= f64::from(least),
        Rule::Max(most) => size(value, field) <= f64::from(most),
        Rule::In(allowed) => is_scalar(value) && allowed.contains(&php_text(value).as_str()),
        Rule::TimeOfDay => value.as_str().is_some_and(is_time_of_day),
        Rule::Latin1 => value.as_str().is_some_and(|text| text.chars().all(is_windows_1252)),
    }
}

fn is_scalar(value: &Value) -> bool {
    !value.is_array() && !value.is_object()
}

/// PHP's cast of a scalar to a text.
fn php_text(value: &Value) -> String {
    match value {
        Value::Bool(true) => "1".into(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => float.to_string(),
            _ => number.to_string(),
        },
        _ => String::new(),
    }
}

/// The whole number that PHP's `FILTER_VALIDATE_INT` sees in a value.
pub fn integer(value: &Value) -> Option<i64> {
    if !is_scalar(value) {
        return None;
    }
    let text = php_text(value);
    let digits = text.trim().strip_prefix(['+', '-']).unwrap_or(text.trim());
    let canonical = digits == "0" || !digits.starts_with('0');
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if canonical && plain { text.trim().parse().ok() } else { None }
}

/// What `min` and `max` compare: the number of a field with the rule `integer`, items, or characters.
fn size(value: &Value, field: &Field) -> f64 {
    match value {
        Value::Array(items) => items.len() as f64,
        Value::Object(members) => members.len() as f64,
        _ => {
            let text = php_text(value);
            let number = if is_numeric_field(field) && !value.is_boolean() { numeric(&text) } else { None };
            number.unwrap_or_else(|| text.chars().count() as f64)
        }
    }
}

fn is_numeric_field(field: &Field) -> bool {
    field.rules.iter().any(|rule| matches!(rule, Rule::Integer))
}

/// PHP's `is_numeric`.
fn numeric(text: &str) -> Option<f64> {
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    if numeric { text.parse().ok() } else { None }
}

fn is_time_of_day(text: &str) -> bool {
    let two = |part: &str, below: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|number| number < below)
    };
    text.split_once(':').is_some_and(|(hours, minutes)| two(hours, 24) && two(minutes, 60))
}

fn is_windows_1252(char: char) -> bool {
    matches!(char, '\u{0}'..='\u{7f}' | '\u{a0}'..='\u{ff}') || "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ".contains(char)
}

fn message(rule: Rule, field: &Field) -> String {
    let name = shown(field.name);
    match rule {
        Rule::Required => format!("The {name} field is required."),
        Rule::RequiredWith(other) => {
            format!("The {name} field is required when {} is present.", shown(other))
        }
        Rule::Text => format!("The {name} must be a string."),
        Rule::Boolean => format!("The {name} field must be true or false."),
        Rule::Integer => format!("The {name} must be an integer."),
        Rule::Array => format!("The {name} must be an array."),
        Rule::Min(least) => match is_numeric_field(field) {
            true => format!("The {name} must be at least {least}."),
            false => format!("The {name} must be at least {least} characters."),
        },
        Rule::Max(most) => match is_numeric_field(field) {
            true => format!("The {name} must not be greater than {most}."),
            false => format!("The {name} must not be greater than {most} characters."),
        },
        Rule::In(_) => format!("The selected {name} is invalid."),
        Rule::TimeOfDay => format!("The {name} does not match the format H:i."),
        Rule::Latin1 => format!("The {name} must only contain Western European characters."),
    }
}

fn shown(name: &str) -> String {
    name.replace('_', " ")
}
