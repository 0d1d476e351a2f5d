//! What a statement in the binlog means for the captured tables.
//!
//! Rows arrive as row events; a statement in the binlog is transaction control, DDL, or a write that was
//! logged as a statement. What may change captured rows without row events must never pass unseen, so a
//! statement that names a captured table and is not known to be harmless is reported.

/// What a statement does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// A transaction begins.
    Begin,
    /// The transaction commits.
    Commit,
    /// The transaction is undone.
    Rollback,
    /// A savepoint is set.
    Savepoint(String),
    /// What followed the savepoint is undone.
    RollbackTo(String),
    /// Nothing for captured tables.
    Harmless,
    /// All or some rows of the table go without row events.
    Empties(String),
    /// The table's shape may have changed.
    Reshapes(String),
    /// Another table may have taken the table's place.
    Replaces(String),
    /// Rows of the table were written and logged as a statement.
    Writes(String),
}

/// Statements that name a table and change none of its rows or columns.
const HARMLESS: [&str; 12] = [
    "ANALYZE", "CHECK", "FLUSH", "GRANT", "OPTIMIZE", "REPAIR", "REVOKE", "RELEASE", "SET", "USE", "XA", "#",
];
/// Kinds of objects whose creation or removal leaves tables as they are.
const OTHER_OBJECTS: [&str; 12] = [
    "TRIGGER",
    "VIEW",
    "PROCEDURE",
    "FUNCTION",
    "EVENT",
    "USER",
    "ROLE",
    "SERVER",
    "SEQUENCE",
    "PACKAGE",
    "TEMPORARY",
    "ALGORITHM",
];

/// Reads a statement that ran in the schema `current`; `captured` are tables of the schema `ours`.
pub fn classify(text: &str, current: &str, (ours, captured): (&str, &[&str])) -> Statement {
    let tokens = unwrapped(tokens(text));
    let word = |place: usize| tokens.get(place).map(|t| t.text.to_ascii_uppercase()).unwrap_or_default();
    let name = |place: usize| tokens.get(place).map(|t| t.text.clone()).unwrap_or_default();
    let verb = word(0);
    match verb.as_str() {
        "BEGIN" => return Statement::Begin,
        "START" if word(1) == "TRANSACTION" => return Statement::Begin,
        "COMMIT" => return Statement::Commit,
        "SAVEPOINT" => return Statement::Savepoint(name(1)),
        "ROLLBACK" if word(1) == "TO" => {
            let place = if word(2) == "SAVEPOINT" { 3 } else { 2 };
            return Statement::RollbackTo(name(place));
        }
        "ROLLBACK" => return Statement::Rollback,
        // The second phase of what was prepared in a transaction of its own.
        "XA" if ["COMMIT", "ROLLBACK"].contains(&word(1).as_str()) => return Statement::Commit,
        "" => return Statement::Harmless,
        _ => {}
    }
    if HARMLESS.contains(&verb.as_str()) {
        return Statement::Harmless;
    }
    if verb == "DROP" && ["DATABASE", "SCHEMA"].contains(&word(1).as_str()) {
        let dropped = tokens.last().is_some_and(|t| t.text.eq_ignore_ascii_case(ours));
        return if dropped { Statement::Replaces(ours.to_owned()) } else { Statement::Harmless };
    }
    let Some(table) = captured.iter().find(|table| mentions(&tokens, current, (ours, table))) else {
        return Statement::Harmless;
    };
    effect(&verb, &tokens, table)
}

/// MariaDB logs `SET STATEMENT … FOR` together with the statement that it is for.
fn unwrapped(mut tokens: Vec<Token>) -> Vec<Token> {
    let is = |token: Option<&Token>, word: &str| {
        token.is_some_and(|token| !token.quoted && token.text.eq_ignore_ascii_case(word))
    };
    while is(tokens.first(), "SET") && is(tokens.get(1), "STATEMENT") {
        let Some(end) = tokens.iter().position(|token| is(Some(token), "FOR")) else { break };
        tokens.drain(..=end);
    }
    tokens
}

fn effect(verb: &str, tokens: &[Token], table: &str) -> Statement {
    let has = |word: &str| tokens.iter().any(|t| !t.quoted && t.text.eq_ignore_ascii_case(word));
    // The kind of object stands within the first words: CREATE OR REPLACE DEFINER = … TRIGGER.
    let table_at = tokens.iter().position(|t| t.text.eq_ignore_ascii_case("TABLE")).unwrap_or(usize::MAX);
    let other_at = tokens.iter().position(|t| OTHER_OBJECTS.contains(&t.text.to_ascii_uppercase().as_str()));
    let other_object = other_at.is_some_and(|place| place < table_at);
    let table = table.to_owned();
    match verb {
        "TRUNCATE" => Statement::Empties(table),
        "CREATE" | "DROP" | "ALTER" if other_object => Statement::Harmless,
        "CREATE" | "DROP" if table_at == usize::MAX => Statement::Reshapes(table),
        "CREATE" if has("EXISTS") => Statement::Reshapes(table),
        "CREATE" | "DROP" | "RENAME" => Statement::Replaces(table),
        "ALTER" if has("PARTITION") && ["TRUNCATE", "DROP", "EXCHANGE"].iter().any(|w| has(w)) => {
            Statement::Empties(table)
        }
        "ALTER" => Statement::Reshapes(table),
        _ => Statement::Writes(table),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Token {
    text: String,
    /// Whether it stood between backticks: a name, never a keyword.
    quoted: bool,
    /// Whether a dot follows: it qualifies the next name.
    qualifies: bool,
}

/// Whether the table is named, by itself in its own schema or with the schema before it.
fn mentions(tokens: &[Token], current: &str, (ours, table): (&str, &str)) -> bool {
    tokens.iter().enumerate().any(|(place, token)| {
        token.text.eq_ignore_ascii_case(table)
            && match place.checked_sub(1).map(|before| &tokens[before]) {
                Some(before) if before.qualifies => before.text.eq_ignore_ascii_case(ours),
                _ => current.eq_ignore_ascii_case(ours),
            }
    })
}

/// Names, words and `#`; literals, numbers and comments are left out. The inside of `/*! … */` is read.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (taken, token) = match c {
            '`' => {
                let (name, length) = quoted(rest, '`');
                (length, Some((name, true)))
            }
            '\'' | '"' => (quoted(rest, c).1, None),
            '#' if tokens.is_empty() => (rest.len(), Some(("#".into(), false))),
            '#' => (line(rest), None),
            '-' if rest.starts_with("-- ") => (line(rest), None),
            '/' if rest.starts_with("/*") && !rest.starts_with("/*!") && !rest.starts_with("/*M!") => {
                (rest.find("*/").map_or(rest.len(), |end| end + 2), None)
            }
            '.' => {
                if let Some(last) = tokens.last_mut() {
                    last.qualifies = true;
                }
                (1, None)
            }
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                let length =
                    rest.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '$').unwrap_or(rest.len());
                let word = !rest[..length].bytes().all(|b| b.is_ascii_digit());
                (length, word.then(|| (rest[..length].to_owned(), false)))
            }
            c => (c.len_utf8(), None),
        };
        tokens.extend(token.map(|(text, quoted)| Token { text, quoted, qualifies: false }));
        rest = &rest[taken..];
    }
    tokens
}

fn line(text: &str) -> usize {
    text.find('\n').map_or(text.len(), |end| end + 1)
}

/// The inside of a quoted text and the length with its quotes; doubled quotes and backslashes escape.
fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote != '`' {
            characters.next();
        } else if c != quote || characters.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(c);
        } else {
            return (inside, at + c.len_utf8());
        }
    }
    (inside, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, current: &str) -> Statement {
        classify(text, current, ("shop", &["users", "notifications"]))
    }

    fn on(table: &str, make: fn(String) -> Statement) -> Statement {
        make(table.to_owned())
    }

    #[test]
    fn transaction_control_is_known() {
        assert_eq!(check("BEGIN", "shop"), Statement::Begin);
        assert_eq!(check("COMMIT", ""), Statement::Commit);
        assert_eq!(check("SAVEPOINT `trans2`", "shop"), on("trans2", Statement::Savepoint));
        assert_eq!(check("ROLLBACK TO `trans2`", "shop"), on("trans2", Statement::RollbackTo));
        assert_eq!(check("ROLLBACK", "shop"), Statement::Rollback);
    }

    #[test]
    fn what_changes_captured_rows_without_row_events_is_reported() {
        use Statement::{Empties, Replaces, Reshapes, Writes};
        let table: [(&str, &str, Statement); 14] = [
            ("TRUNCATE TABLE notifications", "shop", on("notifications", Empties)),
            ("truncate `shop`.`notifications`", "crm", on("notifications", Empties)),
            (
                "/* job */ ALTER TABLE users ADD COLUMN age int COMMENT 'a VIEW'",
                "shop",
                on("users", Reshapes),
            ),
            ("ALTER TABLE users DROP PARTITION p0", "shop", on("users", Empties)),
            ("DROP TABLE IF EXISTS `x`,`users` /* generated by server */", "shop", on("users", Replaces)),
            ("RENAME TABLE users TO _users_old, _users_new TO users", "shop", on("users", Replaces)),
            ("CREATE TABLE users LIKE _users_old", "shop", on("users", Replaces)),
            ("CREATE TABLE IF NOT EXISTS users (id int)", "shop", on("users", Reshapes)),
            ("CREATE UNIQUE INDEX u ON users (email)", "shop", on("users", Reshapes)),
            ("DELETE FROM users WHERE id = 7", "shop", on("users", Writes)),
            ("insert into log select * from shop.users", "crm", on("users", Writes)),
            ("SET STATEMENT max_statement_time=9 FOR DELETE FROM users", "shop", on("users", Writes)),
            ("/*!40000 TRUNCATE */ users", "shop", on("users", Empties)),
            ("DROP DATABASE shop", "", on("shop", Replaces)),
        ];
        for (text, current, wanted) in table {
            assert_eq!(check(text, current), wanted, "{text}");
        }
    }

    #[test]
    fn what_leaves_captured_rows_alone_passes() {
        for (text, current) in [
            ("TRUNCATE TABLE sessions", "shop"),
            ("TRUNCATE TABLE users", "crm"),
            ("TRUNCATE TABLE crm.users", "shop"),
            ("ALTER TABLE sessions COMMENT 'of users', ADD note varchar(9) DEFAULT 'users'", "shop"),
            (
                "CREATE OR REPLACE DEFINER=`b`@`%` TRIGGER t BEFORE UPDATE ON users FOR EACH ROW BEGIN END",
                "shop",
            ),
            ("CREATE ALGORITHM=UNDEFINED VIEW v AS SELECT * FROM users", "shop"),
            ("CREATE TEMPORARY TABLE users (id int)", "shop"),
            ("ANALYZE TABLE users", "shop"),
            ("GRANT SELECT ON users TO x", "shop"),
            ("# Dummy event replacing event type 160", "shop"),
            ("DROP DATABASE crm", "shop"),
            ("INSERT INTO sessions VALUES ('users', \"users\")", "shop"),
            ("DELETE FROM sessions -- users\n", "shop"),
        ] {
            assert_eq!(check(text, current), Statement::Harmless, "{text}");
        }
    }
}
