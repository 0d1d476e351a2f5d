//! A person at a browser, by way of curl: a cookie jar, pages and forms of the monolith. What does not answer
//! within half a minute fails the test.

use std::path::{Path, PathBuf};
use tokio::process::Command;

/// What curl tells behind the body.
const WRITE_OUT: &str = "\n%{http_code}\t%header{content-type}\t%header{cache-control}\t%header{location}";

/// One browser with its cookies.
#[derive(Debug)]
pub struct Browser {
    base_url: String,
    jar: PathBuf,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// The header `Content-Type`, empty where there is none.
    pub content_type: String,
    /// The header `Cache-Control`, empty where there is none.
    pub cache_control: String,
    /// The header `Location`, empty where there is none.
    pub location: String,
    /// The body.
    pub body: String,
}

impl Browser {
    /// A browser without cookies that keeps them in a file of its own.
    pub fn new(base_url: &str, jar: PathBuf) -> Self {
        Self { base_url: base_url.into(), jar }
    }

    /// Opens a page; redirects are not followed.
    pub async fn get(&self, path: &str) -> Page {
        self.request(path, &[]).await
    }

    /// Sends a form; redirects are not followed.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Page {
        let mut arguments = vec!["--request".into(), "POST".into(), "--data".into(), String::new()];
        for (name, value) in fields {
            arguments.extend(["--data-urlencode".into(), format!("{name}={value}")]);
        }
        self.request(path, &arguments).await
    }

    /// Logs in by the form.
    pub async fn login(&self, email: &str) {
        let token = self.csrf_token().await;
        let answer =
            self.post("/login", &[("_token", &token), ("email", email), ("password", "secret")]).await;
        assert_eq!(answer.status, 302, "{}", answer.body);
        assert_eq!(self.get("/home").await.status, 200, "{email} is not logged in");
    }

    /// Logs out by the form.
    pub async fn logout(&self) {
        let token = self.csrf_token().await;
        assert_eq!(self.post("/logout", &[("_token", &token)]).await.status, 302);
    }

    /// The CSRF token that pages carry.
    pub async fn csrf_token(&self) -> String {
        let home = self.get("/home").await;
        let page = if home.status == 200 { home } else { self.get("/login").await };
        let after = |mark: &str| page.body.split_once(mark).and_then(|(_, rest)| rest.split('"').next());
        after("name=\"csrf-token\" content=\"")
            .or_else(|| after("name=\"_token\" value=\""))
            .unwrap_or_else(|| panic!("no token on the page: {}", page.body))
            .to_owned()
    }

    /// The value of one cookie, as the monolith set it.
    pub fn cookie(&self, name: &str) -> String {
        let cookies = self.all();
        let found = cookies.iter().find(|(n, _)| n == name);
        found.unwrap_or_else(|| panic!("no cookie {name}")).1.clone()
    }

    /// The `Cookie` header.
    pub fn cookies(&self) -> String {
        let pairs: Vec<String> = self.all().iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join("; ")
    }

    fn all(&self) -> Vec<(String, String)> {
        let jar = std::fs::read_to_string(&self.jar).expect("curl has written the cookie jar");
        jar.lines()
            .map(|line| line.strip_prefix("#HttpOnly_").unwrap_or(line))
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| {
                let mut columns = line.split('\t').skip(5);
                Some((columns.next()?.to_owned(), columns.next()?.to_owned()))
            })
            .collect()
    }

    /// One request with arguments of curl, such as `--header`.
    pub async fn request(&self, path: &str, more: &[String]) -> Page {
        let jar = path_text(&self.jar);
        let mut arguments = vec!["--cookie".into(), jar.clone(), "--cookie-jar".into(), jar];
        arguments.extend_from_slice(more);
        curl(&format!("{}{path}", self.base_url), &arguments).await
    }
}

/// One request by curl.
pub async fn curl(url: &str, arguments: &[String]) -> Page {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--max-time", "30", "--write-out", WRITE_OUT])
        .args(arguments)
        .arg(url)
        .output()
        .await
        .expect("curl is installed; `require(Part::Curl)` says so before");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    let (body, told) = text.rsplit_once('\n').expect("curl has written a line behind the body");
    let told: Vec<&str> = told.split('\t').collect();
    let [status, content_type, cache_control, location] = told[..] else { panic!("{url}: {told:?}") };
    Page {
        status: status.parse().expect("a status is a number"),
        content_type: content_type.into(),
        cache_control: cache_control.into(),
        location: location.into(),
        body: body.into(),
    }
}

fn path_text(path: &Path) -> String {
    path.to_str().expect("the paths of tests are UTF-8").to_owned()
}
