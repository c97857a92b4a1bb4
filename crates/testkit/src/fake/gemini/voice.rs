//! Answers in the service's shapes, whole and as events.

use serde_json::{Map, Value, json};

use super::checks::{signature, signs};
use crate::fake::ask::{Answer, Ask};
use crate::fake::openai::Event;
use crate::fake::script::{Call, Reply};

/// Who answers.
pub(in crate::fake) struct Voice<'a> {
    pub(in crate::fake) id: String,
    pub(in crate::fake) ask: &'a Ask,
    pub(in crate::fake) answer: &'a Answer,
    pub(in crate::fake) usage: bool,
    pub(in crate::fake) reply: &'a Reply,
}

impl Voice<'_> {
    /// The answer of a request that did not ask for a stream.
    pub(in crate::fake) fn whole(&self) -> Value {
        if let Some(reason) = &self.reply.blocked {
            return self.blocked(reason);
        }
        let candidates: Vec<Value> = (0..self.ask.n)
            .map(|index| {
                let mut parts = self.thoughts();
                let text = self.answer.tokens.concat();
                if !text.is_empty() {
                    parts.push(json!({"text": text}));
                }
                parts.extend(self.calls());
                let mut candidate = candidate(index, &parts);
                candidate["finishReason"] = json!(self.finish());
                if let Some(top) = self.ask.logprobs {
                    candidate["logprobsResult"] = logprobs(&self.answer.tokens, top);
                }
                candidate
            })
            .collect();
        self.envelope(&candidates, self.answer.completion_tokens)
    }

    /// The events of a stream: the last one of a candidate has its reason, and there is no other end.
    pub(in crate::fake) fn events(&self) -> Vec<Event> {
        if let Some(reason) = &self.reply.blocked {
            return vec![Event { data: self.blocked(reason).to_string(), content: false }];
        }
        let mut events = Vec::new();
        let mut push = |candidate: Value, content: bool, said: usize| {
            let data = self.envelope(&[candidate], said as u64).to_string();
            events.push(Event { data, content });
        };
        for index in 0..self.ask.n {
            for thought in self.thoughts() {
                push(candidate(index, &[thought]), false, 0);
            }
            for (said, token) in (1..).zip(&self.answer.tokens) {
                let mut candidate = candidate(index, &[json!({"text": token})]);
                if let Some(top) = self.ask.logprobs {
                    candidate["logprobsResult"] = logprobs(std::slice::from_ref(token), top);
                }
                push(candidate, true, said);
            }
            let calls = self.calls();
            if !calls.is_empty() {
                push(candidate(index, &calls), true, 8);
            }
            let mut last = candidate(index, &[json!({"text": ""})]);
            last["finishReason"] = json!(self.finish());
            push(last, false, usize::try_from(self.answer.completion_tokens).unwrap_or(0));
        }
        events
    }

    fn thoughts(&self) -> Vec<Value> {
        if self.ask.thinks { vec![json!({"text": "Let me see.", "thought": true})] } else { vec![] }
    }

    /// Of calls made at once the first one is signed.
    fn calls(&self) -> Vec<Value> {
        let part = |(number, call): (usize, &Call)| {
            let args: Value = serde_json::from_str(&call.arguments).unwrap_or_default();
            let mut made = json!({"name": call.name, "args": args});
            let signature = signature(&made);
            made["id"] = json!(format!("{}-{number}", self.id));
            let mut part = json!({"functionCall": made});
            if number == 0 && signs(&self.ask.model) {
                part["thoughtSignature"] = json!(signature);
            }
            part
        };
        self.answer.calls.iter().enumerate().map(part).collect()
    }

    fn finish(&self) -> &str {
        match self.answer.finish.as_str() {
            "stop" | "tool_calls" => "STOP",
            "length" => "MAX_TOKENS",
            other => other,
        }
    }

    fn blocked(&self, reason: &str) -> Value {
        let mut body = self.envelope(&[], 0);
        body["promptFeedback"] = json!({"blockReason": reason, "safetyRatings": [
            {"category": "HARM_CATEGORY_DANGEROUS_CONTENT", "probability": "HIGH", "blocked": true}]});
        body
    }

    fn envelope(&self, candidates: &[Value], said: u64) -> Value {
        let mut body = Map::new();
        if !candidates.is_empty() {
            body.insert("candidates".to_owned(), json!(candidates));
        }
        if self.usage {
            let prompt = self.answer.prompt_tokens;
            let said = said * if candidates.is_empty() { 0 } else { self.ask.n as u64 };
            let thoughts = if self.ask.thinks { 3 } else { 0 };
            let mut usage = json!({"promptTokenCount": prompt,
                "totalTokenCount": prompt + said + thoughts,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}]});
            if said > 0 {
                usage["candidatesTokenCount"] = json!(said);
            }
            if thoughts > 0 {
                usage["thoughtsTokenCount"] = json!(thoughts);
            }
            body.insert("usageMetadata".to_owned(), usage);
        }
        body.insert("modelVersion".to_owned(), json!(self.ask.model));
        body.insert("responseId".to_owned(), json!(self.id));
        Value::Object(body)
    }
}

fn candidate(index: usize, parts: &[Value]) -> Value {
    json!({"content": {"parts": parts, "role": "model"}, "index": index})
}

fn logprobs(tokens: &[String], top: u64) -> Value {
    let one = |token: &String| json!({"token": token, "tokenId": 7, "logProbability": -0.25});
    let other = json!({"token": "other", "tokenId": 8, "logProbability": -2.0});
    let tops = |token: &String| {
        let all = (0..top).map(|rank| if rank == 0 { one(token) } else { other.clone() });
        json!({"candidates": all.collect::<Vec<_>>()})
    };
    json!({"chosenCandidates": tokens.iter().map(one).collect::<Vec<_>>(),
        "topCandidates": tokens.iter().map(tops).collect::<Vec<_>>()})
}
