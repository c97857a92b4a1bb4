//! Answers in the OpenAI dialect, with each persona's own habits (order of members aside).

use serde_json::{Value, json};

use super::Persona;
use super::ask::{Answer, Ask};
use super::script::Call;

/// Seconds since 1970 that every answer claims: constant, so that answers compare.
const CREATED: u64 = 1_795_000_000;

/// Who answers, and under which id.
pub(super) struct Voice<'a> {
    pub(super) persona: Persona,
    pub(super) id: String,
    pub(super) ask: &'a Ask,
    pub(super) answer: &'a Answer,
    pub(super) usage: bool,
    pub(super) chat: bool,
}

/// One event of a stream.
pub(super) struct Event {
    pub(super) data: String,
    /// Carries a piece of the answer: the steps that gates and faults count.
    pub(super) content: bool,
}

impl Voice<'_> {
    /// The answer of a request that did not ask for a stream.
    pub(super) fn whole(&self) -> Value {
        let choices: Vec<Value> = (0..self.ask.n).map(|index| self.choice(index)).collect();
        let object = if self.chat { "chat.completion" } else { "text_completion" };
        let mut body = self.envelope(object, &json!(choices));
        if self.usage {
            body["usage"] = self.usage_object();
        }
        if self.persona == Persona::LlamaCpp {
            body["timings"] = self.timings();
        }
        body
    }

    /// The events of a stream, without the closing `[DONE]`.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Vec::new();
        for index in 0..self.ask.n {
            if self.chat {
                self.chat_events(index, &mut events);
            } else {
                self.text_events(index, &mut events);
            }
        }
        let inside = !self.chat && self.persona == Persona::LlamaCpp;
        if self.ask.include_usage && self.usage && !inside {
            let mut last = self.envelope(self.chunk_object(), &json!([]));
            last["usage"] = self.usage_object();
            if self.persona == Persona::LlamaCpp {
                last["timings"] = self.timings();
            }
            events.push(Event { data: last.to_string(), content: false });
        }
        events
    }

    fn chat_events(&self, index: usize, events: &mut Vec<Event>) {
        let opening = match self.persona {
            Persona::OpenAi => Some(json!({"role": "assistant", "content": "", "refusal": null})),
            Persona::Vllm => Some(json!({"role": "assistant", "content": ""})),
            Persona::LlamaCpp => Some(json!({"role": "assistant", "content": null})),
            // Ollama's first chunk has the role beside the first piece of content.
            // Gemini's have it beside every piece.
            Persona::Ollama | Persona::Gemini => None,
        };
        if let Some(delta) = opening {
            events.push(self.delta(index, &delta, false));
        }
        for (position, token) in self.answer.tokens.iter().enumerate() {
            let mut delta = json!({"content": token});
            let beside = self.persona == Persona::Ollama && position == 0;
            if beside || self.persona == Persona::Gemini {
                delta["role"] = json!("assistant");
            }
            let mut event = self.chunk(index, &delta);
            if let Some(top) = self.ask.logprobs {
                event["choices"][0]["logprobs"] =
                    json!({"content": [self.logprob(token, top)], "refusal": null});
            }
            let last = position + 1 == self.answer.tokens.len();
            // vLLM puts the finish reason on the last piece of content itself.
            if last && self.persona == Persona::Vllm {
                event["choices"][0]["finish_reason"] = json!(self.answer.finish);
            }
            events.push(Event { data: event.to_string(), content: true });
        }
        for (position, call) in self.answer.calls.iter().enumerate() {
            events.extend(self.call_events(index, position, call));
        }
        if self.persona != Persona::Vllm || self.answer.tokens.is_empty() {
            let mut event = self.chunk(index, &json!({}));
            // Of a stream with calls Gemini's compatible endpoint says stop.
            let google = self.persona == Persona::Gemini && self.answer.finish == "tool_calls";
            let finish = if google { "stop" } else { &self.answer.finish };
            event["choices"][0]["finish_reason"] = json!(finish);
            if self.persona == Persona::LlamaCpp && !self.ask.include_usage {
                event["timings"] = self.timings();
            }
            events.push(Event { data: event.to_string(), content: false });
        }
    }

    /// Id and name once, then the arguments in two fragments.
    fn call_events(&self, index: usize, position: usize, call: &Call) -> Vec<Event> {
        if self.persona == Persona::Gemini {
            // Whole, without an index, signed as Gemini's own calls are.
            let mut whole = self.whole_call(position, call);
            whole["function"]["arguments"] = json!(call.arguments);
            let delta = json!({"role": "assistant", "tool_calls": [whole]});
            return vec![self.delta(index, &delta, true)];
        }
        let mut first = json!({"tool_calls": [{"index": position, "id": self.call_id(position),
            "type": "function", "function": {"name": call.name, "arguments": ""}}]});
        if self.persona == Persona::Ollama && position == 0 {
            first["role"] = json!("assistant");
        }
        let half = call.arguments.len() / 2;
        let half = (0..=half).rev().find(|&at| call.arguments.is_char_boundary(at)).unwrap_or(0);
        let (head, tail) = call.arguments.split_at(half);
        let fragment = |piece: &str| json!({"tool_calls": [{"index": position, "function": {"arguments": piece}}]});
        let deltas = [first, fragment(head), fragment(tail)];
        deltas.iter().map(|delta| self.delta(index, delta, true)).collect()
    }

    fn text_events(&self, index: usize, events: &mut Vec<Event>) {
        let mut push = |text: &str, finish: Option<&str>| {
            let mut choice =
                json!({"text": text, "index": index, "logprobs": null, "finish_reason": finish});
            if let (Some(top), false) = (self.ask.logprobs, text.is_empty()) {
                choice["logprobs"] = self.text_logprobs(&[text.to_owned()], top);
            }
            let mut event = self.envelope("text_completion", &json!([choice]));
            // llama.cpp's server puts usage on the finish chunk, asked or not.
            if finish.is_some() && self.usage && self.persona == Persona::LlamaCpp {
                event["usage"] = self.usage_object();
                event["timings"] = self.timings();
            }
            events.push(Event { data: event.to_string(), content: !text.is_empty() });
        };
        for token in &self.answer.tokens {
            push(token, None);
        }
        push("", Some(&self.answer.finish));
    }

    fn choice(&self, index: usize) -> Value {
        let text = self.answer.tokens.concat();
        if !self.chat {
            let logprobs =
                self.ask.logprobs.map(|top| self.text_logprobs(&self.answer.tokens, top));
            return json!({"text": text, "index": index, "logprobs": logprobs,
                "finish_reason": self.answer.finish});
        }
        let mut message = json!({"role": "assistant", "content": text});
        if matches!(self.persona, Persona::OpenAi | Persona::Vllm) {
            message["refusal"] = Value::Null;
        }
        if !self.answer.calls.is_empty() {
            message["content"] = Value::Null;
            let calls: Vec<Value> = self
                .answer
                .calls
                .iter()
                .enumerate()
                .map(|(position, call)| self.whole_call(position, call))
                .collect();
            message["tool_calls"] = json!(calls);
        }
        let mut choice =
            json!({"index": index, "message": message, "finish_reason": self.answer.finish});
        if let Some(top) = self.ask.logprobs {
            let content: Vec<Value> =
                self.answer.tokens.iter().map(|token| self.logprob(token, top)).collect();
            choice["logprobs"] = json!({"content": content, "refusal": null});
        } else if self.persona == Persona::OpenAi {
            choice["logprobs"] = Value::Null;
        }
        choice
    }

    fn whole_call(&self, position: usize, call: &Call) -> Value {
        let mut whole = json!({"id": self.call_id(position), "type": "function",
            "function": {"name": call.name, "arguments": call.arguments}});
        if self.persona == Persona::Gemini && position == 0 {
            let signature = super::gemini::signature_of(&call.name, &call.arguments);
            whole["extra_content"] = json!({"google": {"thought_signature": signature}});
        }
        whole
    }

    fn delta(&self, index: usize, delta: &Value, content: bool) -> Event {
        Event { data: self.chunk(index, delta).to_string(), content }
    }

    fn chunk(&self, index: usize, delta: &Value) -> Value {
        let mut choice = json!({"index": index, "delta": delta, "finish_reason": null});
        if matches!(self.persona, Persona::OpenAi | Persona::Vllm) {
            choice["logprobs"] = Value::Null;
        }
        let mut event = self.envelope("chat.completion.chunk", &json!([choice]));
        if self.persona == Persona::OpenAi && self.ask.include_usage {
            event["usage"] = Value::Null;
        }
        event
    }

    fn envelope(&self, object: &str, choices: &Value) -> Value {
        let mut body = json!({"id": self.id, "object": object, "created": CREATED,
            "model": self.ask.model, "choices": choices});
        match self.persona {
            Persona::OpenAi => {
                body["system_fingerprint"] = json!("fp_fake");
                body["service_tier"] = json!("default");
            }
            Persona::LlamaCpp => body["system_fingerprint"] = json!("b10434-fake"),
            Persona::Ollama => body["system_fingerprint"] = json!("fp_ollama"),
            Persona::Vllm | Persona::Gemini => {}
        }
        if !self.chat {
            // The completions object has no such member.
            body.as_object_mut().map(|members| members.remove("service_tier"));
        }
        body
    }

    fn chunk_object(&self) -> &'static str {
        if self.chat { "chat.completion.chunk" } else { "text_completion" }
    }

    fn call_id(&self, position: usize) -> String {
        format!("call_{}_{position}", self.id.trim_start_matches("chatcmpl-"))
    }

    fn usage_object(&self) -> Value {
        let each = self.answer.completion_tokens;
        // llama.cpp's server counts the tokens of one choice, whatever n was.
        let completion =
            if self.persona == Persona::LlamaCpp { each } else { each * self.ask.n as u64 };
        let prompt = self.answer.prompt_tokens;
        let mut usage = json!({"prompt_tokens": prompt, "completion_tokens": completion,
            "total_tokens": prompt + completion});
        match self.persona {
            Persona::OpenAi => {
                usage["prompt_tokens_details"] = json!({"cached_tokens": 0, "audio_tokens": 0});
                usage["completion_tokens_details"] = json!({"reasoning_tokens": 0,
                    "audio_tokens": 0, "accepted_prediction_tokens": 0,
                    "rejected_prediction_tokens": 0});
            }
            Persona::LlamaCpp => usage["prompt_tokens_details"] = json!({"cached_tokens": 0}),
            Persona::Vllm | Persona::Ollama | Persona::Gemini => {}
        }
        usage
    }

    fn timings(&self) -> Value {
        json!({"cache_n": 0, "prompt_n": self.answer.prompt_tokens, "prompt_ms": 1.5,
            "predicted_n": self.answer.completion_tokens, "predicted_ms": 3.5})
    }

    fn logprob(&self, token: &str, top: u64) -> Value {
        let one = |text: &str, value: f64| {
            let mut entry = json!({"token": text, "logprob": value, "bytes": text.as_bytes()});
            if self.persona == Persona::LlamaCpp {
                entry["id"] = json!(text.len());
            }
            entry
        };
        let mut entry = one(token, -0.25);
        let alternatives: Vec<Value> = (0..top)
            .map(|rank| if rank == 0 { one(token, -0.25) } else { one("other", -2.0) })
            .collect();
        entry["top_logprobs"] = json!(alternatives);
        entry
    }

    /// Logprobs of the completions endpoint: llama.cpp's server answers in the chat form.
    fn text_logprobs(&self, tokens: &[String], top: u64) -> Value {
        if self.persona == Persona::LlamaCpp {
            let content: Vec<Value> = tokens.iter().map(|token| self.logprob(token, top)).collect();
            return json!({"content": content});
        }
        let mut offset = 0;
        let offsets: Vec<usize> = tokens
            .iter()
            .map(|token| {
                offset += token.len();
                offset - token.len()
            })
            .collect();
        let tops: Vec<Value> =
            tokens.iter().map(|token| json!({ token.as_str(): -0.25 })).collect();
        json!({"tokens": tokens, "token_logprobs": vec![-0.25; tokens.len()],
            "text_offset": offsets, "top_logprobs": tops})
    }
}
