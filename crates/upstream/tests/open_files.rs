//! Where this process may open no more files, idle connections give way. One test in a process of its own: the limit is
//! everybody's.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use cutover_upstream::{
    Body, Deadlines, Instance, InstanceAddress, InstanceLive, InstanceSettings, Outbound,
    SendError, SendErrorKind, bound_open_connections,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Idle connections at first.
const IDLE: u32 = 20;

/// Connections whose end at the engine is open.
static SERVED: AtomicUsize = AtomicUsize::new(0);

/// An engine that answers whatever it is asked, as often as it is asked.
fn engine() -> InstanceAddress {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        loop {
            match listener.accept() {
                Ok((socket, _)) => {
                    SERVED.fetch_add(1, SeqCst);
                    thread::spawn(move || {
                        answer(socket);
                        SERVED.fetch_sub(1, SeqCst);
                    });
                }
                // No file is left for it now: its end of what is closed goes in a moment.
                Err(_) => thread::yield_now(),
            }
        }
    });
    InstanceAddress::parse(&address).unwrap()
}

fn answer(mut socket: TcpStream) -> Option<()> {
    let mut lines = BufReader::new(socket.try_clone().ok()?).lines();
    while let Some(Ok(line)) = lines.next() {
        if line.is_empty() {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").ok()?;
        }
    }
    None
}

fn instance(address: &InstanceAddress) -> Instance {
    let live = Arc::<InstanceLive>::default();
    Instance::http(address.clone(), InstanceSettings::default(), None, live)
}

async fn ask(instance: &Instance) -> Result<Response<Body>, SendError> {
    let outbound = Outbound {
        method: Method::GET,
        path_and_query: PathAndQuery::from_static("/"),
        headers: HeaderMap::new(),
        body: Vec::new(),
    };
    instance.send(outbound, Deadlines::default()).await
}

/// So many at once: each on a connection of its own, which is in use until the answer is read.
async fn ask_all(instance: &Instance, count: u32) -> Vec<Response<Body>> {
    let mut answers = Vec::new();
    for _ in 0..count {
        answers.push(ask(instance).await.unwrap());
    }
    answers
}

async fn read(answers: Vec<Response<Body>>) {
    for answer in answers {
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
}

/// Opens files until there are no more.
fn use_up() -> Vec<File> {
    std::iter::repeat_with(|| File::open("/dev/null")).map_while(Result::ok).collect()
}

#[tokio::test]
async fn idle_connections_give_way_to_those_that_are_needed() {
    let address = engine();
    let (before, after) = (instance(&address), instance(&address));
    let idle = |instance: &Instance| instance.live().figures().idle;
    read(ask_all(&before, IDLE).await).await;
    assert_eq!(idle(&before), IDLE);

    // Traffic moves: each new connection takes the place of one that waits elsewhere, and no more than that.
    bound_open_connections(usize::try_from(IDLE).unwrap());
    let answers = ask_all(&after, 5).await;
    assert_eq!((idle(&before), after.live().figures().open), (IDLE - 5, 5));
    // What is in use is not closed: all of it ends as it should, though there are more than there should be.
    let more = ask_all(&after, IDLE).await;
    assert_eq!((idle(&before), after.live().figures().open), (0, IDLE + 5));
    read(answers).await;
    read(more).await;
    // Its own wait as well, and are used.
    read(ask_all(&after, 1).await).await;
    assert_eq!(after.live().figures().connects, u64::from(IDLE + 5));

    // Nobody said how many there may be, and there are no files left.
    bound_open_connections(usize::MAX);
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: now.maximum }).unwrap();
    let files = use_up();
    assert!(!files.is_empty() && idle(&after) > 0);
    read(ask_all(&before, 1).await).await;
    assert_eq!((idle(&before), idle(&after)), (1, 0));

    // And none is idle: that is told, and not as the instance's fault.
    while SERVED.load(SeqCst) > 1 {
        thread::yield_now();
    }
    let more = use_up();
    let answer = ask(&before).await.unwrap();
    let error = ask(&before).await.err().unwrap();
    assert_eq!(error.kind(), SendErrorKind::TooManyConnections);
    assert!(error.retry_safe());
    assert!(error.to_string().ends_with(": no file is left for a connection"), "{error}");
    read(vec![answer]).await;
    drop((files, more));
    setrlimit(Resource::Nofile, now).unwrap();
    read(ask_all(&after, 1).await).await;
}
