//! What becomes of each field of a chat completions request on its way to Anthropic.

use crate::schema::DESCRIBED;
use crate::{Fate, Field};

use Fate::{Approximated, Carried, Dropped, Mapped, Refused, Unsupported};

const NONE: &str = "the Messages API has no such setting";
const HINT: &str = "a hint about service, not about the answer";
const NO_SOUND: &str = "the Messages API takes and gives no sound";

const NO_SAMPLING: &str = "this model takes no sampling";
const THINKS: &str = "with thinking Anthropic takes no sampling";
const ONE: &str = "of temperature and top_p Anthropic takes one";

pub(super) const BLANK_STOP: &str = "Anthropic stops at no white space alone";

pub(super) const FIELDS: &[Field] = &[
    Field::new("model", Carried("model"), ""),
    Field::new("stream", Carried("stream"), ""),
    Field::new("stream_options", Mapped("stream"), "the usage always comes"),
    Field::new("messages", Mapped("messages"), "roles alternate: turns in a row become one"),
    Field::new("messages[].system", Mapped("system"), "system and developer messages at the start"),
    Field::new(
        "messages[].system.later",
        Approximated("system"),
        "one system prompt only: later ones are joined to it",
    ),
    Field::new(
        "messages[].system.alone",
        Approximated("messages"),
        "a conversation of nothing but system messages is sent as the user's turn",
    ),
    Field::new(
        "messages[].name",
        Unsupported,
        "the Messages API has no names of participants; put the name into the text",
    ),
    Field::new("messages[].content[].image_url", Mapped("messages"), "data URLs become base64"),
    Field::new("messages[].content[].image_url.detail", Unsupported, NONE),
    Field::new(
        "messages[].content[].file",
        Mapped("messages"),
        "a PDF as data URL becomes a document",
    ),
    Field::new(
        "cache_control",
        Carried("cache_control"),
        "also beside parts, messages and tools, as Anthropic's own clients mark them",
    ),
    Field::new("messages[].content[].file_id", Refused, "send the file's data"),
    Field::new("messages[].content[].input_audio", Refused, NO_SOUND),
    Field::new("messages[].function_call", Refused, "the deprecated form; use tools"),
    Field::new(
        "messages[].tool_calls",
        Mapped("messages"),
        "ids get the letters that are taken there, and each is sent once",
    ),
    Field::new(
        "messages[].tool_calls[].function.arguments",
        Approximated("messages"),
        "what is no JSON object is sent as a text in one",
    ),
    Field::new("messages[].tool", Mapped("messages"), "the results of one turn are one user turn"),
    Field::new(
        "messages[].tool.order",
        Approximated("messages"),
        "results come first: what stood before them comes after them",
    ),
    Field::new("messages[].is_error", Carried("messages"), "Anthropic's mark of a failed tool"),
    Field::new("messages[].reasoning_details", Mapped("messages"), "thinking with its signature"),
    Field::new(
        "messages[].reasoning_content",
        Dropped,
        "thinking without Anthropic's signature is refused there",
    ),
    Field::new("max_completion_tokens", Carried("max_tokens"), ""),
    Field::new("max_tokens", Carried("max_tokens"), "if max_completion_tokens is not there"),
    Field::new("max_tokens.default", Approximated("max_tokens"), "a limit is required: 8192"),
    Field::new("temperature", Carried("temperature"), ""),
    Field::new("temperature.range", Approximated("temperature"), "1 is the most"),
    Field::new("temperature.model", Unsupported, NO_SAMPLING),
    Field::new("temperature.thinking", Unsupported, THINKS),
    Field::new("temperature.both", Unsupported, ONE),
    Field::new("top_p", Carried("top_p"), "1 asks for nothing, here and in temperature"),
    Field::new("top_p.model", Unsupported, NO_SAMPLING),
    Field::new("top_p.thinking", Unsupported, THINKS),
    Field::new("top_p.both", Unsupported, ONE),
    Field::new("stop", Mapped("stop_sequences"), ""),
    Field::new("stop.blank", Unsupported, BLANK_STOP),
    Field::new("tools", Mapped("tools"), ""),
    Field::new("tools[].type", Unsupported, "only functions can be sent"),
    Field::new("tool_choice", Mapped("tool_choice"), "required becomes any"),
    Field::new("tool_choice.type", Unsupported, "only a function can be chosen"),
    Field::new("tool_choice.forced", Unsupported, "this model takes no forced calls"),
    Field::new("parallel_tool_calls", Mapped("tool_choice.disable_parallel_tool_use"), ""),
    Field::new("response_format", Mapped("output_config.format"), "a schema"),
    Field::new("response_format.json_schema.description", Dropped, DESCRIBED),
    Field::new("response_format.type", Unsupported, "JSON without a schema cannot be asked for"),
    Field::new(
        "reasoning_effort",
        Approximated("output_config.effort"),
        "with adaptive thinking or a budget, as the model takes it; minimal is low",
    ),
    Field::new(
        "reasoning_effort.always",
        Approximated("output_config.effort"),
        "this model always thinks: none is the least that it can",
    ),
    Field::new(
        "reasoning_effort.room",
        Unsupported,
        "this model cannot think, or max_tokens leaves no room for it (more than 1024)",
    ),
    Field::new(
        "reasoning_effort.forced",
        Unsupported,
        "this model thinks with a budget, and then no call can be forced",
    ),
    Field::new(
        "reasoning_effort.turn",
        Dropped,
        "this model thinks with a budget, and a turn of calls must then have begun with thinking of its own",
    ),
    Field::new("extra_body.anthropic.thinking", Carried("thinking"), "beats reasoning_effort"),
    Field::new(
        "extra_body.anthropic.thinking.adaptive",
        Approximated("thinking"),
        "this model thinks with a budget: it gets one by the effort, high where none is said",
    ),
    Field::new(
        "extra_body.anthropic.thinking.none",
        Dropped,
        "adaptive, and this model cannot think, max_tokens leaves no room for a budget, or a call is forced",
    ),
    Field::new("extra_body.anthropic.effort", Carried("output_config.effort"), ""),
    Field::new("extra_body.google", Dropped, "for Gemini alone"),
    Field::new("safety_identifier", Carried("metadata.user_id"), ""),
    Field::new("user", Carried("metadata.user_id"), "if safety_identifier is not there"),
    Field::new("n", Unsupported, "one answer per request"),
    Field::new("seed", Unsupported, NONE),
    Field::new("logprobs", Unsupported, NONE),
    Field::new("top_logprobs", Unsupported, NONE),
    Field::new("logit_bias", Unsupported, NONE),
    Field::new("frequency_penalty", Unsupported, NONE),
    Field::new("presence_penalty", Unsupported, NONE),
    Field::new("audio", Unsupported, NO_SOUND),
    Field::new("modalities", Unsupported, NO_SOUND),
    Field::new("web_search_options", Unsupported, NONE),
    Field::new("moderation", Unsupported, NONE),
    Field::new("functions", Unsupported, "the deprecated form; use tools"),
    Field::new("function_call", Unsupported, "the deprecated form; use tools"),
    Field::new("verbosity", Unsupported, NONE),
    Field::new("prediction", Dropped, HINT),
    Field::new("store", Unsupported, "Anthropic stores nothing for later requests"),
    Field::new("metadata", Dropped, HINT),
    Field::new("service_tier", Dropped, "Anthropic's tiers are others"),
    Field::new("prompt_cache_key", Dropped, HINT),
    Field::new("prompt_cache_retention", Dropped, HINT),
    Field::new("guided_decoding_backend", Dropped, "of vLLM's alone, and no more than a means"),
];
