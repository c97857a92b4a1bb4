//! What an answer holds that its client's dialect has no room for: carried where there is some, else reported, and an
//! answer of which nothing is left is none.

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::Loss;
use serde_json::{Value, json};

use super::support::{CLIENTS, inbound, lenient, now, payloads};
use cutover_vendors::{anthropic, gemini};

fn fields(losses: &[Loss]) -> Vec<String> {
    losses.iter().map(|loss| format!("{}={}", loss.field, loss.action.as_str())).collect()
}

/// A whole answer of one message, as a client has it, with what it lost.
fn whole(
    client: (&str, &str),
    message: &Value,
    reason: &str,
) -> Result<(Value, Vec<String>), Code> {
    let body = json!({"model": "m", "choices": [{"message": message, "finish_reason": reason}]});
    let request = Bytes::copy_from_slice(client.1.as_bytes());
    let back = inbound(client.0, &request, &lenient()).way_back;
    let answer = back.reply(body.to_string().as_bytes(), now()).map_err(|fault| fault.code)?;
    Ok((serde_json::from_slice(&answer.body).unwrap(), fields(&answer.losses)))
}

/// The same as a stream of these deltas.
fn streamed(
    client: (&str, &str),
    deltas: &[Value],
    reason: &str,
) -> Result<(Vec<Value>, Vec<String>), Code> {
    let request = Bytes::copy_from_slice(client.1.as_bytes());
    let mut stream = inbound(client.0, &request, &lenient()).way_back.stream();
    let mut out = Vec::new();
    let mut push = |delta: &Value, reason: &Value| {
        let chunk = json!({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
        stream.push(Bytes::from(format!("data: {chunk}\n\n")), now(), &mut out);
    };
    for delta in deltas {
        push(delta, &Value::Null);
    }
    push(&json!({}), &json!(reason));
    stream.push(Bytes::from_static(b"data: [DONE]\n\n"), now(), &mut out);
    stream.finish(now(), &mut out);
    match stream.failure() {
        Some(code) => Err(code),
        None => {
            let text = String::from_utf8(out.concat()).unwrap();
            Ok((payloads(&text), fields(stream.losses())))
        }
    }
}

#[test]
fn a_call_of_the_old_form_is_a_call_for_every_client() {
    let message =
        json!({"content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}});
    let deltas = [
        json!({"function_call": {"name": "f", "arguments": ""}}),
        json!({"function_call": {"arguments": "{\"a\""}}),
        json!({"function_call": {"arguments": ":1}"}}),
    ];
    for client in CLIENTS {
        let (answer, losses) = whole(client, &message, "function_call").unwrap();
        let call = match client.0 {
            "/v1/messages" => {
                assert_eq!(answer["stop_reason"], "tool_use");
                answer["content"][0].clone()
            }
            "/v1/responses" => answer["output"][0].clone(),
            "/api/chat" => answer["message"]["tool_calls"][0]["function"].clone(),
            _ => answer["candidates"][0]["content"]["parts"][0]["functionCall"].clone(),
        };
        assert_eq!((&call["name"], losses), (&json!("f"), vec![]), "{answer}");
        if client.0 != "/api/chat" {
            let id = call["call_id"].as_str().or(call["id"].as_str()).unwrap();
            assert!(id.starts_with("call_"), "{answer}");
        }
        let (events, _) = streamed(client, &deltas, "function_call").unwrap();
        let text = Value::from(events).to_string();
        assert!(text.contains("\"name\":\"f\""), "{text}");
        let arguments = text.contains(r#"{"a":1}"#) || text.contains(r#"{\"a\":1}"#);
        assert!(arguments || client.0 == "/v1/messages", "{text}");
    }
    // Beside calls, and where it says nothing, it is none.
    let message = json!({"content": "x", "function_call": {"name": "", "arguments": ""}});
    let (answer, _) = whole(CLIENTS[0], &message, "stop").unwrap();
    assert_eq!(answer["content"].as_array().unwrap().len(), 1, "{answer}");
}

/// An agent that is told of a call and finds none asks again for ever.
#[test]
fn an_end_with_a_call_that_is_not_there_is_an_end() {
    for reason in ["tool_calls", "function_call"] {
        let (answer, _) = whole(CLIENTS[0], &json!({"content": "x"}), reason).unwrap();
        assert_eq!(answer["stop_reason"], "end_turn");
        let (events, _) = streamed(CLIENTS[0], &[json!({"content": "x"})], reason).unwrap();
        let end = events.iter().find(|event| event["type"] == "message_delta").unwrap();
        assert_eq!(end["delta"]["stop_reason"], "end_turn");
    }
}

#[test]
fn images_and_audio_are_reported_and_alone_they_are_no_answer() {
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
    for (part, value, lost) in [
        ("images", image, "answer.images=dropped"),
        ("audio", json!({"id": "a", "data": "AA==", "transcript": "x"}), "answer.audio=dropped"),
    ] {
        for client in CLIENTS {
            let alone = json!({"content": null, part: value});
            assert_eq!(whole(client, &alone, "stop").unwrap_err(), Code::BadGateway, "{part}");
            let delta = json!({ part: value });
            let stream = streamed(client, std::slice::from_ref(&delta), "stop");
            assert_eq!(stream.unwrap_err(), Code::BadGateway, "{part} {}", client.0);
            let beside = json!({"content": "x", part: value});
            let (_, losses) = whole(client, &beside, "stop").unwrap();
            assert_eq!(losses, [lost], "{}", client.0);
            let stream = streamed(client, &[json!({"content": "x"}), delta], "stop").unwrap();
            assert_eq!(stream.1, [lost], "{}", client.0);
            for nothing in [json!(null), json!([]), json!({})] {
                let message = json!({"content": "x", part: nothing});
                assert!(whole(client, &message, "stop").unwrap().1.is_empty(), "{nothing}");
            }
        }
    }
    // An answer that never had anything is one.
    assert!(whole(CLIENTS[0], &json!({"content": null}), "stop").unwrap().1.is_empty());
}

#[test]
fn the_web_pages_that_a_text_is_from_are_carried_or_reported() {
    let cited =
        json!({"start_index": 0, "end_index": 5, "url": "https://a.example/", "title": "A"});
    let source = json!({"type": "url_citation", "url_citation": cited});
    let other = json!({"type": "file_citation", "file_citation": {}});
    let flat = json!([{"type": "url_citation", "start_index": 0, "end_index": 5,
        "url": "https://a.example/", "title": "A"}]);
    for client in CLIENTS {
        let carries = client.0 == "/v1/responses";
        for (list, reported) in [(json!([source]), !carries), (json!([source, other]), true)] {
            let (answer, losses) =
                whole(client, &json!({"content": "Hello", "annotations": list}), "stop").unwrap();
            assert_eq!(losses, vec!["answer.annotations=dropped"; usize::from(reported)]);
            let deltas = [json!({"content": "Hello"}), json!({ "annotations": list })];
            let (events, losses) = streamed(client, &deltas, "stop").unwrap();
            assert_eq!(losses, vec!["answer.annotations=dropped"; usize::from(reported)]);
            if !carries {
                continue;
            }
            assert_eq!(answer["output"][0]["content"][0]["annotations"], flat);
            let named = |name: &str| events.iter().find(|e| e["type"] == name).unwrap().clone();
            let added = named("response.output_text.annotation.added");
            assert_eq!((&added["annotation"], &added["annotation_index"]), (&flat[0], &json!(0)));
            let done = named("response.content_part.done");
            assert_eq!(done["part"]["annotations"], flat);
            let whole = named("response.completed");
            assert_eq!(whole["response"]["output"][0]["content"][0]["annotations"], flat);
        }
    }
}

/// A vendor's events as the OpenAI dialect has them: the members of all deltas, and what was lost.
fn deltas(out: &[Bytes]) -> Vec<Value> {
    let text = String::from_utf8(out.concat()).unwrap();
    let chunks = text.lines().filter_map(|line| line.strip_prefix("data: {"));
    let chunks = chunks.map(|rest| serde_json::from_str::<Value>(&format!("{{{rest}")).unwrap());
    chunks.map(|chunk| chunk["choices"][0]["delta"].clone()).collect()
}

#[test]
fn what_gemini_gives_beside_words_is_an_image_of_the_message_or_reported() {
    let image = json!({"inlineData": {"mimeType": "image/png", "data": "AA=="}});
    let url = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]);
    let web = json!({"groundingChunks": [{"web": {"uri": "https://a.example/"}}]});
    for (part, grounding, images, lost) in [
        (image, json!(null), url, vec![]),
        (
            json!({"inlineData": {"mimeType": "audio/L16", "data": "A"}}),
            json!(null),
            json!(null),
            vec!["answer.audio=dropped"],
        ),
        (
            json!({"executableCode": {"code": "1"}}),
            json!(null),
            json!(null),
            vec!["answer.code_execution=dropped"],
        ),
        (
            json!({"codeExecutionResult": {"output": "1"}}),
            web,
            json!(null),
            vec!["answer.code_execution=dropped", "answer.grounding=dropped"],
        ),
        (
            json!({"hologram": {}}),
            json!({"webSearchQueries": []}),
            json!(null),
            vec!["answer.part=dropped"],
        ),
        (json!({"thoughtSignature": "AA=="}), json!(null), json!(null), vec![]),
        (json!({"text": "", "thought": true}), json!(null), json!(null), vec![]),
    ] {
        let candidate = json!({"content": {"parts": [part]}, "groundingMetadata": grounding,
            "finishReason": "STOP"});
        let body = json!({"responseId": "r", "modelVersion": "m", "candidates": [candidate]});
        let answer = gemini::answer(body.to_string().as_bytes(), Millis(0)).unwrap();
        assert_eq!(fields(&answer.losses), lost);
        let chat: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(chat["choices"][0]["message"]["images"], images);
        let (mut events, mut out) = (gemini::EventsIn::new(Millis(0)), Vec::new());
        events.push(Bytes::from(format!("data: {body}\n\n")), &mut out);
        events.finish(&mut out);
        assert_eq!(fields(events.losses()), lost);
        let told = deltas(&out).into_iter().find(|delta| delta["images"].is_array());
        assert_eq!(told.map_or(Value::Null, |delta| delta["images"].clone()), images);
    }
}

#[test]
fn what_claude_cites_is_an_annotation_and_what_has_no_place_is_reported() {
    let web = json!({"type": "web_search_result_location", "url": "https://a.example/",
        "title": "A", "cited_text": "x", "encrypted_index": "y"});
    let page = json!({"type": "page_location", "document_index": 0});
    let annotation = json!({"type": "url_citation", "url_citation":
        {"start_index": 4, "end_index": 7, "url": "https://a.example/", "title": "A"}});
    let blocks = [
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        json!({"type": "text", "text": "Für "}),
        json!({"type": "text", "text": "é€x", "citations": [web, page]}),
    ];
    let lost = ["answer.server_tools=dropped", "answer.citations=dropped"];
    for (stop, mut lost) in [("end_turn", lost.to_vec()), ("pause_turn", lost.to_vec())] {
        if stop == "pause_turn" {
            lost.push("answer.stop_reason=approximated");
        }
        let body = json!({"id": "i", "model": "m", "content": blocks, "stop_reason": stop});
        let answer = anthropic::answer(body.to_string().as_bytes(), Millis(0)).unwrap();
        let chat: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(chat["choices"][0]["message"]["annotations"], json!([annotation]));
        assert_eq!(chat["choices"][0]["message"]["content"], "Für é€x");
        let mut told = fields(&answer.losses);
        told.sort_unstable();
        lost.sort_unstable();
        assert_eq!(told, lost);

        let (mut events, mut out) = (anthropic::EventsIn::new(Millis(0)), Vec::new());
        let mut say = |event: Value| {
            events.push(Bytes::from(format!("data: {event}\n\n")), &mut out);
        };
        say(json!({"type": "message_start", "message": {"id": "i", "model": "m"}}));
        for (index, block) in blocks.iter().enumerate() {
            let mut start = block.clone();
            if block["type"] == "text" {
                start = json!({"type": "text", "text": ""});
            }
            say(json!({"type": "content_block_start", "index": index, "content_block": start}));
            for citation in block["citations"].as_array().into_iter().flatten() {
                let delta = json!({"type": "citations_delta", "citation": citation});
                say(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            if let Some(text) = block["text"].as_str() {
                let delta = json!({"type": "text_delta", "text": text});
                say(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            say(json!({"type": "content_block_stop", "index": index}));
        }
        say(json!({"type": "message_delta", "delta": {"stop_reason": stop}}));
        say(json!({"type": "message_stop"}));
        let mut told = fields(events.losses());
        told.sort_unstable();
        assert_eq!(told, lost);
        let cited: Vec<_> =
            deltas(&out).into_iter().filter(|delta| delta["annotations"].is_array()).collect();
        assert_eq!(cited, [json!({"annotations": [annotation]})]);
    }
}
