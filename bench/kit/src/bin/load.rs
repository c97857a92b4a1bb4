//! The load client: one thread, raw HTTP/1.1 over keep-alive connections, one JSON line out.
//!
//! load MODE [--key value ...]
//!   closed  --conns N --secs S           closed loop: N connections, the next request on each reply
//!   open    --rate R --secs S            open loop: request k leaves at start + k/R; latency counts from then
//!   stream  --conns N --secs S           N concurrent SSE streams, each followed by the next until S has passed
//! common: --host 127.0.0.1 --port P --path /v1/chat/completions --model mock --size BYTES
//!         --header 'K: V' (repeatable) --spread MS (stream: starts spread over MS) --count N (stop after N requests)

use hdrhistogram::Histogram;
use kit::{Chunked, bad, contains_token, header, now_ns, parse_usize};
use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Clone)]
struct Opts {
    mode: String,
    host: String,
    port: u16,
    path: String,
    model: String,
    headers: Vec<String>,
    conns: usize,
    secs: f64,
    rate: f64,
    size: usize,
    spread_ms: u64,
    count: u64,
}

fn opts() -> Opts {
    let mut args = std::env::args().skip(1);
    let mut o = Opts {
        mode: args.next().unwrap_or_default(),
        host: "127.0.0.1".into(),
        port: 9100,
        path: "/v1/chat/completions".into(),
        model: "mock".into(),
        headers: vec![],
        conns: 32,
        secs: 5.0,
        rate: 200.0,
        size: 1000,
        spread_ms: 500,
        count: u64::MAX,
    };
    while let Some(k) = args.next() {
        let v = args.next().unwrap_or_else(|| panic!("{k} needs a value"));
        match k.as_str() {
            "--host" => o.host = v,
            "--port" => o.port = v.parse().unwrap(),
            "--path" => o.path = v,
            "--model" => o.model = v,
            "--header" => o.headers.push(v),
            "--conns" => o.conns = v.parse().unwrap(),
            "--secs" => o.secs = v.parse().unwrap(),
            "--rate" => o.rate = v.parse().unwrap(),
            "--size" => o.size = v.parse().unwrap(),
            "--spread" => o.spread_ms = v.parse().unwrap(),
            "--count" => o.count = v.parse().unwrap(),
            _ => panic!("unknown option {k}"),
        }
    }
    o
}

/// A chat request of about `size` bytes: messages first, then model, as the common SDKs write it.
/// The padding is prose with an escape (\n or \") about every 60 bytes and a little UTF-8.
fn request_bytes(o: &Opts, stream: bool) -> Vec<u8> {
    let tail = format!(
        "\"}}],\"model\":\"{}\",\"temperature\":0.7,\"max_tokens\":256{}}}",
        o.model,
        if stream { ",\"stream\":true,\"stream_options\":{\"include_usage\":true}" } else { "" }
    );
    let mut body = String::from(
        "{\"messages\":[{\"role\":\"system\",\"content\":\"You are a helpful assistant. Answer in one sentence.\"},\
         {\"role\":\"user\",\"content\":\"",
    );
    let lines = [
        "Summarise what this function does and why it may fail under load.\\n",
        "fn route(request: Request) -> Result<Backend, Error> {\\n    let key = ",
        "\\\"use-case\\\"; // pick the backend that has the shortest queue\\n",
        "Bitte antworte höflich; voilà le texte à traduire, and then the rest. ",
    ];
    let mut i = 0;
    while body.len() + tail.len() + 80 < o.size {
        body.push_str(lines[i % lines.len()]);
        i += 1;
    }
    while body.len() + tail.len() < o.size {
        body.push('x');
    }
    body.push_str(&tail);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\naccept: {}\r\nuser-agent: bench/1\r\ncontent-length: {}\r\n",
        o.path,
        o.host,
        o.port,
        if stream { "text/event-stream" } else { "application/json" },
        body.len()
    );
    if !o.headers.iter().any(|h| h.to_ascii_lowercase().starts_with("authorization:")) {
        head.push_str("authorization: Bearer sk-bench\r\n");
    }
    for h in &o.headers {
        head.push_str(h);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let mut v = head.into_bytes();
    v.extend_from_slice(body.as_bytes());
    v
}

struct Conn {
    sock: TcpStream,
    buf: Vec<u8>,
}

enum Framing {
    Length(usize),
    Chunked(Chunked),
    Close,
}

struct Reply {
    status: u16,
    framing: Framing,
    close: bool,
}

impl Conn {
    async fn open(o: &Opts) -> io::Result<Conn> {
        let sock = TcpStream::connect((o.host.as_str(), o.port)).await?;
        sock.set_nodelay(true)?;
        Ok(Conn { sock, buf: Vec::with_capacity(16 * 1024) })
    }

    async fn head(&mut self) -> io::Result<Reply> {
        loop {
            if !self.buf.is_empty() {
                let mut hs = [httparse::EMPTY_HEADER; 96];
                let mut r = httparse::Response::new(&mut hs);
                if let httparse::Status::Complete(n) =
                    r.parse(&self.buf).map_err(|_| bad("reply head"))?
                {
                    let status = r.code.unwrap_or(0);
                    let close =
                        header(r.headers, "connection").is_some_and(|v| contains_token(v, "close"));
                    let framing = if header(r.headers, "transfer-encoding")
                        .is_some_and(|v| contains_token(v, "chunked"))
                    {
                        Framing::Chunked(Chunked::default())
                    } else if let Some(l) =
                        header(r.headers, "content-length").and_then(parse_usize)
                    {
                        Framing::Length(l)
                    } else {
                        Framing::Close
                    };
                    self.buf.drain(..n);
                    return Ok(Reply { status, framing, close });
                }
            }
            if self.sock.read_buf(&mut self.buf).await? == 0 {
                return Err(bad("closed before the reply"));
            }
        }
    }

    /// Reads the body; hands over what arrived each time. Returns whether the connection can be used again.
    async fn body(
        &mut self,
        mut reply: Reply,
        mut got: impl FnMut(&[u8], u64),
    ) -> io::Result<bool> {
        let mut plain = Vec::with_capacity(4096);
        let mut fresh = !self.buf.is_empty();
        loop {
            if fresh {
                let t = now_ns();
                match &mut reply.framing {
                    Framing::Length(left) => {
                        let n = (*left).min(self.buf.len());
                        got(&self.buf[..n], t);
                        self.buf.drain(..n);
                        *left -= n;
                    }
                    Framing::Chunked(dec) => {
                        plain.clear();
                        let used = dec.feed(&self.buf, &mut plain)?;
                        self.buf.drain(..used);
                        if !plain.is_empty() {
                            got(&plain, t);
                        }
                    }
                    Framing::Close => {
                        got(&self.buf, t);
                        self.buf.clear();
                    }
                }
            }
            match &reply.framing {
                Framing::Length(0) => return Ok(!reply.close),
                Framing::Chunked(d) if d.done() => return Ok(!reply.close),
                _ => {}
            }
            fresh = true;
            if self.sock.read_buf(&mut self.buf).await? == 0 {
                return match reply.framing {
                    Framing::Close => Ok(false),
                    _ => Err(bad("closed inside the reply")),
                };
            }
        }
    }
}

struct Tally {
    lat: RefCell<Histogram<u64>>,
    ttft: RefCell<Histogram<u64>>,
    transit: RefCell<Histogram<u64>>,
    gap: RefCell<Histogram<u64>>,
    ok: Cell<u64>,
    err: Cell<u64>,
    chunks: Cell<u64>,
    reads: Cell<u64>,
    reconnects: Cell<u64>,
    issued: Cell<u64>,
    last_err: RefCell<String>,
}

fn hist() -> RefCell<Histogram<u64>> {
    RefCell::new(Histogram::new_with_bounds(1, 120_000_000_000, 3).unwrap())
}

impl Tally {
    fn new() -> Tally {
        Tally {
            lat: hist(),
            ttft: hist(),
            transit: hist(),
            gap: hist(),
            ok: Cell::new(0),
            err: Cell::new(0),
            chunks: Cell::new(0),
            reads: Cell::new(0),
            reconnects: Cell::new(0),
            issued: Cell::new(0),
            last_err: RefCell::new(String::new()),
        }
    }

    fn fail(&self, e: impl ToString) {
        self.err.set(self.err.get() + 1);
        *self.last_err.borrow_mut() = e.to_string();
    }
}

/// One request on `slot`'s connection (opened when there is none), from `t0`.
async fn plain_request(o: &Opts, slot: &mut Option<Conn>, req: &[u8], t0: u64, t: &Tally) {
    let done: io::Result<()> = async {
        if slot.is_none() {
            *slot = Some(Conn::open(o).await?);
            t.reconnects.set(t.reconnects.get() + 1);
        }
        let c = slot.as_mut().unwrap();
        c.sock.write_all(req).await?;
        let reply = c.head().await?;
        let status = reply.status;
        let mut sum = 0usize;
        let mut text = Vec::new();
        let again = c
            .body(reply, |b, _| {
                sum += b.len();
                if status != 200 {
                    text.extend_from_slice(b);
                }
            })
            .await?;
        if !again {
            *slot = None;
        }
        if status != 200 || sum < 300 {
            return Err(bad(&format!(
                "status {status}, {sum} bytes: {}",
                String::from_utf8_lossy(&text)
            )));
        }
        Ok(())
    }
    .await;
    match done {
        Ok(()) => {
            t.ok.set(t.ok.get() + 1);
            let _ = t.lat.borrow_mut().record((now_ns() - t0).max(1));
        }
        Err(e) => {
            *slot = None;
            t.fail(e);
        }
    }
}

async fn stream_request(o: &Opts, slot: &mut Option<Conn>, req: &[u8], t: &Tally) {
    let t0 = now_ns();
    let done: io::Result<()> = async {
        if slot.is_none() {
            *slot = Some(Conn::open(o).await?);
            t.reconnects.set(t.reconnects.get() + 1);
        }
        let c = slot.as_mut().unwrap();
        c.sock.write_all(req).await?;
        let reply = c.head().await?;
        let status = reply.status;
        let mut line: Vec<u8> = Vec::with_capacity(1024);
        let (mut seen, mut last, mut ended) = (0u64, 0u64, false);
        let mut text = Vec::new();
        let again = c
            .body(reply, |b, at| {
                t.reads.set(t.reads.get() + 1);
                if status != 200 {
                    text.extend_from_slice(b);
                    return;
                }
                for part in b.split_inclusive(|&x| x == b'\n') {
                    line.extend_from_slice(part);
                    if part.last() != Some(&b'\n') {
                        continue;
                    }
                    if let Some(p) = memchr::memchr(b'@', &line) {
                        let sent = line
                            .get(p + 1..p + 17)
                            .and_then(|h| std::str::from_utf8(h).ok())
                            .and_then(|h| u64::from_str_radix(h, 16).ok());
                        if let Some(sent) = sent {
                            let _ = t.transit.borrow_mut().record(at.saturating_sub(sent).max(1));
                            if seen == 0 {
                                let _ = t.ttft.borrow_mut().record((at - t0).max(1));
                            } else {
                                let _ = t.gap.borrow_mut().record((at - last).max(1));
                            }
                            seen += 1;
                            last = at;
                        }
                    } else if line.starts_with(b"data: [DONE]") || line.starts_with(b"data:[DONE]")
                    {
                        ended = true;
                    }
                    line.clear();
                }
            })
            .await?;
        if !again {
            *slot = None;
        }
        t.chunks.set(t.chunks.get() + seen);
        if status != 200 || seen == 0 || !ended {
            return Err(bad(&format!(
                "status {status}, {seen} chunks, done {ended}: {}",
                String::from_utf8_lossy(&text)
            )));
        }
        Ok(())
    }
    .await;
    match done {
        Ok(()) => {
            t.ok.set(t.ok.get() + 1);
            let _ = t.lat.borrow_mut().record((now_ns() - t0).max(1));
        }
        Err(e) => {
            *slot = None;
            t.fail(e);
        }
    }
}

/// A timer with nanosecond steps (tokio's own has 1 ms).
struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    fn new() -> io::Result<Timer> {
        // SAFETY: timerfd_create returns a new descriptor or -1.
        let fd = unsafe {
            libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is open and owned by nothing else.
        Ok(Timer(unsafe { AsyncFd::register(OwnedFd::from_raw_fd(fd)) }?))
    }

    async fn until(&self, at: u64) -> io::Result<()> {
        if now_ns() >= at {
            return Ok(());
        }
        let spec = libc::itimerspec {
            it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: libc::timespec {
                tv_sec: (at / 1_000_000_000) as i64,
                tv_nsec: (at % 1_000_000_000) as i64,
            },
        };
        // SAFETY: a valid timer descriptor and a valid spec.
        if unsafe {
            libc::timerfd_settime(
                self.0.as_raw_fd(),
                libc::TFD_TIMER_ABSTIME,
                &spec,
                std::ptr::null_mut(),
            )
        } < 0
        {
            return Err(io::Error::last_os_error());
        }
        loop {
            let mut g = self.0.readable().await?;
            let mut n = [0u8; 8];
            let r = g.try_io(|fd| {
                // SAFETY: reads at most 8 bytes into `n`.
                let r = unsafe { libc::read(fd.as_raw_fd(), n.as_mut_ptr().cast(), 8) };
                if r < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
            });
            if let Ok(r) = r {
                return r;
            }
        }
    }
}

fn quant(name: &str, h: &RefCell<Histogram<u64>>) -> String {
    let h = h.borrow();
    if h.is_empty() {
        return String::new();
    }
    let us = |q: f64| h.value_at_quantile(q) as f64 / 1000.0;
    format!(
        ",\"{name}_mean_us\":{:.1},\"{name}_p50_us\":{:.1},\"{name}_p90_us\":{:.1},\"{name}_p99_us\":{:.1},\"{name}_p999_us\":{:.1},\"{name}_max_us\":{:.1}",
        h.mean() / 1000.0,
        us(0.5),
        us(0.9),
        us(0.99),
        us(0.999),
        h.max() as f64 / 1000.0
    )
}

fn main() -> io::Result<()> {
    let o = Rc::new(opts());
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&rt, async move {
        let t = Rc::new(Tally::new());
        let req = Rc::new(request_bytes(&o, o.mode == "stream"));
        let begin = now_ns();
        let end = begin + (o.secs * 1e9) as u64;
        let mut tasks = Vec::new();
        match o.mode.as_str() {
            "closed" | "stream" => {
                for i in 0..o.conns {
                    let (o, t, req) = (o.clone(), t.clone(), req.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        if o.mode == "stream" && o.spread_ms > 0 {
                            let wait = o.spread_ms as f64 * i as f64 / o.conns as f64;
                            tokio::time::sleep(Duration::from_micros((wait * 1000.0) as u64)).await;
                        }
                        let mut slot = None;
                        while now_ns() < end && t.issued.get() < o.count {
                            t.issued.set(t.issued.get() + 1);
                            if o.mode == "stream" {
                                stream_request(&o, &mut slot, &req, &t).await;
                            } else {
                                plain_request(&o, &mut slot, &req, now_ns(), &t).await;
                            }
                        }
                    }));
                }
            }
            "open" => {
                let idle: Rc<RefCell<Vec<Conn>>> = Rc::default();
                let timer = Timer::new()?;
                let live = Rc::new(Cell::new(0usize));
                let mut k = 0u64;
                loop {
                    let due = begin + (k as f64 / o.rate * 1e9) as u64;
                    if due >= end {
                        break;
                    }
                    k += 1;
                    timer.until(due).await?;
                    t.issued.set(t.issued.get() + 1);
                    if live.get() >= 4096 {
                        t.fail("more than 4096 requests under way");
                        continue;
                    }
                    live.set(live.get() + 1);
                    let (o, t, req, idle, live) = (o.clone(), t.clone(), req.clone(), idle.clone(), live.clone());
                    tasks.push(tokio::task::spawn_local(async move {
                        let mut slot = idle.borrow_mut().pop();
                        plain_request(&o, &mut slot, &req, due, &t).await;
                        if let Some(c) = slot {
                            idle.borrow_mut().push(c);
                        }
                        live.set(live.get() - 1);
                    }));
                }
            }
            m => panic!("unknown mode {m:?}"),
        }
        let limit = Duration::from_secs_f64(o.secs + 30.0);
        let late = tokio::time::timeout(limit, async {
            for task in tasks {
                let _ = task.await;
            }
        })
        .await
        .is_err();
        let secs = (now_ns() - begin) as f64 / 1e9;
        println!(
            "{{\"mode\":\"{}\",\"secs\":{secs:.3},\"ok\":{},\"err\":{},\"late\":{late},\"rps\":{:.1},\"chunks\":{},\"chunks_per_s\":{:.1},\"reads\":{},\"conns_opened\":{},\"body_bytes\":{}{}{}{}{},\"last_err\":{:?}}}",
            o.mode,
            t.ok.get(),
            t.err.get(),
            t.ok.get() as f64 / secs,
            t.chunks.get(),
            t.chunks.get() as f64 / secs,
            t.reads.get(),
            t.reconnects.get(),
            req.len(),
            quant("lat", &t.lat),
            quant("ttft", &t.ttft),
            quant("transit", &t.transit),
            quant("gap", &t.gap),
            t.last_err.borrow().chars().filter(|c| c.is_ascii() && *c != '\\' && *c != '"').take(300).collect::<String>(),
        );
        Ok(())
    })
}
