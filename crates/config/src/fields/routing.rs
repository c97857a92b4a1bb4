//! Rows of the sections that say where requests go.

use super::Kind::{
    Bool, Choice, HeaderMap, KeepAlive, List, Name, Number, Path, Percent, Price, Prompt, Text,
    TextMap, Unit, UpstreamKey, Vars,
};
use super::failover::{
    DEADLINE, HEDGE_AFTER, ON_INTERRUPT, PREFILL, RETRIES, RETRY_BUDGET, RETRY_BUDGET_MIN,
};
use super::instances::{BALANCE, BASE_URL, INSTANCES, NAME_SERVER, RESOLVE};
use super::kinds::{
    COUNT_MAX, TOKENS_MAX, count, deadline, required, row, size, table, value, words,
};
use super::loading::{COLD, IN_FLIGHT_LIMIT, WARM};
use super::overflow::{OVERFLOW, PRIORITY_CLASS, QUEUE};
use super::rollouts::{GATE, ROLLOUT, SCORER, SHADOW, STEP};
use super::surface::IMAGE_URLS;
use super::{Kind, Preset, Section};
use crate::checked::{Quantization, StreamUsage, StructuredOutput, SystemRole, Think, Unsupported};
use crate::providers::PROVIDER_NAMES;

pub(crate) static UPSTREAM: Section = Section {
    path: "upstreams.NAME",
    doc: "A service that answers: cloud or self-hosted, with one or more instances.",
    fields: &[
        required("provider", Choice(PROVIDER_NAMES), "The kind of service."),
        BASE_URL,
        INSTANCES,
        RESOLVE,
        NAME_SERVER,
        BALANCE,
        value(
            "probes",
            Bool,
            "true",
            "For providers ollama, vllm and llamacpp: whether each instance is asked regularly how it is, by pages that load no model and cost no token.",
        ),
        value(
            "probe_interval",
            Kind::Duration { min_ms: 1_000, max_ms: 3_600_000 },
            r#""5 s""#,
            "How often. An instance that refuses two probes, or misses three while it answers no request, is down until one succeeds.",
        ),
        value(
            "waiting_limit",
            count(1, COUNT_MAX),
            "8",
            "So many requests waiting inside an engine, as it tells itself, make the instance count as saturated, until fewer than half are left.",
        ),
        IN_FLIGHT_LIMIT,
        QUEUE,
        words(
            "key",
            UpstreamKey,
            "{ env = \"OPENAI_API_KEY\", optional = true } for provider openai, else \"none\"",
            "What requests carry as API key. \"client\" passes the client's own key on, to this upstream only and in its own form (a key that looks like another vendor's is refused), and needs `server.keys = \"off\"`. The key itself never stands in the file.",
        ),
        value(
            "headers",
            HeaderMap,
            "{}",
            "Static extra headers, such as `openai-organization`. A value is a text or a secret reference.",
        ),
        words(
            "local",
            Bool,
            "true for provider embedded, else false",
            "Whether it may see data that must not leave your own machines.",
        ),
        value(
            "connect_timeout",
            deadline(),
            r#""5 s""#,
            "Time for name look-up, connection and TLS together.",
        ),
        value(
            "first_token_timeout",
            deadline(),
            r#""120 s""#,
            "For streams: time from the request's last byte to the answer's first content. An answer that is not a stream shows nothing before it is whole: `first_byte_timeout` holds for it.",
        ),
        words(
            "first_byte_timeout",
            deadline(),
            "`total_timeout`",
            "For answers that are not streams: time from sending a request to the head of its answer, which mostly comes with all the rest. Until it ends an upstream that hangs is waited for; then the next instance or the baseline is asked. Set it to what your longest whole answer takes, so that a request outlives a hung upstream.",
        ),
        value(
            "idle_timeout",
            deadline(),
            r#""60 s""#,
            "Longest silence within an answer that has begun. In a stream any byte ends it, but signs of life alone (comments, objects without choices, a line that does not end) keep it open no longer than this or `first_token_timeout`, whichever is longer. Each event of Anthropic's, Gemini's or the Responses protocol (a `ping`, too) is the vendor's word that it is at work.",
        ),
        value("total_timeout", deadline(), r#""10 min""#, "Time for an attempt as a whole."),
        RETRY_BUDGET,
        RETRY_BUDGET_MIN,
        RETRIES,
        value(
            "cancel_on_disconnect",
            Bool,
            "true",
            "Whether a client that goes away ends the request here, too. Turn it off for services that bill and lose what is cancelled.",
        ),
        value(
            "max_connections",
            count(1, COUNT_MAX),
            "512",
            "Most connections to one instance. Where all are in use, a request goes to another instance or arm. Where there is none, it waits for one, in order of arrival and for at most `connect_timeout` (`cutover_queue_wait_seconds`), and is then refused as overload.",
        ),
        value(
            "answer_limit",
            size(1 << 10, 1 << 30),
            r#""64 MiB""#,
            "Largest answer that is not a stream. More is an upstream failure.",
        ),
        value(
            "event_limit",
            size(1 << 10, 1 << 28),
            r#""8 MiB""#,
            "Largest single event of a stream. More is an upstream failure.",
        ),
        value(
            "stream_usage",
            Choice(StreamUsage::WORDS),
            r#""ask""#,
            "Whether `stream_options.include_usage` is sent with streams, so that the upstream tells the \
             tokens they took. \"never\" is for services of OpenAI's dialect that refuse `stream_options`: \
             unless the upstream tells it unasked, a stream's usage is then an estimate (a quarter of \
             the prompt's bytes, one token for each chunk), and recorded as one. A client's own \
             `stream_options` is treated as the variant's `unsupported` says.",
        ),
        words(
            "responses",
            Bool,
            "true for provider openai, else false",
            "Providers openai and openai-compatible only: whether the service speaks OpenAI's Responses API as OpenAI does. \
             Its clients' requests and answers then pass as they are, with built-in tools and encrypted \
             reasoning; else they are made of chat completions.",
        ),
        words(
            "image_urls",
            IMAGE_URLS,
            "\"pass\" for hosted providers at public addresses, else \"refuse\"",
            "What happens to images that a chat names by address: \"pass\" lets the upstream fetch them, \
             \"refuse\" answers 400, \"fetch\" fetches them here within the limits of `[images]` and sends \
             them inside the request. A self-hosted engine that fetches does it from inside your network, \
             whatever a client names.",
        ),
        words(
            "ca_file",
            Path,
            "the built-in roots",
            "File with the certificates (PEM) to trust instead of the built-in roots. An engine's own self-signed \
             one must not call itself a CA (`openssl req -x509 -addext basicConstraints=critical,CA:FALSE`). A reload reads it again: \
             if its content has changed, new connections trust what it holds now.",
        ),
        value(
            "models",
            List(&Text),
            "[]",
            "Models to show in `/v1/models`. Empty asks the upstream. llama.cpp's server answers any \
             name; with a list, other names are refused with 404.",
        ),
        words(
            "model",
            Text,
            "\"smollm2-135m-instruct\" for provider embedded",
            "Provider embedded only: a known model's name, or the path of a GGUF file.",
        ),
        words(
            "quantization",
            Choice(Quantization::WORDS),
            "\"q8_0\" for provider embedded",
            "Provider embedded only: how weights are held.",
        ),
        words(
            "slots",
            count(1, 64),
            "1 for provider embedded",
            "Provider embedded only: requests that generate at the same time. Each holds a context of its own in memory.",
        ),
        words(
            "context",
            count(64, TOKENS_MAX),
            "the model's own",
            "Provider embedded only: context window in tokens.",
        ),
    ],
};

pub(crate) static VARIANT: Section = Section {
    path: "variants.NAME",
    doc: "Upstream, model, prompt and sampling under one name. Variants, not models, are compared.",
    fields: &[
        required("upstream", Name("upstreams"), "The upstream that answers."),
        words(
            "model",
            Text,
            "required, except on provider embedded: the upstream's model",
            "The model's name at the upstream.",
        ),
        words(
            "system_prompt",
            Prompt,
            "none",
            "A system prompt of the variant's own, put before the request's messages. Prompts do not port from model to model.",
        ),
        words(
            "prompt",
            Text,
            "none",
            "A prompt in the store, such as \"extraction@production\" (the version that a label is on) or \"extraction@3\". `cutover prompt` adds versions and moves labels. Not together with `system_prompt`.",
        ),
        value("vars", Vars, "{}", "Values for the prompt: `{{ vars.NAME }}` in its text."),
        value(
            "prompt_metadata",
            List(&Text),
            "[]",
            "Entries of a request's `metadata` that the prompt may use: `{{ metadata.NAME }}` in its text. Such a prompt is rendered for each request; one that uses an entry which a request does not have refuses it, unless the text gives a default.",
        ),
        value(
            "system_role",
            Choice(SystemRole::WORDS),
            r#""system""#,
            "Which role carries the model's instructions. \"user\" is for models whose template has no system role: system text, the client's own too, goes into the next user message.",
        ),
        value("stop", List(&Text), "[]", "Stop sequences besides the request's own, at most 4."),
        words(
            "structured_output",
            Choice(StructuredOutput::WORDS),
            "\"native\" for every provider so far",
            "How a form of the answer (`response_format`) is asked for. \"native\": as it came. \"grammar\": by the engine's own field (vllm, llamacpp; ollama and embedded make a grammar of it anyway). \"json-mode\": JSON natively, the schema in words. \"instruct-and-repair\": all in words; the one JSON object in the answer's text that fits the schema is the answer, and where there is none the answer has failed. A stream is then asked for whole, and sent as a stream once it is repaired.",
        ),
        words(
            "format_instruction",
            Text,
            "none",
            "A text at the end of the system text, such as how this model is best told to answer with JSON alone.",
        ),
        words(
            "temperature",
            Number { min: 0.0, max: 2.0 },
            "the upstream's own",
            "Temperature for requests that give none.",
        ),
        words(
            "top_p",
            Number { min: 0.0, max: 1.0 },
            "the upstream's own",
            "Nucleus share for requests that give none.",
        ),
        words(
            "max_tokens",
            count(1, TOKENS_MAX),
            "the upstream's own; 1024 for chats on provider embedded",
            "Answer length in tokens for requests that give none. An answer that is cut there ends with `finish_reason` \"length\".",
        ),
        words(
            "seed",
            count(i64::MIN, i64::MAX),
            "the upstream's own",
            "Seed for requests that give none.",
        ),
        value(
            "unsupported",
            Choice(Unsupported::WORDS),
            r#""strict""#,
            "What happens to a field that the target cannot honour: \"strict\" refuses the request with a 400 that names it, \"lenient\" drops it and reports the loss in a header, the log and a metric.",
        ),
        words(
            "tools",
            Bool,
            "not known: the upstream decides",
            "Whether the model can be given tools. False, a request with tools is treated as `unsupported` says. llama.cpp's server drops tools without a word where the model's template has none.",
        ),
        words(
            "images",
            Bool,
            "not known: the upstream decides",
            "Whether the model sees images. False, a request with images is refused (and asked of the baseline, where there is another), also where `unsupported` is \"lenient\": an answer about a picture that was left out would be made up.",
        ),
        WARM,
        PREFILL,
        table("ollama", &OLLAMA),
        words(
            "price",
            Kind::Table(&PRICE),
            "the built-in list's price, else \"unpriced\"",
            "The variant's price.",
        ),
    ],
};

pub(crate) static OLLAMA: Section = Section {
    path: "variants.NAME.ollama",
    doc: "What only Ollama understands. Ignored, with a warning, for other providers.",
    fields: &[
        words(
            "num_ctx",
            count(64, TOKENS_MAX),
            "Ollama's own",
            "Context window in tokens. One value per model: each change makes Ollama load the model anew. Where variants of one model ask for different ones, the largest holds for all of them, and for traffic to the default upstream that names the model.",
        ),
        words(
            "keep_alive",
            KeepAlive,
            "Ollama's own, 5 min",
            "How long the model stays loaded after a request, or \"forever\".",
        ),
        words(
            "think",
            Choice(Think::WORDS),
            "the model's own",
            "Whether a thinking model thinks, and how much.",
        ),
        value(
            "truncate",
            Bool,
            "false",
            "Whether Ollama may silently cut a prompt that is too long. Off, such a request is refused.",
        ),
        value(
            "completions_use_template",
            Bool,
            "false",
            "Whether `/v1/completions` goes through the model's chat template, as Ollama's own `/v1` does. Off, the prompt is continued as it stands.",
        ),
    ],
};

pub(crate) static PRICE: Section = Section {
    path: "variants.NAME.price",
    doc: "A price in US dollars per million tokens, exact to nine decimals.",
    fields: &[
        required("input_usd_per_mtok", Price, "Price of prompt tokens."),
        words(
            "cached_input_usd_per_mtok",
            Price,
            "`input_usd_per_mtok`",
            "Price of prompt tokens that the provider read from its cache.",
        ),
        required("output_usd_per_mtok", Price, "Price of answer tokens."),
    ],
};

pub(crate) static USE_CASE: Section = Section {
    path: "use_cases.NAME",
    doc: "A kind of request that moves from its baseline to its candidate as one unit.",
    fields: &[
        row("match", Kind::Table(&MATCH), Preset::Required, "Which requests belong to it."),
        value(
            "unit",
            Unit,
            r#""user""#,
            "What is assigned to an arm as one and stays there. A request without the unit is assigned by itself and is not sticky. \"user\" is the request's `safety_identifier` or `user`, \"key\" the client's API key.",
        ),
        required("baseline", Name("variants"), "The variant that serves it today."),
        words("candidate", Name("variants"), "none", "The variant that shall take over."),
        value(
            "weight",
            Percent,
            r#""0%""#,
            "The candidate's share until one is stored by `cutover weight`, a rollback or a rollout; from then on the stored one holds. It is kept as the share of the candidate that the file names when it comes into force: another candidate begins at 0.",
        ),
        value(
            "pilot",
            List(&Text),
            "[]",
            "Units that get the candidate as soon as the weight is above 0; at 0 the baseline, like everyone. They never count in comparisons.",
        ),
        value(
            "excluded",
            List(&Text),
            "[]",
            "Units that always get the baseline. They never count in comparisons.",
        ),
        words(
            "salt",
            Text,
            "the use case's name",
            "Keeps the assignment apart from other use cases'. A new salt assigns every unit anew.",
        ),
        value(
            "failover",
            Bool,
            "true",
            "Whether the baseline answers where the candidate failed before any content was sent.",
        ),
        DEADLINE,
        HEDGE_AFTER,
        ON_INTERRUPT,
        COLD,
        OVERFLOW,
        PRIORITY_CLASS,
        value(
            "priority_hint",
            Bool,
            "true",
            "Whether a request's hint `priority: cost` or `priority: quality` is followed.",
        ),
        words("smoothing", Kind::Table(&SMOOTHING), "off", "Even pace of streamed tokens."),
        value(
            "residency",
            Choice(&["any", "local-only"]),
            r#""any""#,
            "Who may see its requests: anyone, or only upstreams that are `local`. With \"local-only\" both variants must be local, and so must a variant that its scorer asks.",
        ),
        words(
            "rollout",
            Kind::Table(&ROLLOUT),
            "none: its share is set by hand",
            "How it moves from baseline to candidate by itself.",
        ),
        words("scorer", Kind::Scorer, "none: no quality is measured", SCORER.doc),
        table("shadow", &SHADOW),
    ],
};

pub(crate) static MATCH: Section = Section {
    path: "use_cases.NAME.match",
    doc: "Conditions; at least one is given, and all that are given must hold. Where several use cases match, the one with more header conditions wins, then one with a key, then more metadata, then a model, then the first by name.",
    fields: &[
        value("header", TextMap, "{}", "Headers and the exact values they must have."),
        words(
            "key",
            Text,
            "any",
            "Name of the client's API key. Needs `server.keys = \"required\"`.",
        ),
        value(
            "metadata",
            TextMap,
            "{}",
            "Entries of the request's `metadata`, as its client wrote it in whichever dialect, and the exact values they must have.",
        ),
        words("model", Text, "any", "The model that the request asks for."),
    ],
};

pub(crate) static SMOOTHING: Section = Section {
    path: "use_cases.NAME.smoothing",
    doc: "Even pace of streamed tokens. Present, even empty, it is on.",
    fields: &[
        value(
            "interval",
            Kind::Duration { min_ms: 1, max_ms: 1_000 },
            r#""50 ms""#,
            "Least time between two pieces.",
        ),
        value(
            "max_delay",
            Kind::Duration { min_ms: 1, max_ms: 60_000 },
            r#""1 s""#,
            "Most delay that smoothing may add to a piece. At most 256 pieces are held back (the oldest goes when another comes), and none before the first text.",
        ),
    ],
};

pub(crate) static SECRET: Section = Section {
    path: "secret reference",
    doc: "Where a secret is. Exactly one of `env` and `file`.",
    fields: &[
        words("env", Text, "none", "Name of the environment variable that holds it."),
        words(
            "file",
            Path,
            "none",
            "Path of the file that holds it; a line break at its end does not count.",
        ),
        value(
            "optional",
            Bool,
            "false",
            "Whether its absence is fine. Otherwise cutover does not start without it.",
        ),
    ],
};

pub(crate) static PROMPT: Section = Section {
    path: "prompt reference",
    doc: "A prompt in a file of its own.",
    fields: &[required("file", Path, "Path of the file, UTF-8 text.")],
};

pub(crate) static UNIT: Section = Section {
    path: "unit reference",
    doc: "What carries the unit. Exactly one of `header` and `metadata`.",
    fields: &[
        words("header", Text, "none", "Name of the header."),
        words("metadata", Text, "none", "Name of the entry in the request's `metadata`."),
    ],
};

/// The shapes that stand inside a value, for the reference.
pub(crate) static SHAPES: &[&Section] = &[&SECRET, &PROMPT, &UNIT, &GATE, &STEP];
