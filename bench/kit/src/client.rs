//! The load client's connections: raw HTTP/1.1, one request at a time on each.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ask::Opts;
use crate::tally::Tally;
use crate::{Chunked, bad, contains_token, header, now_ns, parse_usize};

pub struct Conn {
    pub sock: TcpStream,
    pub buf: Vec<u8>,
}

enum Framing {
    Length(usize),
    Chunked(Chunked),
    Close,
}

pub struct Reply {
    pub status: u16,
    framing: Framing,
    close: bool,
}

impl Conn {
    pub async fn open(o: &Opts) -> io::Result<Conn> {
        let sock = TcpStream::connect((o.host.as_str(), o.port)).await?;
        sock.set_nodelay(true)?;
        Ok(Conn { sock, buf: Vec::with_capacity(16 * 1024) })
    }

    pub async fn head(&mut self) -> io::Result<Reply> {
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
    pub async fn body(
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

/// One request on `slot`'s connection (opened when there is none), from `t0`.
pub async fn plain_request(o: &Opts, slot: &mut Option<Conn>, req: &[u8], t0: u64, t: &Tally) {
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

pub async fn stream_request(o: &Opts, slot: &mut Option<Conn>, req: &[u8], t: &Tally) {
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
