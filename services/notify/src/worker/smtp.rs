//! One mail over SMTP (RFC 5321), without TLS, on a connection of its own.
//!
//! What went wrong before the server was given the text is certainly not sent. After that only the server's
//! refusal is certain; silence is not.

use crate::config::Config;
use crate::domain::Mail;
use crate::links::Links;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail as MailFrom, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use minijinja::{Environment, UndefinedBehavior, context};
use std::sync::LazyLock;
use std::time::Duration;

const TEMPLATE: &str = "mail.txt";

static TEMPLATES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    templates.set_undefined_behavior(UndefinedBehavior::Strict);
    templates
        .add_template(TEMPLATE, include_str!("../../templates/mail.txt"))
        .expect("the template is built in and tested");
    templates
});

/// Why a mail was not sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Unsent {
    /// The server has certainly not taken it: another try is allowed.
    NotTaken(String),
    /// It was refused for good, cannot be written, or nobody knows.
    Failed(String),
}

/// The server and the sender.
#[derive(Clone)]
pub struct Smtp {
    server: String,
    from: Mailbox,
    timeout: Duration,
    links: Links,
}

impl Smtp {
    /// As the configuration says.
    ///
    /// # Errors
    /// The sender is no address.
    pub fn new(config: &Config, links: Links) -> Result<Self, String> {
        let from = config.from.parse().map_err(|_| format!("`from` `{}` is no address", config.from))?;
        let timeout = Duration::from_millis(config.mail_timeout_ms);
        Ok(Self { server: config.smtp.clone(), from, timeout, links })
    }

    /// A connection to the server, greeted.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn connect(&self) -> Result<AsyncSmtpConnection, String> {
        let hello = ClientId::default();
        let connect =
            AsyncSmtpConnection::connect_tokio1(&*self.server, Some(self.timeout), &hello, None, None);
        match tokio::time::timeout(self.timeout, connect).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(chain(&error)),
            Err(_) => Err("no answer in time".into()),
        }
    }

    /// Sends a mail and ends the connection.
    ///
    /// # Errors
    /// See [`Unsent`].
    pub async fn send(&self, mut connection: AsyncSmtpConnection, mail: &Mail) -> Result<(), Unsent> {
        let message = self.message(mail).map_err(Unsent::Failed)?;
        let envelope = message.envelope().clone();
        let started = tokio::time::timeout(self.timeout, begin(&mut connection, &envelope)).await;
        match started {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_permanent() => return Err(Unsent::Failed(chain(&error))),
            Ok(Err(error)) => return Err(Unsent::NotTaken(chain(&error))),
            Err(_) => return Err(Unsent::NotTaken("no answer in time".into())),
        }
        let text = message.formatted();
        match tokio::time::timeout(self.timeout, connection.message(&text)).await {
            Ok(Ok(_)) => {
                // The mail is out; how the connection ends does not matter.
                let _ = tokio::time::timeout(self.timeout, connection.quit()).await;
                Ok(())
            }
            Ok(Err(error)) if error.is_transient() => Err(Unsent::NotTaken(chain(&error))),
            Ok(Err(error)) => Err(Unsent::Failed(chain(&error))),
            Err(_) => Err(Unsent::Failed("no answer to the text in time".into())),
        }
    }

    fn message(&self, mail: &Mail) -> Result<Message, String> {
        let to = mail.to.parse().map_err(|_| "the recipient's address cannot be used".to_owned())?;
        let subject: String = mail.title.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let id = format!("<notification-{}@{}>", mail.notification, self.from.email.domain());
        let text = self.text(mail)?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(subject)
            .message_id(Some(id))
            .header(NotificationId(mail.notification))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .map_err(|error| error.to_string())
    }

    fn text(&self, mail: &Mail) -> Result<String, String> {
        let values = context! {
            salutation => mail.salutation.clone(),
            title => mail.title.clone(),
            body => mail.body.clone(),
            public_url => self.links.public_url(),
            unsubscribe_url => self.links.unsubscribe(&mail.to),
        };
        let template = TEMPLATES.get_template(TEMPLATE).and_then(|template| template.render(values));
        template.map_err(|error| error.to_string())
    }
}

async fn begin(connection: &mut AsyncSmtpConnection, envelope: &Envelope) -> Result<(), Error> {
    connection.command(MailFrom::new(envelope.from().cloned(), Vec::new())).await?;
    for to in envelope.to() {
        connection.command(Rcpt::new(to.clone(), Vec::new())).await?;
    }
    connection.command(Data).await?;
    Ok(())
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// `X-Notification-Id`: which notification a mail is for.
#[derive(Clone)]
struct NotificationId(u64);

impl Header for NotificationId {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("X-Notification-Id")
    }

    fn parse(text: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self(text.trim().parse()?))
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), self.0.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn smtp() -> Smtp {
        let config = Config { from: "FinTech Connect <noreply@shop.example>".into(), ..Config::default() };
        Smtp::new(&config, Links::new("0123456789abcdef", "https://shop.example").unwrap()).unwrap()
    }

    fn mail(title: &str, body: Option<&str>) -> Mail {
        Mail {
            notification: 7,
            to: "user1@example.com".into(),
            salutation: "Hello Zoë".into(),
            title: title.into(),
            body: body.map(Into::into),
            traceparent: None,
        }
    }

    #[test]
    fn a_mail_says_what_the_monoliths_would_say() {
        let links = "Your notifications: https://shop.example/notifications\n\nFinTech Connect\n\n\
            You get this mail because you asked us to mail your notifications.\n\
            No more mails: https://shop.example/unsubscribe?email=user1%40example.com&token=\
            ca829bbcbc0b712b832e2b69a2a5724b05019abc47f4a3d4f3ad18ed21092554";
        for (body, wanted) in [
            (Some("1 < 2 & 3"), format!("Hello Zoë,\n\nTitle\n\n1 < 2 & 3\n\n{links}")),
            (None, format!("Hello Zoë,\n\nTitle\n\n{links}")),
        ] {
            assert_eq!(smtp().text(&mail("Title", body)), Ok(wanted));
        }
    }

    #[test]
    fn a_title_cannot_add_headers() {
        let message = smtp().message(&mail("a\r\nBcc: all@example.com", None)).unwrap();
        let text = String::from_utf8(message.formatted()).unwrap();
        assert!(
            text.contains("X-Notification-Id: 7\r\n")
                && text.contains("Message-ID: <notification-7@shop.example>")
        );
        assert!(text.contains("Subject: a  Bcc: all@example.com\r\n"), "{text}");
        assert_eq!(message.envelope().to().len(), 1);
        let nobody = Mail { to: "nobody".into(), ..mail("a", None) };
        assert!(smtp().message(&nobody).is_err());
    }
}
