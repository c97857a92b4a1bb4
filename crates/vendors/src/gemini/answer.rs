//! From Gemini's answers to the OpenAI dialect: whole ones, and what a piece of a stream shares with them.

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::{Fault, Usage, errors};

use super::error::error_in;
use crate::lost::{self, Lost};
use crate::read::{At, Obj, Text};
use crate::signature;
use crate::write::{self, Json};
use crate::{Turned, chat};

const AT: At<'static> = At::Root;

/// Turns a whole answer (status 200) into a chat completion, an error in it into one of the OpenAI dialect.
pub fn answer(body: &[u8], created: Millis) -> Result<Turned, Fault> {
    let text = std::str::from_utf8(body).map_err(|_| chat::unreadable())?;
    if let Some(fault) = error_in(text) {
        return Ok(Turned { body: errors::body(&fault), losses: Vec::new() });
    }
    let answer = Answer::read(text).map_err(|_| chat::unreadable())?;
    let choices = answer.choices()?;
    let text = write::object(|j| {
        j.put("id", &answer.id);
        j.put("object", "chat.completion");
        j.put_number("created", created.0 / 1_000);
        j.put("model", &answer.model);
        j.put_array("choices", |j| choices.iter().for_each(|choice| j.raw(choice)));
        let usage = answer.usage.as_ref().and_then(|usage| serde_json::to_string(usage).ok());
        j.put_raw("usage", usage.as_deref());
    });
    Ok(Turned { body: Bytes::from(text), losses: answer.lost.into_list() })
}

/// One answer, or one piece of a stream.
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) candidates: Vec<Candidate>,
    /// Why the prompt was not answered, if it was not.
    pub(super) blocked: Option<String>,
    pub(super) usage: Option<Usage>,
    /// What of it the OpenAI dialect has no room for.
    pub(super) lost: Lost,
}

/// One of its answers, or a piece of one.
pub(super) struct Candidate {
    pub(super) index: u64,
    pub(super) pieces: Vec<Piece>,
    pub(super) finish: Option<String>,
    /// `content` of chat's log-probabilities, as JSON.
    pub(super) logprobs: Option<String>,
}

/// What a part says.
pub(super) enum Piece {
    Text(String),
    Thought(String),
    Call(Call),
    /// An image, as a data URL.
    Image(String),
}

pub(super) struct Call {
    id: Option<String>,
    name: String,
    arguments: String,
    signature: Option<String>,
}

impl Call {
    /// Writes the members of a call. Gemini need not name its calls: one without a name gets one that
    /// no other answer has.
    pub(super) fn write(&self, json: &mut Json, (answer, number): (&str, u64)) {
        match &self.id {
            Some(id) => json.put("id", id),
            None => {
                let plain: String = answer.chars().filter(char::is_ascii_alphanumeric).collect();
                json.put("id", &format!("call_{plain}_{number}"));
            }
        }
        json.put("type", "function");
        json.put_object("function", |j| {
            j.put("name", &self.name);
            j.put("arguments", &self.arguments);
        });
        if let Some(signature) = &self.signature {
            signature::write(json, signature);
        }
    }
}

impl Answer {
    pub(super) fn read(text: &str) -> Result<Self, Fault> {
        let root = Obj::parse(text, AT)?;
        let (mut candidates, mut lost) = (Vec::new(), Lost::default());
        for raw in root.list(AT, "candidates")?.unwrap_or_default() {
            candidates.push(Candidate::read(&Obj::read(raw, AT)?, &mut lost)?);
        }
        let feedback = root.object(AT, "promptFeedback")?;
        let blocked = feedback.map(|feedback| feedback.word(AT, "blockReason")).transpose()?;
        let usage = root.object(AT, "usageMetadata")?;
        Ok(Self {
            id: root.word(AT, "responseId")?,
            model: root.word(AT, "modelVersion")?,
            candidates,
            blocked: blocked.filter(|reason| !reason.is_empty()),
            usage: usage.map(|usage| usage_of(&usage)).transpose()?.flatten(),
            lost,
        })
    }

    fn choices(&self) -> Result<Vec<String>, Fault> {
        if self.candidates.is_empty() {
            let reason = self.blocked.as_ref().ok_or_else(chat::unreadable)?;
            return Ok(vec![write::object(|j| {
                j.put_number("index", 0);
                j.put_object("message", |j| {
                    j.put("role", "assistant");
                    j.key("content").null();
                    j.put("refusal", &refusal(reason));
                });
                j.key("logprobs").null();
                j.put("finish_reason", "content_filter");
            })]);
        }
        self.candidates.iter().map(|candidate| candidate.choice(&self.id)).collect()
    }
}

impl Candidate {
    fn read(candidate: &Obj<'_>, lost: &mut Lost) -> Result<Self, Fault> {
        let index = candidate.whole(AT, "index")?.and_then(|index| u64::try_from(index).ok());
        let mut pieces = Vec::new();
        let content = candidate.object(AT, "content")?;
        let parts = content.map(|content| content.list(AT, "parts")).transpose()?.flatten();
        for raw in parts.unwrap_or_default() {
            pieces.extend(piece(&Obj::read(raw, AT)?, lost)?);
        }
        let grounding = candidate.object(AT, "groundingMetadata")?;
        if grounding.is_some_and(|told| told.get("groundingChunks").is_some_and(|raw| raw != "[]"))
        {
            lost.note(lost::GROUNDING);
        }
        let finish = candidate.word(AT, "finishReason")?;
        let logprobs = candidate.object(AT, "logprobsResult")?;
        Ok(Self {
            index: index.unwrap_or(0),
            pieces,
            finish: Some(finish).filter(|word| !word.is_empty()),
            logprobs: logprobs.map(|result| logprobs_of(&result)).transpose()?,
        })
    }

    fn choice(&self, answer: &str) -> Result<String, Fault> {
        let (mut text, mut thoughts) = (None::<String>, String::new());
        let (mut calls, mut images) = (Vec::new(), Vec::new());
        for piece in &self.pieces {
            match piece {
                Piece::Text(piece) => text.get_or_insert_default().push_str(piece),
                Piece::Thought(piece) => thoughts.push_str(piece),
                Piece::Call(call) => calls.push(call),
                Piece::Image(url) => images.push(url),
            }
        }
        let own = self.finish.as_deref().unwrap_or_default();
        let finish = finish(own, !calls.is_empty())?;
        Ok(write::object(|j| {
            j.put_number("index", self.index);
            j.put_object("message", |j| {
                j.put("role", "assistant");
                match &text {
                    Some(text) => j.put("content", text),
                    None => j.key("content").null(),
                }
                j.key("refusal").null();
                if !thoughts.is_empty() {
                    j.put("reasoning_content", &thoughts);
                }
                if !images.is_empty() {
                    j.put_array("images", |j| images.iter().for_each(|url| write_image(j, url)));
                }
                if !calls.is_empty() {
                    j.put_array("tool_calls", |j| {
                        for (number, call) in (0..).zip(&calls) {
                            j.object(|j| call.write(j, (answer, number)));
                        }
                    });
                }
            });
            write_logprobs(j, self.logprobs.as_deref());
            write_finish(j, finish, own);
        }))
    }
}

pub(super) fn write_logprobs(json: &mut Json, content: Option<&str>) {
    match content {
        Some(content) => json.put_object("logprobs", |j| {
            j.put_raw("content", Some(content));
            j.key("refusal").null();
        }),
        None => json.key("logprobs").null(),
    }
}

/// What a refused prompt's answer says.
pub(super) fn refusal(reason: &str) -> String {
    let reason: String =
        reason.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    format!("Gemini did not answer this prompt: {reason}")
}

/// An image as services of the OpenAI dialect give one that a model made.
pub(super) fn write_image(json: &mut Json, url: &str) {
    json.object(|j| {
        j.put("type", "image_url");
        j.put_object("image_url", |j| j.put("url", url));
    });
}

fn piece(part: &Obj<'_>, lost: &mut Lost) -> Result<Option<Piece>, Fault> {
    if let Some(call) = part.object(AT, "functionCall")? {
        let signature = part.text(AT, "thoughtSignature")?;
        let id = call.text(AT, "id")?.map(|id| id.decode().into_owned());
        return Ok(Some(Piece::Call(Call {
            id: id.filter(|id| !id.is_empty()),
            name: call.need_text(AT, "name")?.decode().into_owned(),
            arguments: call.raw_object(AT, "args")?.unwrap_or("{}").to_owned(),
            signature: signature.map(|text| text.decode().into_owned()).filter(|t| !t.is_empty()),
        })));
    }
    let text = part.text(AT, "text")?;
    let Some(text) = text.as_ref().map(Text::decode).filter(|text| !text.is_empty()) else {
        return other(part, lost);
    };
    let text = text.into_owned();
    let thought = part.flag(AT, "thought")? == Some(true);
    Ok(Some(if thought { Piece::Thought(text) } else { Piece::Text(text) }))
}

/// A part without words. A signature alone, or a thought's, says nothing.
fn other(part: &Obj<'_>, lost: &mut Lost) -> Result<Option<Piece>, Fault> {
    let thought = part.flag(AT, "thought")? == Some(true);
    if let Some(blob) = part.object(AT, "inlineData")?.filter(|_| !thought) {
        let (kind, data) = (blob.word(AT, "mimeType")?, blob.word(AT, "data")?);
        if kind.starts_with("image/") {
            return Ok(Some(Piece::Image(format!("data:{kind};base64,{data}"))));
        }
        lost.note(if kind.starts_with("audio/") { lost::AUDIO } else { lost::PART });
    } else if part.get("executableCode").or(part.get("codeExecutionResult")).is_some() {
        lost.note(lost::CODE);
    } else if !thought && part.rest().any(|key| !matches!(key, "thoughtSignature" | "partMetadata"))
    {
        lost.note(lost::PART);
    }
    Ok(None)
}

/// `finishReason` as a finish reason. What is wrong with the model's answer itself is `error`, with Google's own word
/// beside it: nothing in it can be used, and another try may do better.
pub(super) fn finish(reason: &str, called: bool) -> Result<&'static str, Fault> {
    Ok(match reason {
        "STOP" if called => "tool_calls",
        "STOP" => "stop",
        "MAX_TOKENS" => "length",
        "MALFORMED_FUNCTION_CALL"
        | "UNEXPECTED_TOOL_CALL"
        | "TOO_MANY_TOOL_CALLS"
        | "MISSING_THOUGHT_SIGNATURE"
        | "MALFORMED_RESPONSE" => UNUSABLE,
        "" => return Err(chat::unreadable()),
        // Safety, recitation, block lists and whatever else ends an answer early.
        _ => "content_filter",
    })
}

/// How an answer ended that nobody can use.
const UNUSABLE: &str = "error";

/// Writes a finish reason, with Google's own word where it says more.
pub(super) fn write_finish(json: &mut Json, finish: &str, own: &str) {
    json.put("finish_reason", finish);
    if finish == UNUSABLE {
        json.put("native_finish_reason", own);
    }
}

/// Thoughts are outside Gemini's count of the answer and inside OpenAI's; cached tokens are inside both.
/// A count of 0 is left out; the prompt's never is 0, so where it is missing nobody knows the usage.
fn usage_of(usage: &Obj<'_>) -> Result<Option<Usage>, Fault> {
    let count = |key: &str| -> Result<Option<u64>, Fault> {
        Ok(usage.whole(AT, key)?.and_then(|count| u64::try_from(count).ok()))
    };
    let some = |key: &str| count(key).map(Option::unwrap_or_default);
    let thoughts = count("thoughtsTokenCount")?;
    let Some(prompt) = count("promptTokenCount")? else { return Ok(None) };
    let prompt = prompt.saturating_add(some("toolUsePromptTokenCount")?);
    let answer = some("candidatesTokenCount")?.saturating_add(thoughts.unwrap_or(0));
    Ok(Some(Usage {
        cached_tokens: count("cachedContentTokenCount")?,
        reasoning_tokens: thoughts,
        ..Usage::new(prompt, answer)
    }))
}

/// Log-probabilities in chat's form.
fn logprobs_of(result: &Obj<'_>) -> Result<String, Fault> {
    let chosen = result.list(AT, "chosenCandidates")?.unwrap_or_default();
    let tops = result.list(AT, "topCandidates")?.unwrap_or_default();
    let mut json = Json::new();
    json.array(|j| {
        for (at, raw) in chosen.iter().enumerate() {
            let top = tops.get(at).and_then(|raw| Obj::read(raw, AT).ok());
            let top = top.and_then(|top| top.list(AT, "candidates").ok().flatten());
            j.object(|j| {
                write_token(j, raw);
                j.put_array("top_logprobs", |j| {
                    for raw in top.unwrap_or_default() {
                        j.object(|j| write_token(j, raw));
                    }
                });
            });
        }
    });
    Ok(json.into_string())
}

fn write_token(json: &mut Json, raw: &str) {
    let token = Obj::read(raw, AT).ok();
    let text = token.as_ref().and_then(|t| t.word(AT, "token").ok()).unwrap_or_default();
    let logprob = token.as_ref().and_then(|t| t.number(AT, "logProbability").ok().flatten());
    json.put("token", &text);
    json.put_raw("logprob", Some(logprob.unwrap_or("0")));
    json.put_array("bytes", |j| text.bytes().for_each(|b| j.number(u64::from(b))));
}
