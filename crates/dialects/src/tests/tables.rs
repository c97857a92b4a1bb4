//! The tables tell the truth: each row that loses something is seen to, by the conversions themselves.

use std::collections::BTreeSet;

use bytes::Bytes;
use cutover_wire::LossAction;

use super::support::{facts, fixture, lenient, names, path_of, read};
use crate::{Asked, DIALECTS, Fate, RequestFacts};

/// What the fixtures and these bodies report, by dialect.
fn reported(folder: &str) -> BTreeSet<(String, &'static str)> {
    const MORE: &[(&str, &str)] = &[
        (
            "/v1/messages",
            r#"{"model":"m","max_tokens":1,"speed":"fast","fallbacks":[],"container":"c","mcp_servers":[],"inference_geo":"eu","thread":"t","billing_policy":{},"fallback_credit_token":"x","diagnostics":{},"compaction":{},"user_profile_id":"u","workspace_id":"w","output_format":{"type":"json_schema","schema":{}},"system":[{"type":"text","text":"a","citations":{}}],"tools":[{"type":"bash_20250124","name":"bash"},{"name":"f","input_schema":{},"allowed_callers":[],"eager_input_streaming":true}],"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"a"},{"type":"tool_use","id":"a","name":"f","input":{},"caller":{},"toolset_name":"s"}]},{"role":"user","content":[{"type":"image","source":{"type":"url","url":"a"},"transformations":[]}]}]}"#,
        ),
        (
            "/v1/messages",
            r#"{"model":"m","max_tokens":0,"tool_choice":{"type":"pick"},"tools":[{"type":"web_search_20250305"}],"messages":[{"role":"user","content":[{"type":"hologram"}]}]}"#,
        ),
        ("/v1beta/models/asked:generateContent", r#"{"contents":[{"parts":[{"hologram":{}}]}]}"#),
        (
            "/v1/responses",
            r#"{"model":"m","input":[{"type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"a"}]},{"type":"shell_call"},{"role":"user","content":[{"type":"input_text","text":"a","prompt_cache_breakpoint":{}}]},{"type":"function_call","call_id":"c","name":"f","arguments":"","caller":{},"async":true},{"role":"user","content":"hurry"},{"type":"function_call_output","call_id":"c","output":"r"},{"type":"configuration_update"},{"role":"user","content":[{"type":"hologram"}]}],"access_programs":{},"image":{},"tools":[{"type":"function","name":"f","output_schema":{},"async":true,"allowed_callers":[]},{"type":"mcp"},{"type":"local_shell"}],"reasoning":{"generate_summary":"auto","context":"all","mode":"pro"},"context_management":[],"moderation":{},"prompt_cache_options":{},"max_tool_calls":1}"#,
        ),
        (
            "/api/chat",
            r#"{"model":"m","think":false,"tools":[{"type":"retrieval"}],"options":{"typical_p":1,"tfs_z":1,"repeat_last_n":1,"penalize_newline":true,"mirostat":1,"mirostat_tau":1,"mirostat_eta":1,"num_keep":1,"num_batch":1,"num_gpu":1,"main_gpu":0,"num_thread":1,"use_mmap":true,"use_mlock":true,"numa":true,"low_vram":true,"draft_num_predict":1,"f16_kv":true,"logits_all":true,"vocab_only":true},"messages":[{"role":"assistant","content":"a","thinking":"b"}]}"#,
        ),
        ("/api/generate", r#"{"model":"m","prompt":"a","raw":true,"format":"json","context":[1]}"#),
        (
            "/api/generate",
            r#"{"model":"m","prompt":"a","raw":true,"images":["/9j/"],"think":"utmost","template":"b"}"#,
        ),
    ];
    let mut seen = BTreeSet::new();
    let forgetful = RequestFacts { keep_reasoning: false, ..lenient() };
    let own = names(folder, ".json").into_iter().filter(|name| !name.ends_with(".bad.json"));
    let mut bodies: Vec<(&str, Bytes)> = own
        .map(|name| format!("{folder}/{name}"))
        .map(|file| (path_of(&file), fixture(&file)))
        .collect();
    let more = MORE.iter().filter(|(path, _)| super::support::found(path).dialect.name == folder);
    bodies.extend(more.map(|(path, body)| (*path, Bytes::from_static(body.as_bytes()))));
    for (path, body) in bodies {
        match read(path, &body, &forgetful) {
            Ok(Asked::Infer(inbound)) => {
                seen.extend(
                    inbound.losses.into_iter().map(|loss| (loss.field, loss.action.as_str())),
                );
            }
            Ok(Asked::Now(_)) => {}
            Err(fault) => panic!("{path} {fault} {:?}", fault.param),
        }
    }
    seen
}

#[test]
fn each_row_that_loses_something_is_reported() {
    for dialect in DIALECTS {
        let seen = reported(dialect.name);
        for field in dialect.fields {
            let action = match field.fate {
                Fate::Approximated(_) => LossAction::Approximated,
                Fate::Dropped | Fate::Unsupported => LossAction::Dropped,
                _ => continue,
            };
            let path = field.path.rsplit(": ").next().unwrap_or(field.path);
            assert!(seen.contains(&(path.to_owned(), action.as_str())), "{} {path}", dialect.name);
        }
    }
}

/// What is refused: path, the field that the refusal names, body.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "/v1/messages",
        "messages[0].content[0].source.url",
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"https://a"}}]}]}"#,
    ),
    (
        "/v1/messages",
        "messages[0].content[0].source.file_id",
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"file","file_id":"f"}}]}]}"#,
    ),
    (
        "/v1/messages",
        "mcp_servers",
        r#"{"model":"m","max_tokens":1,"mcp_servers":[{}],"messages":[{"role":"user","content":"a"}]}"#,
    ),
    (
        "/v1/messages",
        "inference_geo",
        r#"{"model":"m","max_tokens":1,"inference_geo":"us","messages":[{"role":"user","content":"a"}]}"#,
    ),
    (
        "/v1/messages",
        "tools[0].type",
        r#"{"model":"m","max_tokens":1,"tools":[{"type":"computer_20250124"}],"messages":[{"role":"user","content":"a"}]}"#,
    ),
    ("/v1/responses", "conversation", r#"{"model":"m","input":"a","conversation":"c"}"#),
    ("/v1/responses", "prompt", r#"{"model":"m","prompt":{"id":"p"}}"#),
    ("/v1/responses", "background", r#"{"model":"m","input":"a","background":true}"#),
    (
        "/v1/responses",
        "tools[1].type",
        r#"{"model":"m","input":"a","tools":[{"type":"function","name":"f"},{"type":"code_interpreter"}]}"#,
    ),
    (
        "/v1/responses",
        "tool_choice.type",
        r#"{"model":"m","input":"a","tool_choice":{"type":"file_search"}}"#,
    ),
    ("/v1/responses", "input[0].type", r#"{"model":"m","input":[{"type":"computer_call"}]}"#),
    (
        "/v1/responses",
        "input[0].content[0].file_id",
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_id":"f"}]}]}"#,
    ),
    (
        "/v1/responses",
        "input[0].content[0].file_url",
        r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_url":"f"}]}]}"#,
    ),
    ("/v1/responses", "moderation", r#"{"model":"m","input":"a","moderation":{}}"#),
    (
        "/api/chat",
        "tools[0].type",
        r#"{"model":"m","messages":[{"role":"user"}],"tools":[{"type":"x"}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        "contents[0].parts[0].fileData.fileUri",
        r#"{"contents":[{"parts":[{"fileData":{"mimeType":"video/mp4","fileUri":"https://a/b.mp4"}}]}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        "cachedContent",
        r#"{"contents":[{"parts":[{"text":"a"}]}],"cachedContent":"c"}"#,
    ),
    (
        "/v1/models/m:streamGenerateContent",
        "tools[0].codeExecution",
        r#"{"contents":[{"parts":[{"text":"a"}]}],"tools":[{"codeExecution":{}}]}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        "generationConfig.responseModalities",
        r#"{"contents":[{"parts":[{"text":"a"}]}],"generationConfig":{"responseModalities":["AUDIO"]}}"#,
    ),
    (
        "/v1beta/models/m:generateContent",
        "contents[0].parts[0].inlineData",
        r#"{"contents":[{"role":"model","parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}]}"#,
    ),
    ("/api/generate", "template", r#"{"model":"m","prompt":"a","template":"b"}"#),
    ("/api/generate", "think", r#"{"model":"m","prompt":"a","think":4096}"#),
    ("/api/generate", "context", r#"{"model":"m","prompt":"a","context":[1]}"#),
    ("/api/generate", "images", r#"{"model":"m","prompt":"a","raw":true,"images":["/9j/"]}"#),
    ("/api/generate", "format", r#"{"model":"m","prompt":"a","raw":true,"format":"json"}"#),
];

#[test]
fn each_refused_row_is_refused_by_name() {
    for (path, param, body) in REFUSED {
        let fault = read(path, &Bytes::from_static(body.as_bytes()), &facts()).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some(*param), "{body}");
        assert_eq!(fault.code, cutover_units::Code::UnsupportedParameter, "{body}");
    }
}

#[test]
fn no_path_has_two_rows() {
    for dialect in DIALECTS {
        let mut paths: Vec<&str> = dialect.fields.iter().map(|field| field.path).collect();
        let rows = paths.len();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), rows, "{}", dialect.name);
    }
}
