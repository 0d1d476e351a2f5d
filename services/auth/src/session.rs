//! Sessions of Laravel's `database` driver: the row, its expiry and its payload. Only read here.
//!
//! What Laravel reads as an empty session is absent here. A payload beyond the limits of `unserialize` is a
//! fault, not an absent session: its user would be refused what the monolith grants.

use crate::base64_lenient;
use crate::config::Config;
use crate::database::{Database, Statement, decimal};
use crate::error::Fault;
use crate::unserialize::{self, Array, Key, unserialize};
use mysql_async::Value;

/// The id of a session: 40 letters and digits (`Illuminate\Session\Store::isValidId`). A secret: whoever
/// knows it is the user, so it has no `Display` and no telling `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionId(String);

impl SessionId {
    /// Reads an id; `None` for what Laravel would replace by a fresh one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let valid = bytes.len() == 40 && bytes.iter().all(u8::is_ascii_alphanumeric);
        let text = std::str::from_utf8(bytes).ok()?;
        valid.then(|| Self(text.to_owned()))
    }

    /// The bytes of the id.
    pub fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl std::fmt::Debug for SessionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SessionId(…)")
    }
}

/// A session that is neither absent nor expired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who is logged in.
    pub login: Login,
    /// Laravel's CSRF token.
    pub csrf_token: Option<Vec<u8>>,
    /// When the session was last used, in seconds since 1970.
    pub last_activity_s: i64,
}

/// Who is logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nobody.
    Guest,
    /// The session names a user that the user query does not find, or whose id is not a whole number.
    Gone,
    /// A user: the id as decimal text.
    User(String),
}

/// What a session id leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A session.
    Live(Session),
    /// No row, or one that Laravel reads as an empty session.
    Absent,
    /// A row that was not used within the lifetime.
    Expired,
}

/// The session table.
#[derive(Clone, Debug)]
pub struct Sessions {
    database: Database,
    read: Statement,
    user: Statement,
    login_prefix: String,
    lifetime_s: i64,
    touch_after_s: i64,
}

impl Sessions {
    /// The session table of a monolith with this session lifetime.
    pub fn new(database: Database, config: &Config, lifetime_minutes: u64) -> Self {
        let table = &config.sessions_table;
        // The row's `user_id` is nearly always the payload's user, so that one statement does for both.
        let user = config.user_query.replace('?', "banyan_session.user_id");
        let read = format!(
            "SELECT banyan_session.payload, banyan_session.last_activity, banyan_session.user_id, ({user}) \
             FROM `{table}` AS banyan_session WHERE banyan_session.id = ?"
        );
        Self {
            database,
            read: Statement::new("session_read", read),
            user: Statement::new("session_user", config.user_query.clone()),
            login_prefix: format!("login_{}_", config.guard),
            lifetime_s: i64::try_from(lifetime_minutes.saturating_mul(60)).unwrap_or(i64::MAX),
            touch_after_s: i64::from(config.touch_after_s),
        }
    }

    /// Reads a session as of `now_s`, seconds since 1970.
    ///
    /// # Errors
    /// The database fails, or the payload exceeds a limit.
    pub async fn read(&self, id: &SessionId, now_s: i64) -> Result<Found, Fault> {
        let Some(row) = self.database.first(&self.read, vec![id.expose().into()]).await? else {
            return Ok(Found::Absent);
        };
        let [payload, last_activity, row_user, known_user] = columns(row.unwrap());
        let Value::Int(last_activity_s) = last_activity else { return Ok(Found::Absent) };
        // DatabaseSessionHandler::expired
        if last_activity_s < now_s - self.lifetime_s {
            return Ok(Found::Expired);
        }
        let Value::Bytes(payload) = payload else { return Ok(Found::Absent) };
        let Some(read) = read_payload(&payload, &self.login_prefix)? else { return Ok(Found::Absent) };
        let login = match read.user {
            None => Login::Guest,
            Some(user) if decimal(&user).is_some_and(|id| decimal(&row_user) == Some(id)) => {
                known(&known_user)
            }
            Some(user) => {
                let found = self.database.first(&self.user, vec![user]).await?;
                found.and_then(|row| row.unwrap().into_iter().next()).map_or(Login::Gone, |id| known(&id))
            }
        };
        Ok(Found::Live(Session { login, csrf_token: read.csrf_token, last_activity_s }))
    }

    /// Whether the session is due for a touch.
    pub fn is_touch_due(&self, session: &Session, now_s: i64) -> bool {
        now_s - session.last_activity_s >= self.touch_after_s
    }
}

fn columns(values: Vec<Value>) -> [Value; 4] {
    let mut values = values.into_iter();
    std::array::from_fn(|_| values.next().unwrap_or(Value::NULL))
}

fn known(id: &Value) -> Login {
    match decimal(id) {
        Some(id) => Login::User(id),
        None if *id == Value::NULL => Login::Gone,
        None => {
            tracing::warn!("the user query answers with an id that is not a whole number: no user");
            Login::Gone
        }
    }
}

/// What a payload says.
#[derive(Debug, PartialEq)]
struct Payload {
    user: Option<Value>,
    csrf_token: Option<Vec<u8>>,
}

/// `None` where Laravel would begin an empty session.
fn read_payload(encoded: &[u8], login_prefix: &str) -> Result<Option<Payload>, Fault> {
    let serialized = base64_lenient::decode(encoded);
    let attributes = match unserialize(&serialized) {
        Ok(unserialize::Value::Array(attributes)) => attributes,
        Ok(_) | Err(unserialize::Fault::Malformed) => return Ok(None),
        Err(unserialize::Fault::TooLarge) => return Err(Fault::SessionTooLarge),
    };
    let csrf_token = match attributes.get(b"_token") {
        Some(unserialize::Value::Text(token)) => Some(token.to_vec()),
        _ => None,
    };
    Ok(Some(Payload { user: user(&attributes, login_prefix), csrf_token }))
}

/// The user of the guard. The suffix of the key is a hash of the guard's class, so any is taken; where
/// keys of several classes name different users, there is no telling which one counts: nobody.
fn user(attributes: &Array<'_>, login_prefix: &str) -> Option<Value> {
    let mut logins = attributes.0.iter().filter_map(|(key, value)| {
        let Key::Text(name) = key else { return None };
        let suffix = name.strip_prefix(login_prefix.as_bytes())?;
        let is_hash = suffix.len() == 40 && suffix.iter().all(u8::is_ascii_hexdigit);
        match value {
            unserialize::Value::Int(id) if is_hash => Some(Value::Int(*id)),
            unserialize::Value::Text(id) if is_hash => Some(Value::Bytes(id.to_vec())),
            _ => None,
        }
    });
    let first = logins.next()?;
    logins.all(|other| decimal(&other) == decimal(&first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    const STOCK: &str = "login_web_59ba36addc2b2f9401580f014c7f58ea4e30989d";

    fn payload(attributes: &str) -> Option<Payload> {
        read_payload(STANDARD.encode(attributes).as_bytes(), "login_web_").unwrap()
    }

    fn array(elements: &[&str]) -> String {
        format!("a:{}:{{{}}}", elements.len(), elements.concat())
    }

    fn login(key: &str, id: &str) -> String {
        format!("s:{}:\"{key}\";{id}", key.len())
    }

    #[test]
    fn the_user_is_the_one_of_the_guard() {
        let text = |id: &str| Some(Value::Bytes(id.into()));
        let other_class = format!("login_web_{}", "0".repeat(40));
        let table = [
            (vec![login(STOCK, "i:7;")], Some(Value::Int(7))),
            (vec![login(STOCK, "s:2:\"42\";")], text("42")),
            (vec![login(&other_class, "i:7;")], Some(Value::Int(7))),
            (vec![login(STOCK, "i:7;"), login(&other_class, "s:1:\"7\";")], Some(Value::Int(7))),
            (vec![login(STOCK, "i:7;"), login(&other_class, "i:8;")], None),
            (vec![login(STOCK, "N;")], None),
            (vec![login(STOCK, "b:1;")], None),
            (vec![login(STOCK, "O:1:\"U\":0:{}")], None),
            (vec![login("login_admin_59ba36addc2b2f9401580f014c7f58ea4e30989d", "i:7;")], None),
            (vec![login("login_web_59ba", "i:7;")], None),
            (vec![login(&format!("{STOCK}0"), "i:7;")], None),
            (vec![login("user", &array(&[&login(STOCK, "i:7;")]))], None),
            (vec![], None),
        ];
        for (elements, wanted) in table {
            let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
            assert_eq!(payload(&array(&elements)).unwrap().user, wanted, "{elements:?}");
        }
    }

    #[test]
    fn the_csrf_token_is_a_text() {
        let token = |element: &str| payload(&array(&[element])).unwrap().csrf_token;
        assert_eq!(token("s:6:\"_token\";s:3:\"abc\";").as_deref(), Some(&b"abc"[..]));
        assert_eq!(token("s:6:\"_token\";i:5;"), None);
        assert_eq!(token("s:5:\"token\";s:3:\"abc\";"), None);
    }

    #[test]
    fn what_laravel_reads_as_empty_is_absent_and_what_is_too_large_is_a_fault() {
        for serialized in ["", "i:1;", "b:0;", "a:1:{i:0;", "{\"_token\":\"x\"}"] {
            assert_eq!(payload(serialized), None, "{serialized}");
        }
        assert_eq!(read_payload(b"%", "login_web_").unwrap(), None);
        let deep = STANDARD.encode("a:1:{i:0;".repeat(1000));
        assert!(matches!(read_payload(deep.as_bytes(), "login_web_"), Err(Fault::SessionTooLarge)));
    }

    #[test]
    fn an_id_is_forty_letters_and_digits() {
        assert!(SessionId::parse("aB3dE".repeat(8).as_bytes()).is_some());
        for bad in ["a".repeat(39), "a".repeat(41), "a/".repeat(20), "ü".repeat(20), String::new()] {
            assert_eq!(SessionId::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(format!("{:?}", SessionId::parse(&[b'a'; 40])), "Some(SessionId(…))");
    }
}
