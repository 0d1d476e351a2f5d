//! A small SMTP server that does what a test tells it to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Takes it.
    Take,
    /// Puts the recipient off (450).
    PutOff,
    /// Refuses the recipient (550).
    Refuse,
    /// Takes the text and never answers.
    SwallowText,
}

/// The server.
pub struct Smtp {
    pub address: String,
    pub mood: Arc<Mutex<Mood>>,
    texts: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Smtp {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Smtp {
    pub async fn start() -> Self {
        Self::listen("127.0.0.1:0").await
    }

    /// At an address that was free a moment ago.
    #[expect(clippy::disallowed_methods, reason = "the server ends with the test's runtime")]
    pub async fn listen(address: &str) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mood, texts) = (Arc::new(Mutex::new(Mood::Take)), Arc::new(Mutex::new(Vec::new())));
        let shared = (Arc::clone(&mood), Arc::clone(&texts));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (mood, texts) = shared.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = talk(stream, &mood, &texts).await;
                });
            }
        });
        Self { address, mood, texts, task }
    }

    pub fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// How many texts arrived, taken or not, by notification.
    pub fn arrived(&self) -> BTreeMap<u64, usize> {
        let mut arrived = BTreeMap::new();
        for text in self.texts.lock().unwrap().iter() {
            let id = text.lines().find_map(|line| line.strip_prefix("X-Notification-Id: ")).unwrap();
            *arrived.entry(id.trim().parse().unwrap()).or_default() += 1;
        }
        arrived
    }

    pub fn texts(&self) -> Vec<String> {
        self.texts.lock().unwrap().clone()
    }
}

async fn talk(stream: TcpStream, mood: &Mutex<Mood>, texts: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    writer.write_all(b"220 test\r\n").await?;
    while let Some(line) = lines.next_line().await? {
        let now = *mood.lock().unwrap();
        let reply: &[u8] = match line.split(' ').next().unwrap_or_default().split(':').next() {
            Some("RCPT") if now == Mood::PutOff => b"450 later\r\n",
            Some("RCPT") if now == Mood::Refuse => b"550 never\r\n",
            Some("DATA") => {
                writer.write_all(b"354 go on\r\n").await?;
                let mut text = String::new();
                while let Some(line) = lines.next_line().await?
                    && line != "."
                {
                    text.push_str(&line);
                    text.push('\n');
                }
                texts.lock().unwrap().push(text);
                if now == Mood::SwallowText {
                    std::future::pending::<()>().await;
                }
                b"250 taken\r\n"
            }
            Some("QUIT") => b"221 bye\r\n",
            _ => b"250 ok\r\n",
        };
        writer.write_all(reply).await?;
    }
    Ok(())
}
