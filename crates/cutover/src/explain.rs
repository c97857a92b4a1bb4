//! What would happen to a request: the same code that serves it, without sending anything.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use cutover_control::api::{
    ExplainRequest, ExplainedBody, ExplainedLeg, ExplainedLoss, Explanation, Failure,
};
use cutover_gateway::{Lane, Live};
use cutover_relay::adapted;
use cutover_route::{Ask, Caller, Leg, Priority};
use cutover_store::Key;
use cutover_units::{Code, UseCaseName};
use cutover_wire::{Endpoint, Fault, Head};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The unit of a request that brings none, so that the same question has the same answer.
const REQUEST_ID: &str = "req_explained";

/// Tells what would happen to a request.
pub(crate) fn explain(live: &Live, request: &ExplainRequest) -> Result<Explanation, Failure> {
    let endpoint = Endpoint::from_path(&request.path).ok_or_else(|| Failure {
        code: "not_found".to_owned(),
        message: format!("what a request to {} becomes is not told here", request.path),
        hint: Some(format!("it is for {}", Endpoint::ALL.map(Endpoint::path).join(", "))),
    })?;
    let body = Bytes::from(request.body.get().to_owned());
    let head = Head::read(endpoint, &body).map_err(|fault| refusal(&fault))?;
    let header = |name: &str| {
        let found = request.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    };
    let key = key(live, request)?;
    live.check_hints(&headers(request)?, key.as_deref()).map_err(|fault| refusal(&fault))?;
    let metadata = |name: &str| head.metadata(&body, name).map(Cow::Owned);
    let hint = head.priority(&body);
    let hint = header("x-cutover-priority").or(hint.as_deref());
    let decision = live.snapshot.decide(&Ask {
        model: &head.model,
        user: head.safety_identifier.as_deref().or(head.user.as_deref()),
        header: &header,
        metadata: &metadata,
        caller: Caller {
            key_name: request.key.as_deref(),
            use_case: key.as_ref().and_then(|key| key.use_case.as_ref()).map(UseCaseName::as_str),
        },
        use_case: header("x-cutover-use-case"),
        priority: hint.and_then(Priority::parse),
        local_only: header("x-cutover-residency").is_some()
            || key.as_ref().is_some_and(|key| key.local_only),
        request_id: REQUEST_ID,
    });
    let use_case = decision.use_case.and_then(|at| live.snapshot.use_case(at));
    Ok(Explanation {
        use_case: use_case.map(|found| found.name.to_string()),
        arm: decision.arm.to_string(),
        assignment: decision.assignment.as_str().to_owned(),
        unit: decision.unit.to_string(),
        bucket: decision.bucket,
        weight: use_case.map(|found| found.weight.to_string()),
        local_only: decision.local_only,
        legs: decision.legs.iter().map(|leg| explain_leg(live, *leg, (&head, &body))).collect(),
    })
}

/// The key that the request comes with. Where the keys are not known, its name is all there is.
fn key(live: &Live, request: &ExplainRequest) -> Result<Option<Arc<Key>>, Failure> {
    let Some(ring) = &live.keys else { return Ok(None) };
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

fn headers(request: &ExplainRequest) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    for (name, value) in &request.headers {
        let wrong = |why: String| Failure {
            code: "invalid_header".to_owned(),
            message: format!("{name:?} is no header: {why}"),
            hint: None,
        };
        let read = HeaderName::from_bytes(name.as_bytes()).map_err(|e| wrong(e.to_string()))?;
        let value = HeaderValue::from_str(value).map_err(|e| wrong(e.to_string()))?;
        headers.append(read, value);
    }
    Ok(headers)
}

fn explain_leg(live: &Live, leg: Leg, request: (&Head, &Bytes)) -> ExplainedLeg {
    let variant = live.snapshot.variants().get(usize::from(leg.variant.0));
    let mut explained = ExplainedLeg {
        arm: leg.arm.to_string(),
        variant: variant.map(|v| v.name.to_string()).unwrap_or_default(),
        upstream: variant.map(|v| v.upstream.to_string()).unwrap_or_default(),
        provider: String::new(),
        path: None,
        model: None,
        body: None,
        prompt: None,
        losses: Vec::new(),
        refused: None,
    };
    if let Some(lane) = live.lane(leg.variant) {
        fill(&mut explained, lane, request);
    }
    explained
}

fn fill(explained: &mut ExplainedLeg, lane: &Lane, (head, body): (&Head, &Bytes)) {
    lane.target.provider.name.clone_into(&mut explained.provider);
    explained.prompt = lane.prompt_version().map(str::to_owned);
    let target = lane.target_for(head, body);
    let outgoing = match target.and_then(|target| adapted(head, body, &target)) {
        Ok(outgoing) => outgoing,
        Err(fault) => {
            explained.refused = Some(refusal_text(&fault));
            return;
        }
    };
    explained.path = Some(outgoing.path.to_string());
    explained.model = Some(lane.target.model.as_deref().unwrap_or(&head.model).to_owned());
    let unchanged = outgoing.body.len() == 1 && outgoing.body.first() == Some(body);
    let bytes = outgoing.body.iter().map(Bytes::len).sum();
    explained.body = Some(ExplainedBody { bytes, unchanged });
    explained.losses = outgoing
        .losses
        .iter()
        .map(|loss| ExplainedLoss {
            field: loss.field.clone(),
            action: loss.action.as_str().to_owned(),
            why: loss.why.to_owned(),
        })
        .collect();
}

fn refusal(fault: &Fault) -> Failure {
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
    let mut lines = Vec::new();
    match (&explanation.use_case, &explanation.weight) {
        (Some(use_case), Some(weight)) => {
            lines.push(format!("use case    {use_case} (candidate's weight {weight})"));
        }
        _ => lines.push("use case    none matches: the default upstream takes it".to_owned()),
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
    use crate::verbs::check;
    use cutover_store::{KeyRing, NewKey, Options, Secret, Store};
    use cutover_units::Millis;
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
            path: "/v1/chat/completions".to_owned(),
            headers: headers.iter().map(own).collect(),
            key: key.map(str::to_owned),
            body: RawValue::from_string(body.to_owned()).unwrap(),
        };
        match explain(&live, &request) {
            Ok(explanation) => show(&explanation),
            Err(failure) => failure.message,
        }
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
            "use case    none matches: the default upstream takes it\n\
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
}
