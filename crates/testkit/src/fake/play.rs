//! Sends an answer as the script wants it: gates, pace, comments, odd pieces, and every fault.

use std::io::{self, ErrorKind};
use std::time::Duration;

use serde_json::{Value, json};

use super::Persona;
use super::http::{Connection, Framing, Head};
use super::openai::Event;
use super::refusal::{self, Refusal};
use super::script::{Fault, Reply};

/// How often one that only seems alive says so.
const ALIVE_EVERY: Duration = Duration::from_millis(20);

/// How events are framed.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Style {
    ServerSentEvents,
    /// The same with CRLF and without `[DONE]`: Gemini's.
    Unmarked,
    /// With their names before them and without `[DONE]`: those of Responses.
    Named,
    Lines,
}

/// A stream ready to be sent.
pub(super) struct Stream<'a> {
    pub(super) style: Style,
    pub(super) events: Vec<Event>,
    pub(super) reply: &'a Reply,
    pub(super) persona: Persona,
    /// An event that carries filler of about so many bytes as content, for the giant ones.
    pub(super) filler: (String, String),
}

/// What follows after a fault inside a stream.
enum After {
    GoOn,
    End,
}

/// Less body than announced.
const HALF: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n\
      {\"id\":\"chatcmpl-1\",\"object\":\"chat.comp";

fn gone() -> io::Error {
    ErrorKind::ConnectionAborted.into()
}

/// Waits as the script says before anything is sent.
pub(super) fn hold_headers(connection: &Connection, reply: &Reply) -> io::Result<()> {
    match &reply.before_headers {
        Some(gate) if !gate.pass(|| connection.gone()) => Err(gone()),
        _ => Ok(()),
    }
}

/// Faults that take the place of the whole response. False: there is none, answer well.
pub(super) fn instead(
    connection: &mut Connection,
    reply: &Reply,
    (persona, native): (Persona, bool),
) -> io::Result<bool> {
    let page: &[u8] = b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>";
    let plain = |status, content_type| Head { status, content_type, extra: &reply.headers };
    match &reply.fault {
        Some(Fault::Reset) => connection.reset(),
        Some(Fault::Close) => {}
        Some(Fault::Raw(bytes)) => connection.raw(bytes)?,
        Some(Fault::Html(status)) => {
            connection.respond(&plain(*status, "text/html"), page)?;
            return Ok(true);
        }
        Some(Fault::NotJson) => {
            connection.respond(&plain(200, "application/json"), b"\x00\xff not json {{{")?;
            return Ok(true);
        }
        Some(Fault::Redirect(location)) => {
            let extra = [("location".to_owned(), location.clone())];
            let head = Head { status: 302, content_type: "text/plain", extra: &extra };
            connection.respond(&head, b"")?;
            return Ok(true);
        }
        Some(Fault::Status { status, retry_after, retry_after_ms }) => {
            let google = persona == Persona::Gemini;
            let refusal = match retry_after {
                Some(seconds) if google => Refusal::Wait(*status, seconds.clone()),
                _ => Refusal::Status(*status),
            };
            let rendered = refusal::render(&refusal, persona, native);
            let mut extra = reply.headers.clone();
            // Google says it in the body alone.
            let retry_after = retry_after.as_ref().filter(|_| !google);
            extra.extend(retry_after.map(|text| ("retry-after".to_owned(), text.clone())));
            extra.extend(
                retry_after_ms.map(|count| ("retry-after-ms".to_owned(), count.to_string())),
            );
            let content_type = rendered.content_type;
            let head = Head { status: rendered.status, content_type, extra: &extra };
            connection.respond(&head, rendered.body.as_bytes())?;
            return Ok(true);
        }
        Some(Fault::LengthAndChunked) => connection.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\
              transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        )?,
        Some(Fault::TwoLengths) => connection.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\
              content-length: 40\r\n\r\n{}",
        )?,
        Some(Fault::Half) => connection.raw(HALF)?,
        Some(Fault::HalfThen(gate)) => {
            connection.raw(HALF)?;
            gate.pass(|| connection.gone());
        }
        Some(Fault::HugeHeaders(bytes)) => {
            let filler = "x".repeat(*bytes);
            let text =
                format!("HTTP/1.1 200 OK\r\nx-filler: {filler}\r\ncontent-length: 0\r\n\r\n");
            connection.raw(text.as_bytes())?;
        }
        _ => return Ok(false),
    }
    // These leave the connection unusable: the caller closes it.
    Err(ErrorKind::Other.into())
}

impl Stream<'_> {
    /// Sends the whole stream.
    pub(super) fn play(&self, connection: &mut Connection) -> io::Result<()> {
        let content_type = match self.style {
            Style::ServerSentEvents | Style::Unmarked | Style::Named => "text/event-stream",
            Style::Lines => "application/x-ndjson",
        };
        let head = Head { status: 200, content_type, extra: &self.reply.headers };
        connection.head(&head, Framing::Chunked)?;
        if let Some(gate) = &self.reply.before_first
            && !gate.pass(|| connection.gone())
        {
            return Err(gone());
        }
        let mut content = 0;
        let mut faulted = false;
        let marked = self.ends_by_mark();
        for (position, event) in self.events.iter().enumerate() {
            let due = event.content && content == self.reply.after;
            let overdue = position + 1 == self.events.len();
            if !faulted && (due || overdue) {
                faulted = true;
                if matches!(self.fault(connection)?, After::End) {
                    return connection.finish();
                }
            }
            if event.content {
                content += 1;
                self.hold_chunk(connection)?;
            }
            if overdue && !marked && matches!(self.reply.fault, Some(Fault::NoDone)) {
                return connection.finish();
            }
            self.send(connection, event.data.as_bytes())?;
        }
        if marked && !matches!(self.reply.fault, Some(Fault::NoDone)) {
            self.send(connection, b"[DONE]")?;
        }
        connection.finish()
    }

    /// Whether the end is an event of its own.
    fn ends_by_mark(&self) -> bool {
        self.style == Style::ServerSentEvents
    }

    fn hold_chunk(&self, connection: &Connection) -> io::Result<()> {
        if let Some(gate) = &self.reply.per_chunk
            && !gate.pass(|| connection.gone())
        {
            return Err(gone());
        }
        if let Some(pace) = self.reply.pace {
            std::thread::sleep(pace);
        }
        Ok(())
    }

    /// Does what the script's fault does inside a stream.
    fn fault(&self, connection: &mut Connection) -> io::Result<After> {
        match &self.reply.fault {
            Some(Fault::Stall(gate)) if !gate.pass(|| connection.gone()) => return Err(gone()),
            Some(Fault::Cut) => {
                connection.reset();
                return Err(ErrorKind::Other.into());
            }
            Some(Fault::HalfEvent) => {
                let data = self.framed(self.events[0].data.as_bytes());
                connection.piece(&data[..data.len() / 2])?;
                return Ok(After::End);
            }
            Some(Fault::Malformed) => self.send(connection, b"{\"choices\":[{\"delta\":")?,
            Some(Fault::EarlyEnd) => return Ok(After::End),
            Some(Fault::EarlyDone) => {
                if self.ends_by_mark() {
                    self.send(connection, b"[DONE]")?;
                }
                return Ok(After::End);
            }
            Some(Fault::ErrorEvent) => {
                self.error_event(connection)?;
                return Ok(After::End);
            }
            Some(Fault::EndlessLine) => {
                let filler = vec![b'a'; 64 * 1024];
                connection.piece(self.prefix())?;
                connection.piece(self.filler.0.as_bytes())?;
                loop {
                    connection.piece(&filler)?;
                }
            }
            Some(Fault::Alive(bytes)) => loop {
                connection.piece(bytes)?;
                std::thread::sleep(ALIVE_EVERY);
            },
            Some(Fault::HugeEvent(bytes)) => self.huge_event(connection, *bytes)?,
            Some(Fault::BadUtf8) => {
                let mut data = self.filler.0.clone().into_bytes();
                data.extend_from_slice(b"ok \xff\xfe\xc3 ");
                data.extend_from_slice(self.filler.1.as_bytes());
                self.send(connection, &data)?;
            }
            _ => {}
        }
        Ok(After::GoOn)
    }

    fn error_event(&self, connection: &mut Connection) -> io::Result<()> {
        if self.style == Style::Named {
            let error = json!({"type": "error", "sequence_number": 99, "code": "server_error",
                "message": "The server had an error.", "param": null});
            return self.send(connection, error.to_string().as_bytes());
        }
        let native = self.style != Style::ServerSentEvents;
        if self.persona == Persona::Ollama && !native {
            // What a killed runner really leaves on Ollama's /v1: no error, an empty model name.
            let text = self.filler_event("").replace("\"model\":\"filler\"", "\"model\":\"\"");
            return self.send(connection, text.as_bytes());
        }
        let error = refusal::in_stream(self.persona, native).to_string();
        self.send(connection, error.as_bytes())?;
        // vLLM says [DONE] even after an error.
        if self.persona == Persona::Vllm { self.send(connection, b"[DONE]") } else { Ok(()) }
    }

    fn huge_event(&self, connection: &mut Connection, bytes: usize) -> io::Result<()> {
        let filler = vec![b'a'; 64 * 1024];
        connection.piece(self.prefix())?;
        connection.piece(self.filler.0.as_bytes())?;
        let mut left = bytes;
        while left > 0 {
            let count = left.min(filler.len());
            connection.piece(&filler[..count])?;
            left -= count;
        }
        connection.piece(self.filler.1.as_bytes())?;
        connection.piece(self.line_end().as_bytes())
    }

    fn filler_event(&self, content: &str) -> String {
        format!("{}{content}{}", self.filler.0, self.filler.1)
    }

    fn prefix(&self) -> &'static [u8] {
        match self.style {
            Style::ServerSentEvents | Style::Unmarked | Style::Named => b"data: ",
            Style::Lines => b"",
        }
    }

    fn line_end(&self) -> &'static str {
        match (self.style, self.reply.carriage_returns) {
            (Style::ServerSentEvents, false) | (Style::Named, _) => "\n\n",
            (Style::ServerSentEvents, true) | (Style::Unmarked, _) => "\r\n\r\n",
            (Style::Lines, _) => "\n",
        }
    }

    fn framed(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(data.len() + 32);
        if self.reply.comments && self.style != Style::Lines {
            bytes.extend_from_slice(b": keep-alive\n\n");
        }
        let named =
            || serde_json::from_slice::<Value>(data).ok()?["type"].as_str().map(str::to_owned);
        if let Some(name) = named().filter(|_| self.style == Style::Named) {
            bytes.extend_from_slice(format!("event: {name}\n").as_bytes());
        }
        bytes.extend_from_slice(self.prefix());
        bytes.extend_from_slice(data);
        bytes.extend_from_slice(self.line_end().as_bytes());
        bytes
    }

    fn send(&self, connection: &mut Connection, data: &[u8]) -> io::Result<()> {
        let bytes = self.framed(data);
        match self.reply.dribble {
            None => connection.piece(&bytes),
            Some(size) => bytes.chunks(size).try_for_each(|piece| connection.piece(piece)),
        }
    }
}
