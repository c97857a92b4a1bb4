//! Errors of upstreams, as clients are told of them.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use bytes::Bytes;
use cutover_relay::{adapted, read};
use cutover_units::Code;
use cutover_wire::{
    Endpoint, FaultClass, Head, Mint, Provider, Received, Target, Unsupported, UpstreamFault,
};

fn told(provider: &str, status: u16, error: &Bytes) -> UpstreamFault {
    let body = Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let target = Target {
        unsupported: Unsupported::Lenient,
        ..Target::untouched(Provider::by_name(provider).unwrap())
    };
    let plan = adapted(&head, &body, &target).unwrap().reply;
    let mint = Mint { id: "id".to_owned(), model: "m".into(), created: 1 };
    read(&plan, &mint, Received::new(status, error.clone())).1.unwrap_err()
}

/// An error that quotes its request is as long as a client wants, and many times that while it is read: values of a
/// list take a letter or two each, and 32 bytes then.
#[test]
fn one_that_is_too_long_to_be_read_is_told_by_its_status() {
    for (length, message) in
        [(1 << 19, "too little"), (1 << 21, "the upstream's error is too long to be read")]
    {
        let list = "0,".repeat(length / 2);
        let error = format!(
            r#"{{"error":{{"type":"invalid_request_error","status":"INVALID_ARGUMENT","message":"too little","input":[{list}0]}}}}"#
        );
        let error = Bytes::from(error);
        for provider in ["openai", "vllm", "ollama", "anthropic", "gemini"] {
            let UpstreamFault { fault, class, .. } = told(provider, 400, &error);
            assert_eq!((class, fault.code), (FaultClass::ClientFault, Code::InvalidRequest));
            assert_eq!(fault.message, message, "{provider}");
            assert_eq!(told(provider, 429, &error).class, FaultClass::RateLimited, "{provider}");
        }
    }
}
