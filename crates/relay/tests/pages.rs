//! A web page instead of an answer: another server stands before the upstream, whatever that speaks.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::Bytes;
use cutover_relay::{adapted, read};
use cutover_wire::{Endpoint, Head, Mint, Provider, Received, Target, Unsupported, UpstreamFault};

const PAGE: &str = "\n<html><title>The plain HTTP request was sent to HTTPS port</title></html>";

fn read_page(provider: &str, status: u16) -> UpstreamFault {
    let body = Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let target = Target {
        model: Some("m".into()),
        unsupported: Unsupported::Lenient,
        ..Target::untouched(Provider::by_name(provider).unwrap())
    };
    let plan = adapted(&head, &body, &target).unwrap().reply;
    let mint = Mint { id: "id".to_owned(), model: "m".into(), created: 1 };
    let received = Received {
        status,
        content_type: Some("text/html"),
        retry_after: None,
        retry_after_ms: None,
        date: None,
        body: PAGE.into(),
    };
    read(&plan, &mint, received).1.unwrap_err()
}

/// Behind vendors' own APIs it was told as the client's fault, in words that said nothing.
#[test]
fn a_page_before_a_vendors_api_is_told_as_before_any_engine() {
    for status in [400, 401, 404, 408, 409, 413, 422, 429, 500, 501, 502, 503, 504, 529] {
        let told = |provider| {
            let UpstreamFault { fault, class, failover_ok, .. } = read_page(provider, status);
            (fault, class, failover_ok)
        };
        let plain = told("vllm");
        for vendor in ["anthropic", "gemini"] {
            assert_eq!(told(vendor), plain, "{vendor} {status}");
        }
    }
    let page = read_page("gemini", 422).fault.message;
    assert!(page.contains("it is a web page, not JSON, with status 422"), "{page}");
}
