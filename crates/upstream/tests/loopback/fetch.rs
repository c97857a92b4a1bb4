//! Fetching what a client names: what is refused before a byte is sent, and what is not held.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use cutover_upstream::Tls;
use cutover_upstream::fetch::{FetchError, FetchLimits, FetchRules, Fetcher, Resolve};
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::server::{Server, read_request, wait_for_close};

/// Names and their addresses, by turns: the n-th question gets the n-th answer, the last one for ever.
struct Names {
    answers: Vec<Vec<&'static str>>,
    asked: AtomicUsize,
}

impl Names {
    fn are(answers: &[&[&'static str]]) -> Arc<Self> {
        let answers = answers.iter().map(|some| some.to_vec()).collect();
        Arc::new(Self { answers, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Names {
    fn resolve<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        let at = self.asked.fetch_add(1, SeqCst).min(self.answers.len() - 1);
        let addresses = self.answers[at].iter().map(|text| text.parse().unwrap()).collect();
        Box::pin(async move { Ok(addresses) })
    }
}

/// `pics.test` may be at a private address; others may not.
fn rules() -> FetchRules {
    FetchRules {
        hosts: Vec::new(),
        private_hosts: vec!["pics.test".to_owned()],
        plain_http: true,
        redirects_max: 2,
    }
}

fn fetcher(rules: FetchRules, names: &Arc<Names>) -> Fetcher {
    Fetcher::new(rules, Tls::new(&[]).unwrap(), Arc::clone(names) as Arc<dyn Resolve>)
}

fn limits() -> FetchLimits {
    let by = Instant::now() + Duration::from_secs(20);
    FetchLimits { listed_only: false, bytes_max: 1_000, by }
}

async fn fetch(url: &str, names: &Arc<Names>) -> Result<String, FetchError> {
    let body = fetcher(rules(), names).fetch(url, limits()).await?;
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn at(server: &Server, path: &str) -> String {
    format!("http://pics.test:{}{path}", server.address.port())
}

#[tokio::test]
async fn a_file_comes_and_nothing_of_ours_goes() {
    let server = Server::start(|_, mut socket| async move {
        let seen = read_request(&mut socket).await.unwrap().to_ascii_lowercase();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{seen}", seen.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let names = Names::are(&[&["127.0.0.1"]]);
    let seen = fetch(&at(&server, "/a.png?x=1"), &names).await.unwrap();
    let lines: Vec<&str> = seen.trim_end().lines().collect();
    assert_eq!(lines[0], "get /a.png?x=1 http/1.1");
    let mut names: Vec<&str> =
        lines[1..].iter().map(|line| line.split(':').next().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["accept", "accept-encoding", "host", "user-agent"]);
}

#[tokio::test]
async fn a_name_is_resolved_once_and_the_checked_address_is_the_one_connected_to() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    // Whoever asked a second time would get the address of a machine's secrets.
    let names = Names::are(&[&["127.0.0.1"], &["169.254.169.254"]]);
    assert_eq!(fetch(&at(&server, "/"), &names).await.unwrap(), "ok");
    assert_eq!((names.asked.load(SeqCst), server.accepted()), (1, 1));
}

#[tokio::test]
async fn no_name_leads_to_an_address_that_is_not_public() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let port = server.address.port();
    for addresses in [
        &["127.0.0.1"][..],
        &["10.0.0.1"],
        &["169.254.169.254"],
        &["::1"],
        &["::ffff:127.0.0.1"],
        &["64:ff9b::7f00:1"],
        &["fd00::1"],
        &["8.8.8.8", "127.0.0.1"],
    ] {
        let names = Names::are(&[addresses]);
        let refused = fetch("http://evil.test/", &names).await;
        assert_eq!(refused, Err(FetchError::Address), "{addresses:?}");
    }
    let names = Names::are(&[&["8.8.8.8"]]);
    for url in [
        "http://127.0.0.1/".to_owned(),
        "http://[::1]/".to_owned(),
        "http://[::ffff:127.0.0.1]/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        assert_eq!(fetch(&url, &names).await, Err(FetchError::Address), "{url}");
    }
    assert_eq!(fetch(&format!("http://evil.test:{port}/"), &names).await, Err(FetchError::Port));
    // Not even a host of one's own may be where machines' secrets are.
    let names = Names::are(&[&["169.254.169.254"]]);
    assert_eq!(fetch(&at(&server, "/"), &names).await, Err(FetchError::Address));
    assert_eq!(server.accepted(), 0, "a refused address was connected to");
}

#[tokio::test]
async fn only_listed_hosts_are_asked_where_a_list_is_given_or_wanted() {
    let names = Names::are(&[&["127.0.0.1"]]);
    let listing = FetchRules {
        hosts: vec!["a.test".to_owned(), "*.cdn.test".to_owned()],
        private_hosts: Vec::new(),
        ..rules()
    };
    let listed = fetcher(listing, &names);
    for (url, wants) in [
        ("https://a.test/", Ok(())),
        ("https://A.test./", Ok(())),
        ("https://x.cdn.test/", Ok(())),
        ("https://cdn.test/", Err(FetchError::Host)),
        ("https://evilcdn.test/", Err(FetchError::Host)),
        ("https://b.test/", Err(FetchError::Host)),
        ("https://a.test.evil.test/", Err(FetchError::Host)),
    ] {
        assert_eq!(listed.check(url, false), wants, "{url}");
    }
    let open = fetcher(FetchRules { plain_http: false, ..rules() }, &names);
    assert_eq!(open.check("https://anyone.test/", false), Ok(()));
    assert_eq!(open.check("https://anyone.test/", true), Err(FetchError::Host));
    assert_eq!(open.check("https://pics.test/", true), Ok(()));
    assert_eq!(open.check("http://pics.test/", true), Err(FetchError::Scheme));
    assert_eq!(names.asked.load(SeqCst), 0);
}

#[tokio::test]
async fn a_redirect_is_checked_like_the_first_address_and_not_followed_for_ever() {
    let secret = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await;
    let secret_port = secret.address.port();
    let server = Server::start(move |_, mut socket| async move {
        let Some(seen) = read_request(&mut socket).await else { return };
        let path = seen.split(' ').nth(1).unwrap_or_default().to_owned();
        let to = match path.as_str() {
            "/inside" => format!("http://127.0.0.1:{secret_port}/"),
            "/named" => format!("http://other.test:{secret_port}/"),
            "/metadata" => "http://169.254.169.254/latest/".to_owned(),
            "/file" => "file:///etc/passwd".to_owned(),
            "/user" => "http://a:b@pics.test/".to_owned(),
            "/once" => "/ok".to_owned(),
            "/ok" => {
                socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
                return;
            }
            _ => "/loop".to_owned(),
        };
        let answer = format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let names = Names::are(&[&["127.0.0.1"]]);
    for (path, why) in [
        ("/inside", FetchError::Port),
        ("/named", FetchError::Port),
        ("/metadata", FetchError::Address),
        ("/file", FetchError::Scheme),
        ("/user", FetchError::UserInfo),
        ("/loop", FetchError::Redirects),
    ] {
        assert_eq!(fetch(&at(&server, path), &names).await, Err(why), "{path}");
    }
    assert_eq!(fetch(&at(&server, "/once"), &names).await.unwrap(), "ok");
    assert_eq!(secret.accepted(), 0, "a redirect led inside");
}

#[tokio::test]
async fn what_is_too_large_compressed_or_no_answer_is_not_held() {
    let names = Names::are(&[&["127.0.0.1"]]);
    for (answer, why) in [
        ("200 OK\r\ncontent-length: 5000000000\r\n\r\n", FetchError::TooLarge),
        // A bomb of a thousand to one would fit the limit while it is folded.
        ("200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx", FetchError::Compressed),
        ("404 Not Found\r\ncontent-length: 6\r\n\r\nsecret", FetchError::Status),
        ("206 Partial\r\ncontent-length: 2\r\n\r\nok", FetchError::Status),
        ("302 Found\r\ncontent-length: 0\r\n\r\n", FetchError::Status),
        ("200 OK\r\ncontent-length: 10\r\n\r\nhalf", FetchError::Unreachable),
        ("garbage", FetchError::Unreachable),
    ] {
        let server = Server::start(move |_, mut socket| async move {
            read_request(&mut socket).await;
            let answer = format!("HTTP/1.1 {answer}");
            socket.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        assert_eq!(fetch(&at(&server, "/"), &names).await, Err(why), "{answer}");
        assert!(!why.to_string().contains("secret"));
    }
    let endless = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        socket.write_all(head.as_bytes()).await.unwrap();
        while socket.write_all(b"64\r\n").await.is_ok()
            && socket.write_all(&[b'x'; 100]).await.is_ok()
            && socket.write_all(b"\r\n").await.is_ok()
        {}
    })
    .await;
    assert_eq!(fetch(&at(&endless, "/"), &names).await, Err(FetchError::TooLarge));
}

#[tokio::test]
async fn a_server_that_dribbles_is_left_when_the_time_is_over() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome";
        socket.write_all(head.as_bytes()).await.unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let names = Names::are(&[&["127.0.0.1"]]);
    let limits = FetchLimits { by: Instant::now() + Duration::from_millis(200), ..limits() };
    let fetched = fetcher(rules(), &names).fetch(&at(&server, "/"), limits).await;
    assert_eq!(fetched.unwrap_err(), FetchError::Late);
}
