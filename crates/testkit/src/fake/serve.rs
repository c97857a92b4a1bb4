//! One connection of a fake: requests in, answers out.

use std::io::{self, ErrorKind};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::ask::Ask;
use super::gate::Gate;
use super::http::{Connection, Framing, Head};
use super::info::{self, Moment};
use super::play::{self, Stream, Style};
use super::refusal::{self, Refusal};
use super::script::{self, Reply};
use super::seen::Seen;
use super::{Persona, Shared, embeddings, gemini, ollama, openai, responses};

/// Serves until either side closes.
pub(super) fn connection(stream: TcpStream, shared: &Shared) {
    let mut connection = Connection::new(stream, shared.recorder.clone());
    while let Ok(Some(seen)) = connection.read_request() {
        let request = shared.recorder.begin(seen.clone());
        let exchange = Exchange { shared, seen: &seen, request };
        let outcome = exchange.answer(&mut connection);
        let left = matches!(&outcome, Err(error) if error.kind() != ErrorKind::Other);
        shared.recorder.end(request, !left);
        if outcome.is_err() || seen.header("connection") == Some("close") {
            return;
        }
    }
}

/// A fetch whose first line is told at once, and the others when the gate opens; who asked may leave before.
fn fetch(
    connection: &mut Connection,
    (head, body): (&Head<'_>, &[u8]),
    gate: &Gate,
) -> io::Result<()> {
    let first = body.iter().position(|&byte| byte == b'\n').map_or(body.len(), |at| at + 1);
    connection.head(head, Framing::Length(body.len()))?;
    connection.raw(&body[..first])?;
    if !gate.pass(|| connection.gone()) {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    connection.raw(&body[first..])
}

struct Exchange<'a> {
    shared: &'a Shared,
    seen: &'a Seen,
    request: usize,
}

/// A JSON answer or a refusal.
type Outcome = Result<Value, Refusal>;

impl Exchange<'_> {
    fn answer(&self, connection: &mut Connection) -> io::Result<()> {
        let setup = &self.shared.setup;
        if self.shared.script().loading {
            return self.outcome(connection, &[], Err(Refusal::Loading));
        }
        if !self.allowed() {
            return self.outcome(connection, &[], Err(Refusal::Key));
        }
        if !self.seen.is_inference() {
            if let Some(ordered) = self.order(connection) {
                return ordered;
            }
            if let Some((model, gemini::Verb::Count)) = gemini::Verb::of(self.seen.path()) {
                let counted = self.google_body(gemini::Verb::Count);
                let counted = counted.and_then(|body| gemini::count(model, &body, setup));
                return self.outcome(connection, &[], counted);
            }
            let (models, loaded) = {
                let script = self.shared.script();
                (script.shelf.models(setup), script.loaded)
            };
            let moment = Moment {
                setup,
                models,
                loaded,
                in_flight: self.shared.recorder.counts().in_flight,
            };
            return match info::answer(self.seen.path(), &moment) {
                Some(page) => {
                    let head =
                        Head { status: page.status, content_type: page.content_type, extra: &[] };
                    connection.respond(&head, page.body.as_bytes())
                }
                None => self.outcome(connection, &[], Err(Refusal::NoRoute)),
            };
        }
        let reply = self.reply();
        play::hold_headers(connection, &reply)?;
        if play::instead(connection, &reply, (setup.persona, self.native()))? {
            return Ok(());
        }
        match serde_json::from_slice::<Value>(&self.seen.body) {
            Err(_) => self.outcome(connection, &[], Err(Refusal::BadJson)),
            Ok(body) => self.infer(connection, &reply, &body),
        }
    }

    /// Fetching, showing and removing models; None: the request is about something else.
    fn order(&self, connection: &mut Connection) -> Option<io::Result<()>> {
        if !self.native() {
            return None;
        }
        let setup = &self.shared.setup;
        let told = self.shared.script().shelf.order(setup, self.seen)?;
        let (status, content_type) = (told.status, told.content_type);
        let head = Head { status, content_type, extra: &[] };
        match &setup.pull_gate {
            Some(gate) if self.seen.path() == "/api/pull" => {
                Some(fetch(connection, (&head, told.body.as_bytes()), gate))
            }
            _ => Some(connection.respond(&head, told.body.as_bytes())),
        }
    }

    fn native(&self) -> bool {
        match self.shared.setup.persona {
            Persona::Ollama => self.seen.path().starts_with("/api/"),
            Persona::Gemini => !self.seen.path().contains("/openai/"),
            _ => false,
        }
    }

    fn allowed(&self) -> bool {
        let path = self.seen.path();
        let Some(key) = &self.shared.setup.key else { return true };
        let open =
            matches!(path, "/health" | "/metrics") && self.shared.setup.persona != Persona::OpenAi;
        if self.shared.setup.persona == Persona::Gemini && self.native() {
            return self.seen.header("x-goog-api-key") == Some(key);
        }
        open || self.seen.header("authorization") == Some(&format!("Bearer {key}"))
    }

    /// The script's word on this request.
    fn reply(&self) -> Reply {
        let text = String::from_utf8_lossy(&self.seen.body);
        let mut script = self.shared.script();
        if let Some(marker) = script::marker(&text) {
            let met = script.markers.entry(marker.text).or_default();
            *met += 1;
            if marker.times.is_none_or(|times| *met <= times) {
                return marker.reply;
            }
            return Reply::default();
        }
        script.once.pop_front().unwrap_or_else(|| script.always.clone())
    }

    fn infer(&self, connection: &mut Connection, reply: &Reply, body: &Value) -> io::Result<()> {
        let path = self.seen.path();
        if path.ends_with("/embeddings") || path.ends_with("/api/embed") {
            return self.outcome(connection, &reply.headers, self.embed(body));
        }
        if self.native() && self.shared.setup.persona == Persona::Gemini {
            return self.infer_as_google(connection, reply);
        }
        if self.native() {
            return self.infer_natively(connection, reply, body);
        }
        if path.ends_with("/responses") {
            return self.infer_as_responses(connection, reply, body);
        }
        let chat = path.ends_with("/chat/completions");
        if self.shared.setup.persona == Persona::Gemini
            && let Err(refusal) = gemini::check_compatible(body)
        {
            return self.outcome(connection, &reply.headers, Err(refusal));
        }
        let ask = match Ask::openai(body, &self.shared.setup, chat) {
            Ok(ask) => ask,
            Err(refusal) => return self.outcome(connection, &reply.headers, Err(refusal)),
        };
        let answer = ask.answer(reply, &self.shared.setup);
        let persona = self.shared.setup.persona;
        // Ollama's ids repeat after 999 requests.
        let number = if persona == Persona::Ollama { self.request % 999 } else { self.request };
        let voice = openai::Voice {
            persona,
            id: format!(
                "chatcmpl-{}{number}",
                if persona == Persona::Ollama { "" } else { "fake" }
            ),
            ask: &ask,
            answer: &answer,
            usage: !reply.no_usage,
            chat,
        };
        if !ask.stream {
            return self.outcome(connection, &reply.headers, Ok(voice.whole()));
        }
        let filler = (
            "{\"id\":\"chatcmpl-fake\",\"object\":\"chat.completion.chunk\",\
             \"created\":1795000000,\"model\":\"filler\",\"choices\":[{\"index\":0,\
             \"finish_reason\":null,\"delta\":{\"content\":\"",
            "\"}}]}",
        );
        let stream = Stream {
            style: Style::ServerSentEvents,
            events: voice.events(),
            reply,
            persona,
            filler: (filler.0.to_owned(), filler.1.to_owned()),
        };
        stream.play(connection)
    }

    fn infer_as_responses(
        &self,
        connection: &mut Connection,
        reply: &Reply,
        body: &Value,
    ) -> io::Result<()> {
        let setup = &self.shared.setup;
        let asked = match setup.persona {
            Persona::OpenAi => responses::as_chat(body),
            // The others' own form of it is not what OpenAI's is.
            _ => Err(Refusal::NoRoute),
        };
        let ask = match asked.and_then(|chat| Ask::openai(&chat, setup, true)) {
            Ok(ask) => ask,
            Err(refusal) => return self.outcome(connection, &reply.headers, Err(refusal)),
        };
        let answer = ask.answer(reply, setup);
        let voice = responses::Voice { number: self.request, body, ask: &ask, answer: &answer };
        if !ask.stream {
            return self.outcome(connection, &reply.headers, Ok(voice.whole()));
        }
        let filler = (
            "{\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_f\",\
             \"output_index\":0,\"content_index\":0,\"logprobs\":[],\"delta\":\"",
            "\"}",
        );
        let stream = Stream {
            style: Style::Named,
            events: voice.events(),
            reply,
            persona: setup.persona,
            filler: (filler.0.to_owned(), filler.1.to_owned()),
        };
        stream.play(connection)
    }

    /// The body, checked as Google does.
    fn google_body(&self, verb: gemini::Verb) -> Outcome {
        let body: Value = serde_json::from_slice(&self.seen.body).map_err(|_| Refusal::BadJson)?;
        let body = gemini::in_camel_case(body);
        if let Some(spec) = &self.shared.setup.spec {
            let checked = spec.check(verb.request_type(), &body);
            checked.map_err(|message| Refusal::Argument { message })?;
        }
        Ok(body)
    }

    fn infer_as_google(&self, connection: &mut Connection, reply: &Reply) -> io::Result<()> {
        let setup = &self.shared.setup;
        let refuse = |connection: &mut Connection, refusal| {
            self.outcome(connection, &reply.headers, Err(refusal))
        };
        let Some((model, verb)) = gemini::Verb::of(self.seen.path()) else {
            return refuse(connection, Refusal::NoRoute);
        };
        let read = self.google_body(verb).and_then(|body| match verb {
            gemini::Verb::Embed | gemini::Verb::BatchEmbed => Ok((None, embeddings::google(&body))),
            _ => {
                gemini::check(model, &body)?;
                Ok((Some(gemini::ask(model, &body, setup)?), Value::Null))
            }
        });
        let ask = match read {
            Ok((Some(ask), _)) => ask,
            Ok((None, vectors)) => return self.outcome(connection, &reply.headers, Ok(vectors)),
            Err(refusal) => return refuse(connection, refusal),
        };
        let answer = ask.answer(reply, setup);
        let voice = gemini::Voice {
            id: format!("Fake{}", self.request),
            ask: &ask,
            answer: &answer,
            usage: !reply.no_usage,
            reply,
        };
        if verb != gemini::Verb::Stream {
            return self.outcome(connection, &reply.headers, Ok(voice.whole()));
        }
        let filler = (
            "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"",
            "\"}],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"filler\"}",
        );
        let stream = Stream {
            style: Style::Unmarked,
            events: voice.events(),
            reply,
            persona: Persona::Gemini,
            filler: (filler.0.to_owned(), filler.1.to_owned()),
        };
        stream.play(connection)
    }

    fn infer_natively(
        &self,
        connection: &mut Connection,
        reply: &Reply,
        body: &Value,
    ) -> io::Result<()> {
        let verb = if self.seen.path() == "/api/chat" {
            ollama::Verb::Chat
        } else {
            ollama::Verb::Generate
        };
        let empty = body["messages"].as_array().is_none_or(Vec::is_empty)
            && body["prompt"].as_str().is_none_or(str::is_empty);
        if empty {
            let outcome = self.load_or_unload(connection, body)?;
            return self.outcome(connection, &reply.headers, outcome);
        }
        let setup = &self.shared.setup;
        let context = body["options"]["num_ctx"].as_u64().unwrap_or(setup.context);
        let ask = match Ask::ollama(body, setup, context) {
            Ok(ask) => ask,
            Err(refusal) => return self.outcome(connection, &reply.headers, Err(refusal)),
        };
        let load_duration = match self.load(connection, context)? {
            Ok(nanoseconds) => nanoseconds,
            Err(refusal) => return self.outcome(connection, &reply.headers, Err(refusal)),
        };
        let answer = ask.answer(reply, setup);
        let usage = !reply.no_usage;
        let voice = ollama::Voice { verb, ask: &ask, answer: &answer, usage, load_duration };
        if !ask.stream {
            return self.outcome(connection, &reply.headers, Ok(voice.whole()));
        }
        let filler = (
            "{\"model\":\"filler\",\"created_at\":\"2026-11-21T08:42:10Z\",\
              \"message\":{\"role\":\"assistant\",\"content\":\"",
            "\"},\"done\":false}",
        );
        let stream = Stream {
            style: Style::Lines,
            events: voice.events(),
            reply,
            persona: Persona::Ollama,
            filler: (filler.0.to_owned(), filler.1.to_owned()),
        };
        stream.play(connection)
    }

    /// Loads Ollama's model if it is not there with this context length; tells the nanoseconds.
    fn load(&self, connection: &Connection, context: u64) -> io::Result<Result<u64, Refusal>> {
        let mut script = self.shared.script();
        if script.loaded == Some(context) {
            return Ok(Ok(1_213_605));
        }
        if let Some(gate) = &self.shared.setup.load_gate {
            if script.load_waiting >= self.shared.setup.load_queue {
                return Ok(Err(Refusal::QueueFull));
            }
            script.load_waiting += 1;
            drop(script);
            let passed = gate.pass(|| connection.gone());
            script = self.shared.script();
            script.load_waiting -= 1;
            if !passed {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
        if script.loaded != Some(context) {
            script.loaded = Some(context);
            script.loads += 1;
        }
        Ok(Ok(4_905_349_347))
    }

    /// A request without a prompt loads the model, with `keep_alive: 0` it unloads it.
    fn load_or_unload(&self, connection: &Connection, body: &Value) -> io::Result<Outcome> {
        let setup = &self.shared.setup;
        let model = body["model"].as_str().unwrap_or_default();
        if body["keep_alive"] == json!(0) {
            self.shared.script().loaded = None;
            return Ok(Ok(ollama::silent(model, "unload")));
        }
        if !setup.models.iter().any(|known| known == model) {
            return Ok(Err(Refusal::UnknownModel { model: model.to_owned() }));
        }
        let context = body["options"]["num_ctx"].as_u64().unwrap_or(setup.context);
        Ok(self.load(connection, context)?.map(|_| ollama::silent(model, "load")))
    }

    fn embed(&self, body: &Value) -> Outcome {
        let setup = &self.shared.setup;
        if !setup.embeddings {
            return Err(Refusal::EmbeddingsOff);
        }
        if self.native() { Ok(embeddings::ollama(body)) } else { embeddings::openai(body) }
    }

    fn outcome(
        &self,
        connection: &mut Connection,
        extra: &[(String, String)],
        outcome: Outcome,
    ) -> io::Result<()> {
        match outcome {
            Ok(body) => {
                let head = Head { status: 200, content_type: "application/json", extra };
                connection.respond(&head, body.to_string().as_bytes())
            }
            Err(refusal) => {
                let persona = self.shared.setup.persona;
                let rendered = refusal::render(&refusal, persona, self.native());
                let content_type = rendered.content_type;
                let head = Head { status: rendered.status, content_type, extra };
                connection.respond(&head, rendered.body.as_bytes())
            }
        }
    }
}
