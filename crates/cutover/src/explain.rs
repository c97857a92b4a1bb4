//! What would happen to a request: the same code that serves it, without sending anything.

use std::sync::Arc;

use bytes::Bytes;
use cutover_control::api::{
    ExplainRequest, ExplainedBody, ExplainedLeg, ExplainedLoss, Explanation, Failure,
};
use cutover_gateway::explain::{Plan, Question, Told, fetching_nothing, path_of};
use cutover_gateway::{Gateway, KeptAnswers, Lane, Live, Looking, Parts, Unavailable, Writing};
use cutover_route::{Leg, UseCaseIx};
use cutover_store::{Conversation, ConversationQuery, KeptResponse, Key};
use cutover_telemetry::Registry;
use cutover_units::{Code, Millis};
use cutover_wire::{Fault, Outgoing};
use http::{HeaderName, HeaderValue, Method, Request};

use crate::clock;

/// A gateway that serves nobody, so that what is asked of it counts nowhere.
pub(crate) fn scratch(live: Live) -> Gateway {
    Gateway::new(Parts {
        live: fetching_nothing(live),
        clock: clock::shared(),
        records: None,
        feedback: None,
        answers: Some(Arc::new(Nowhere)),
        registry: Registry::new(),
        // The unit of a request that brings none is the same each time.
        id_prefix: 0,
        unit_key: [0; 16],
    })
}

/// Stored responses, which are not looked up here.
struct Nowhere;

impl KeptAnswers for Nowhere {
    fn has_room(&self) -> bool {
        true
    }
    fn keep(&self, _: KeptResponse) -> Writing {
        Box::pin(std::future::ready(false))
    }
    fn answer(&self, _: String, _: Option<i64>) -> Looking<Option<KeptResponse>> {
        Box::pin(std::future::ready(Err(Unavailable)))
    }
    fn conversation(&self, _: ConversationQuery) -> Looking<Conversation> {
        Box::pin(std::future::ready(Err(Unavailable)))
    }
    fn delete(&self, _: String, _: Option<i64>) -> Looking<bool> {
        Box::pin(std::future::ready(Err(Unavailable)))
    }
}

/// Tells what would happen to a request at a gateway that serves nobody.
pub(crate) async fn explain(
    scratch: &Gateway,
    request: &ExplainRequest,
) -> Result<Explanation, Failure> {
    let live = scratch.live();
    let body = request.body.as_ref().map_or("", |body| body.get());
    let path = match &request.path {
        Some(path) => path.clone(),
        None => path_of(body).map_err(|why| Failure {
            code: "unknown_request".to_owned(),
            message: why,
            hint: Some("name its path with --path, such as --path /v1/messages".to_owned()),
        })?,
    };
    let head = head(request, &path)?;
    let method = head.method.clone();
    let caller = key(&live, request)?;
    let body = Bytes::from(body.to_owned());
    let question = Question { head, body: body.clone(), caller };
    let told = scratch.explain(question).await.map_err(|fault| refusal(&fault))?;
    let nothing = Explanation {
        request: format!("{method} {path}"),
        instead: None,
        use_case: None,
        arm: String::new(),
        assignment: String::new(),
        unit: String::new(),
        bucket: None,
        weight: None,
        local_only: false,
        legs: Vec::new(),
    };
    Ok(match told {
        Told::Here => {
            let instead = Some("cutover answers it itself; no upstream is asked".to_owned());
            Explanation { instead, ..nothing }
        }
        Told::Passed { family, use_case, upstream, path } => {
            let provider = upstream.provider.name;
            let why = match use_case {
                Some(_) => "where its use case's baseline is, whatever the weight",
                None => "as surface.upstream or the default upstream says",
            };
            let instead = format!(
                "passed on untouched to {} ({provider}) as {path}, {why}; family {family}",
                upstream.name
            );
            let (use_case, weight) = shown(&live, use_case);
            Explanation { instead: Some(instead), use_case, weight, ..nothing }
        }
        Told::Asked(plan) => planned(&live, (*plan, &body), nothing),
    })
}

fn shown(live: &Live, use_case: Option<UseCaseIx>) -> (Option<String>, Option<String>) {
    let use_case = use_case.and_then(|at| live.snapshot.use_case(at));
    (use_case.map(|found| found.name.to_string()), use_case.map(|found| found.weight.to_string()))
}

fn planned(live: &Live, (plan, body): (Plan, &Bytes), nothing: Explanation) -> Explanation {
    let (use_case, weight) = shown(live, plan.use_case);
    let said = plan.dialect.map(|dialect| format!(" ({dialect})")).unwrap_or_default();
    let legs = plan.legs.into_iter();
    Explanation {
        request: nothing.request + &said,
        instead: None,
        use_case,
        arm: plan.arm.to_string(),
        assignment: plan.assignment.to_owned(),
        unit: plan.unit,
        bucket: plan.bucket,
        weight,
        local_only: plan.local_only,
        legs: legs.map(|(leg, sent)| explain_leg(live, leg, (sent, body, &plan.model))).collect(),
    }
}

/// The key that the request comes with. Where the keys are not known, its name is all there is.
fn key(live: &Live, request: &ExplainRequest) -> Result<Option<Arc<Key>>, Failure> {
    let Some(ring) = live.keys.as_ref().filter(|ring| !ring.is_unread()) else {
        let named = |name: &String| {
            Arc::new(Key {
                id: 0,
                name: name.as_str().into(),
                prefix: String::new(),
                use_case: None,
                local_only: false,
                batch: false,
                created: Millis(0),
                revoked: None,
                former_until: None,
            })
        };
        return Ok(request.key.as_ref().map(named));
    };
    let found = request.key.as_deref().and_then(|name| ring.named(name));
    if found.is_some() {
        return Ok(found.cloned());
    }
    let message = match &request.key {
        None => "the request comes without a key, and this gateway asks for one".to_owned(),
        Some(name) => format!("no key {name} opens the door"),
    };
    let refused = refusal(&Fault::new(Code::InvalidApiKey, message));
    let hint = "name the client's key with --key; there are: cutover key list".to_owned();
    Err(Failure { hint: Some(hint), ..refused })
}

fn head(request: &ExplainRequest, path: &str) -> Result<http::request::Parts, Failure> {
    let wrong =
        |code: &str, message: String| Failure { code: code.to_owned(), message, hint: None };
    let method = request.method.as_deref().unwrap_or("POST");
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_| wrong("invalid_method", format!("{method:?} is no method")))?;
    let mut head = Request::builder()
        .method(method)
        .uri(path)
        .body(())
        .map_err(|_| wrong("invalid_path", format!("{path:?} is no path")))?
        .into_parts()
        .0;
    for (name, value) in &request.headers {
        let wrong = |why: String| wrong("invalid_header", format!("{name:?} is no header: {why}"));
        let read = HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|e| wrong(e.to_string()))?;
        head.headers.append(read, value);
    }
    Ok(head)
}

fn explain_leg(
    live: &Live,
    leg: Leg,
    (sent, body, asked): (Result<Outgoing, Fault>, &Bytes, &Arc<str>),
) -> ExplainedLeg {
    let variant = live.snapshot.variants().get(usize::from(leg.variant.0));
    let lane = live.lane(leg.variant);
    let explained = ExplainedLeg {
        arm: leg.arm.to_string(),
        variant: variant.map(|v| v.name.to_string()).unwrap_or_default(),
        upstream: variant.map(|v| v.upstream.to_string()).unwrap_or_default(),
        provider: lane.map(|lane| lane.target.provider.name.to_owned()).unwrap_or_default(),
        path: None,
        model: None,
        body: None,
        prompt: lane.and_then(Lane::prompt_version).map(str::to_owned),
        losses: Vec::new(),
        refused: None,
    };
    let outgoing = match sent {
        Ok(outgoing) => outgoing,
        Err(fault) => return ExplainedLeg { refused: Some(refusal_text(&fault)), ..explained },
    };
    let unchanged = outgoing.body.len() == 1 && outgoing.body.first() == Some(body);
    let model = lane.and_then(|lane| lane.target.model.as_ref()).unwrap_or(asked);
    let losses = outgoing.losses.iter().map(|loss| ExplainedLoss {
        field: loss.field.clone(),
        action: loss.action.as_str().to_owned(),
        why: loss.why.to_owned(),
    });
    ExplainedLeg {
        path: Some(outgoing.path.to_string()),
        model: Some(model.to_string()),
        body: Some(ExplainedBody { bytes: outgoing.body_len(), unchanged }),
        losses: losses.collect(),
        ..explained
    }
}

fn refusal(fault: &Fault) -> Failure {
    if fault.code == Code::StoredResponsesUnavailable {
        let message = "it goes on from a stored response, which is not looked up here".to_owned();
        let hint = "send the whole conversation as input".to_owned();
        return Failure { code: fault.code.name().to_owned(), message, hint: Some(hint) };
    }
    let code = fault.code.name().to_owned();
    Failure { code, message: refusal_text(fault), hint: None }
}

fn refusal_text(fault: &Fault) -> String {
    let (status, name) = (fault.code.status(), fault.code.name());
    match &fault.param {
        Some(param) => format!("{status} {name} ({param}): {}", fault.message),
        None => format!("{status} {name}: {}", fault.message),
    }
}

/// The explanation for people.
pub(crate) fn show(explanation: &Explanation) -> String {
    let mut lines = vec![format!("request     {}", explanation.request)];
    match (&explanation.use_case, &explanation.weight) {
        (Some(use_case), Some(weight)) => {
            lines.push(format!("use case    {use_case} (candidate's weight {weight})"));
        }
        _ if explanation.instead.is_some() => {}
        _ => lines.push("use case    none matches: the default upstream takes it".to_owned()),
    }
    if let Some(instead) = &explanation.instead {
        lines.push(format!("instead     {instead}"));
        return lines.join("\n");
    }
    lines.push(format!("arm         {} ({})", explanation.arm, explanation.assignment));
    if let Some(bucket) = explanation.bucket {
        lines.push(format!("unit        {:?}, bucket {bucket} of 10000", explanation.unit));
    }
    for (at, leg) in explanation.legs.iter().enumerate() {
        lines.push(String::new());
        let ExplainedLeg { arm, variant, upstream, provider, .. } = leg;
        lines.push(format!("attempt {}   {arm}: {variant} on {upstream} ({provider})", at + 1));
        if let Some(refused) = &leg.refused {
            lines.push(format!("  refused   {refused}"));
        }
        if let (Some(path), Some(model), Some(body)) = (&leg.path, &leg.model, &leg.body) {
            let unchanged = if body.unchanged { "the client's own" } else { "rewritten" };
            lines.push(format!("  asks      {path} for {model}"));
            if let Some(prompt) = &leg.prompt {
                lines.push(format!("  prompt    {prompt}"));
            }
            lines.push(format!("  body      {} bytes, {unchanged}", body.bytes));
        }
        for loss in &leg.losses {
            lines.push(format!("  loses     {} ({}): {}", loss.field, loss.action, loss.why));
        }
    }
    if explanation.legs.is_empty() && explanation.local_only {
        let code = Code::NoLocalUpstream.row();
        lines.push(format!("attempts    none: {} {}", code.status, code.name));
    } else if explanation.legs.is_empty() {
        lines.push("attempts    none: 404 model_not_found".to_owned());
    }
    if explanation.local_only {
        lines.push("residency   local-only: no other upstream sees it".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::Source;
    use crate::operator;
    use crate::verbs::check;
    use cutover_store::{KeyRing, NewKey, Options, Secret, Store};
    use cutover_units::UseCaseName;
    use serde_json::value::RawValue;

    const CONFIG: &str = r#"
default_upstream = "cloud"
[upstreams.cloud]
provider = "openai"
[upstreams.gpus]
provider = "ollama"
instances = ["http://gpu-1:11434"]
[variants.big]
upstream = "cloud"
model = "gpt-4o"
[variants.small]
upstream = "gpus"
model = "qwen2.5:32b"
unsupported = "lenient"
[use_cases.statements]
match = { header = { x-use-case = "statements" } }
unit = { header = "x-customer" }
baseline = "big"
candidate = "small"
weight = "50%"
"#;

    fn explained(headers: &[(&str, &str)], body: &str) -> String {
        explained_with(None, (headers, None), body)
    }

    fn explained_with(
        keys: Option<Arc<KeyRing>>,
        (headers, key): (&[(&str, &str)], Option<&str>),
        body: &str,
    ) -> String {
        explained_in(CONFIG, keys, (headers, key), body)
    }

    fn explained_in(
        config: &str,
        keys: Option<Arc<KeyRing>>,
        (headers, key): (&[(&str, &str)], Option<&str>),
        body: &str,
    ) -> String {
        let checked = cutover_config::check(config, "test.toml", &|_| None).unwrap();
        let source = Source { path: None, base: std::path::PathBuf::new() };
        let live = check::build((&source, &checked), keys).unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = ExplainRequest {
            path: None,
            method: None,
            headers: headers.iter().map(own).collect(),
            key: key.map(str::to_owned),
            body: Some(RawValue::from_string(body.to_owned()).unwrap()),
        };
        told(live, &request)
    }

    fn told(live: Live, request: &ExplainRequest) -> String {
        let scratch = scratch(live);
        // A thread of its own, as some tests have a runtime around them.
        let explained = std::thread::scope(|scope| {
            let asking = scope.spawn(|| operator::block_on(explain(&scratch, request)).unwrap());
            asking.join().unwrap()
        });
        match explained {
            Ok(explanation) => show(&explanation),
            Err(failure) => failure.message,
        }
    }

    /// What becomes of a request to a path.
    fn at(config: &str, line: &str, headers: &[(&str, &str)], body: &str) -> String {
        let checked = cutover_config::check(config, "test.toml", &|_| None).unwrap();
        let source = Source { path: None, base: std::path::PathBuf::new() };
        let live = check::build((&source, &checked), None).unwrap();
        let (method, path) = line.split_once(' ').unwrap();
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let request = ExplainRequest {
            path: Some(path.to_owned()),
            method: Some(method.to_owned()),
            headers: headers.iter().map(own).collect(),
            key: None,
            body: RawValue::from_string(body.to_owned()).ok(),
        };
        told(live, &request)
    }

    #[test]
    fn a_word_that_the_gateway_refuses_is_refused_here() {
        let unknown = explained(&[("x-cutover-use-case", "statement")], BODY);
        assert!(unknown.contains("400 invalid_value (x-cutover-use-case)"), "{unknown}");
        let twice = explained(&[("x-cutover-residency", "nowhere")], BODY);
        assert!(twice.contains("400 invalid_value"), "{twice}");
    }

    #[tokio::test]
    async fn a_key_decides_as_it_does_at_the_door() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path(), || Millis(1))).unwrap();
        for (name, use_case) in
            [("free", None), ("team", Some("statements")), ("lost", Some("statement"))]
        {
            let new = NewKey {
                name: name.to_owned(),
                secret: Secret::new(&name.repeat(10)).unwrap(),
                use_case: use_case.map(|name| UseCaseName::new(name).unwrap()),
                local_only: false,
                batch: false,
                actor: "a".to_owned(),
                now: Millis(1),
            };
            store.add_key(new).await.unwrap();
        }
        let ring = Arc::new(KeyRing::new(store.load_keys().await.unwrap()));
        let with = |key| explained_with(Some(Arc::clone(&ring)), (&[], key), BODY);
        assert!(with(Some("team")).contains("use case    statements"), "{}", with(Some("team")));
        assert!(with(Some("free")).contains("none matches"), "{}", with(Some("free")));
        let lost = with(Some("lost"));
        assert!(lost.contains("403 permission_denied") && lost.contains("'statement'"), "{lost}");
        for nobody in [None, Some("nobody")] {
            let refused = with(nobody);
            assert!(refused.contains("401 invalid_api_key"), "{refused}");
        }
        store.close().await;
    }

    const BODY: &str =
        r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}],"logit_bias":{"1":2}}"#;

    #[test]
    fn a_request_of_no_use_case_goes_to_the_default_untouched() {
        let expected = format!(
            "request     POST /v1/chat/completions\n\
             use case    none matches: the default upstream takes it\n\
             arm         default (fixed)\n\n\
             attempt 1   default: default on cloud (openai)\n  \
             asks      /v1/chat/completions for gpt-4o\n  \
             body      {} bytes, the client's own",
            BODY.len()
        );
        assert_eq!(explained(&[], BODY), expected);
    }

    /// It told of a chat completion with everything in it, though Anthropic would be sent something else, or nothing.
    #[test]
    fn a_vendors_own_api_is_told_as_it_is_asked() {
        for (vendor, path) in
            [("anthropic", "/v1/messages"), ("gemini", "/v1beta/models/gpt-4o:generateContent")]
        {
            let config = CONFIG.replace("\"openai\"", &format!("{vendor:?}"));
            let explained = |body: &str| explained_in(&config, None, (&[], None), body);
            let refused = explained(BODY);
            assert!(refused.contains("unsupported_parameter (logit_bias)"), "{refused}");
            let asked = explained(&BODY.replace("logit_bias", "prediction"));
            assert!(asked.contains(&format!("asks      {path} for gpt-4o")), "{asked}");
            assert!(asked.contains("loses     prediction (dropped)"), "{asked}");
        }
    }

    #[test]
    fn both_legs_and_what_gets_lost_are_told() {
        // Bucket 4480 of 10,000 is the candidate's at 50 %; see the vectors of `route::sticky`.
        let text = explained(&[("X-Use-Case", "statements"), ("x-customer", "customer-1")], BODY);
        for line in [
            "use case    statements (candidate's weight 50%)",
            "arm         candidate (sticky)",
            "unit        \"customer-1\", bucket 4480 of 10000",
            "attempt 1   candidate: small on gpus (ollama)",
            "  asks      /api/chat for qwen2.5:32b",
            "  loses     logit_bias (dropped): ",
            "attempt 2   baseline: big on cloud (openai)",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_bad_request_is_told_as_the_client_would_be() {
        let text = explained(&[], r#"{"model":1,"messages":[]}"#);
        assert!(text.starts_with("400 invalid_type (model): "), "{text}");
    }

    /// Each dialect that a client can speak: what an Ollama, an OpenAI and an Anthropic are asked for it, by the code that
    /// asks them.
    #[test]
    fn requests_of_every_dialect_are_told_in_their_own_words() {
        let headers = [("x-use-case", "statements"), ("x-customer", "customer-1")];
        let generate = "/v1beta/models/gpt-4o:generateContent";
        for (path, dialect, body) in [
            (
                "/v1/messages",
                "anthropic",
                r#"{"model":"gpt-4o","max_tokens":9,"messages":[{"role":"user","content":"x"}]}"#,
            ),
            ("/v1/responses", "responses", r#"{"model":"gpt-4o","input":"x","store":false}"#),
            (
                "/api/chat",
                "ollama",
                r#"{"model":"gpt-4o","messages":[{"role":"user","content":"x"}]}"#,
            ),
            (generate, "gemini", r#"{"contents":[{"parts":[{"text":"x"}]}]}"#),
        ] {
            let text = at(CONFIG, &format!("POST {path}"), &headers, body);
            for line in [
                &*format!("request     POST {path} ({dialect}"),
                "arm         candidate (sticky)",
                "attempt 1   candidate: small on gpus (ollama)",
                "  asks      /api/chat for qwen2.5:32b",
                "attempt 2   baseline: big on cloud (openai)",
            ] {
                assert!(text.contains(line), "{line:?} is not in\n{text}");
            }
        }
        // Where the upstream speaks the client's dialect it gets the client's own words.
        let own = CONFIG.replace("\"openai\"", "\"anthropic\"");
        let thinks = r#"{"model":"claude-sonnet-4-6","max_tokens":9,"messages":[{"role":"user","content":"x"}],"speed":"fast"}"#;
        let text = at(&own, "POST /v1/messages", &[], thinks);
        assert!(text.contains("asks      /v1/messages for claude-sonnet-4-6"), "{text}");
        assert!(
            text.contains(&format!("body      {} bytes, the client's own", thinks.len())),
            "{text}"
        );
        // What a strict variant refuses is named as the client wrote it.
        let image = r#"{"model":"gpt-4o","input":[{"role":"user","content":[{"type":"input_image","image_url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}]}]}"#;
        let strict = CONFIG.replace("unsupported = \"lenient\"\n", "");
        let text = at(&strict, "POST /v1/responses", &headers, image);
        let refused = "400 unsupported_parameter (input[0].content[0].detail)";
        assert!(text.contains(refused), "{text}");
    }

    #[test]
    fn other_endpoints_are_told_too() {
        let text = at(CONFIG, "POST /v1/embeddings", &[], r#"{"model":"e","input":"x"}"#);
        assert!(text.contains("asks      /v1/embeddings for e"), "{text}");
        let text = at(CONFIG, "POST /api/embed", &[], r#"{"model":"e","input":"x"}"#);
        assert!(text.contains("asks      /v1/embeddings for e"), "{text}");
        let text = at(CONFIG, "POST /v1/completions", &[], r#"{"model":"c","prompt":"x"}"#);
        assert!(text.contains("asks      /v1/completions for c"), "{text}");
        let text = at(CONFIG, "POST /api/generate", &[], r#"{"model":"c","prompt":"x"}"#);
        assert!(text.contains("asks      /v1/chat/completions for c"), "{text}");
        let text = at(CONFIG, "GET /v1/models", &[], "");
        assert!(text.contains("instead     cutover answers it itself"), "{text}");
        let text = at(CONFIG, "POST /v1/files?key=k", &[], "--form");
        assert!(text.contains("passed on untouched to cloud (openai) as /v1/files, as"), "{text}");
        let text = at(CONFIG, "POST /v1/organization/projects", &[], "{}");
        assert!(text.starts_with("403 permission_denied"), "{text}");
        let text =
            at(CONFIG, "POST /v1/files?key=k&a=b", &[("x-use-case", "statements")], "--form");
        let part = "passed on untouched to cloud (openai) as /v1/files?a=b, where its use case's baseline is";
        assert!(text.contains(part), "{text}");
        let text = at(CONFIG, "DELETE /v1/chat/completions", &[], "");
        assert!(text.starts_with("405 method_not_allowed"), "{text}");
    }

    #[test]
    fn what_is_ambiguous_is_asked_back_and_what_would_be_fetched_is_not() {
        let text = explained(&[], r#"{"model":"m","input":"x"}"#);
        assert!(text.contains("/v1/embeddings, /v1/responses, /api/embed"), "{text}");
        let text = explained(
            &[],
            r#"{"model":"gpt-4o","max_tokens":9,"system":"s","messages":[{"role":"user","content":"x"}]}"#,
        );
        assert!(text.starts_with("request     POST /v1/messages (anthropic"), "{text}");
        let text =
            explained(&[], r#"{"model":"gpt-4o","input":"x","previous_response_id":"resp_1"}"#);
        assert!(
            text.contains("goes on from a stored response, which is not looked up here"),
            "{text}"
        );
        let fetches = CONFIG
            .replace("provider = \"ollama\"\n", "provider = \"ollama\"\nimage_urls = \"fetch\"\n");
        let image = r#"{"model":"gpt-4o","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://no.such.host.example/a.png"}}]}]}"#;
        let headers = [("x-use-case", "statements"), ("x-customer", "customer-1")];
        let text = explained_in(&fetches, None, (&headers, None), image);
        assert!(text.contains("  asks      /api/chat for qwen2.5:32b"), "{text}");
    }
}
