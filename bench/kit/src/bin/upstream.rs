//! A mock OpenAI-compatible upstream that costs as little as possible.
//!
//! POST <anything>/chat/completions  fixed reply of about 600 bytes, or an SSE stream
//! GET  <anything>/models, /health   fixed replies
//! GET  /__mock?delay=MS&chunks=N&interval=MS   sets the behaviour for later requests
//! GET  /__stats                     requests served since start
//!
//! Each streamed content chunk carries `@` + 16 hex digits: CLOCK_MONOTONIC at its write, so the
//! client on the same machine can tell how long that chunk was under way.

use kit::{Chunked, bad, contains_token, header, now_ns, parse_usize};
use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

struct Conf {
    delay_ms: Cell<u64>,
    chunks: Cell<u64>,
    interval_ms: Cell<u64>,
    served: Cell<u64>,
}

const ID: &str = "chatcmpl-BqMockMockMockMockMockMockMo";

fn reply_body() -> String {
    let text = "The quick brown fox jumps over the lazy dog while the proxy between us adds as little as it can. \
                This sentence is here to bring the reply to a usual length for a short answer.";
    format!(
        "{{\"id\":\"{ID}\",\"object\":\"chat.completion\",\"created\":1764000000,\"model\":\"mock\",\
         \"choices\":[{{\"index\":0,\"message\":{{\"role\":\"assistant\",\"content\":\"{text}\",\"refusal\":null}},\
         \"logprobs\":null,\"finish_reason\":\"stop\"}}],\"usage\":{{\"prompt_tokens\":200,\"completion_tokens\":41,\
         \"total_tokens\":241,\"prompt_tokens_details\":{{\"cached_tokens\":0}},\
         \"completion_tokens_details\":{{\"reasoning_tokens\":0}}}},\"system_fingerprint\":\"fp_mock\"}}"
    )
}

fn full(content_type: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nx-request-id: req_mock\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn push_chunk(out: &mut Vec<u8>, data: &str) {
    let _ = write!(out, "{:x}\r\ndata: {data}\n\n\r\n", data.len() + 8);
}

fn delta(delta: &str, finish: &str) -> String {
    format!(
        "{{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"mock\",\
         \"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\",\"choices\":[{{\"index\":0,\
         \"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}]}}"
    )
}

async fn stream(sock: &mut TcpStream, conf: &Conf) -> io::Result<()> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
          x-request-id: req_mock\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    push_chunk(&mut out, &delta("{\"role\":\"assistant\",\"content\":\"\"}", "null"));
    sock.write_all(&out).await?;
    let step = Duration::from_millis(conf.interval_ms.get());
    let mut next = tokio::time::Instant::now();
    for i in 0..conf.chunks.get() {
        if step.is_zero() {
            tokio::task::yield_now().await;
        } else if i > 0 {
            next += step;
            tokio::time::sleep_until(next).await;
        }
        out.clear();
        push_chunk(&mut out, &delta(&format!("{{\"content\":\"@{:016x} \"}}", now_ns()), "null"));
        sock.write_all(&out).await?;
    }
    out.clear();
    push_chunk(&mut out, &delta("{}", "\"stop\""));
    push_chunk(
        &mut out,
        &format!(
            "{{\"id\":\"{ID}\",\"object\":\"chat.completion.chunk\",\"created\":1764000000,\"model\":\"mock\",\
             \"service_tier\":\"default\",\"system_fingerprint\":\"fp_mock\",\"choices\":[],\"usage\":\
             {{\"prompt_tokens\":200,\"completion_tokens\":50,\"total_tokens\":250}}}}"
        ),
    );
    push_chunk(&mut out, "[DONE]");
    out.extend_from_slice(b"0\r\n\r\n");
    sock.write_all(&out).await
}

fn set(conf: &Conf, target: &str) {
    for pair in target.split_once('?').map_or("", |p| p.1).split('&') {
        if let Some((k, v)) = pair.split_once('=') {
            let v = v.parse().unwrap_or(0);
            match k {
                "delay" => conf.delay_ms.set(v),
                "chunks" => conf.chunks.set(v),
                "interval" => conf.interval_ms.set(v),
                _ => {}
            }
        }
    }
}

async fn serve(mut sock: TcpStream, conf: Rc<Conf>, chat: Rc<Vec<u8>>) -> io::Result<()> {
    sock.set_nodelay(true)?;
    let mut buf: Vec<u8> = Vec::with_capacity(16 * 1024);
    let mut body: Vec<u8> = Vec::new();
    loop {
        // the head
        let (head, target, length, chunked, close, expect) = loop {
            if !buf.is_empty() {
                let mut hs = [httparse::EMPTY_HEADER; 96];
                let mut req = httparse::Request::new(&mut hs);
                if let httparse::Status::Complete(n) = req.parse(&buf).map_err(|_| bad("head"))? {
                    let conn = header(req.headers, "connection").unwrap_or(b"");
                    break (
                        n,
                        req.path.unwrap_or("").to_owned(),
                        header(req.headers, "content-length").and_then(parse_usize).unwrap_or(0),
                        header(req.headers, "transfer-encoding")
                            .is_some_and(|v| contains_token(v, "chunked")),
                        contains_token(conn, "close")
                            || (req.version == Some(0) && !contains_token(conn, "keep-alive")),
                        header(req.headers, "expect").is_some(),
                    );
                }
            }
            if sock.read_buf(&mut buf).await? == 0 {
                return Ok(());
            }
        };
        if expect {
            sock.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        // the body
        let whole: &[u8];
        if chunked {
            body.clear();
            buf.drain(..head);
            let mut dec = Chunked::default();
            loop {
                let used = dec.feed(&buf, &mut body)?;
                buf.drain(..used);
                if dec.done() {
                    break;
                }
                if sock.read_buf(&mut buf).await? == 0 {
                    return Ok(());
                }
            }
            whole = &body;
        } else {
            let need = head + length;
            if buf.capacity() < need {
                buf.reserve(need - buf.len());
            }
            while buf.len() < need {
                if sock.read_buf(&mut buf).await? == 0 {
                    return Ok(());
                }
            }
            whole = &buf[head..need];
        }
        if target.contains("/chat/completions") {
            conf.served.set(conf.served.get() + 1);
            let wants_stream = match memchr::memmem::find(whole, b"\"stream\"") {
                Some(at) => contains_token(&whole[at..whole.len().min(at + 20)], "true"),
                None => false,
            };
            if conf.delay_ms.get() > 0 {
                tokio::time::sleep(Duration::from_millis(conf.delay_ms.get())).await;
            }
            if wants_stream {
                stream(&mut sock, &conf).await?;
            } else {
                sock.write_all(&chat).await?;
            }
        } else if target.starts_with("/__mock") {
            set(&conf, &target);
            sock.write_all(&full("text/plain", "ok")).await?;
        } else if target.starts_with("/__stats") {
            sock.write_all(&full("text/plain", &conf.served.get().to_string())).await?;
        } else {
            let models = "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\",\"created\":1764000000,\"owned_by\":\"mock\"}]}";
            sock.write_all(&full("application/json", models)).await?;
        }
        if !chunked {
            buf.drain(..head + length);
        }
        if buf.capacity() > 64 * 1024 && buf.is_empty() && length < 16 * 1024 {
            buf = Vec::with_capacity(16 * 1024);
        }
        if close {
            return Ok(());
        }
    }
}

fn main() -> io::Result<()> {
    let port: u16 = std::env::args().nth(1).and_then(|p| p.parse().ok()).unwrap_or(9100);
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&rt, async move {
        let conf = Rc::new(Conf {
            delay_ms: Cell::new(0),
            chunks: Cell::new(50),
            interval_ms: Cell::new(10),
            served: Cell::new(0),
        });
        let chat = Rc::new(full("application/json", &reply_body()));
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        eprintln!("mock upstream on 127.0.0.1:{port}, reply body {} bytes", reply_body().len());
        loop {
            let (sock, _) = listener.accept().await?;
            let (conf, chat) = (conf.clone(), chat.clone());
            tokio::task::spawn_local(async move {
                let _ = serve(sock, conf, chat).await;
            });
        }
    })
}
