//! What becomes of each field of a chat completions request on its way to Gemini.

use crate::schema::DESCRIBED;
use crate::{Fate, Field};

use Fate::{Approximated, Carried, Dropped, Mapped, Refused, Unsupported};

const NONE: &str = "the Gemini API has no such setting";
const HINT: &str = "a hint about service, not about the answer";
const OLD: &str = "the deprecated form; use tools";

pub(super) const FIELDS: &[Field] = &[
    Field::new("model", Carried("the path"), ""),
    Field::new("stream", Mapped("the path"), ""),
    Field::new("stream_options", Mapped("the path"), "the usage always comes"),
    Field::new("messages", Mapped("contents"), "roles alternate: turns in a row become one"),
    Field::new(
        "messages[].system",
        Mapped("systemInstruction"),
        "system and developer messages at the start",
    ),
    Field::new(
        "messages[].system.later",
        Approximated("systemInstruction"),
        "one system prompt only: later ones are joined to it",
    ),
    Field::new(
        "messages[].system.alone",
        Approximated("contents"),
        "a conversation of nothing but system messages is sent as the user's turn",
    ),
    Field::new(
        "messages[].name",
        Unsupported,
        "the Gemini API has no names of participants; put the name into the text",
    ),
    Field::new("messages[].content[].image_url", Mapped("contents"), "data URLs become inlineData"),
    Field::new("messages[].content[].image_url.url", Refused, "send the image as a data URL"),
    Field::new("messages[].content[].image_url.detail", Unsupported, NONE),
    Field::new("messages[].content[].input_audio", Mapped("contents"), "becomes inlineData"),
    Field::new("messages[].content[].file", Mapped("contents"), "a data URL becomes inlineData"),
    Field::new("messages[].content[].file_id", Refused, "send the file's data"),
    Field::new("messages[].function_call", Refused, OLD),
    Field::new("messages[].tool_calls", Mapped("contents"), ""),
    Field::new(
        "messages[].tool_calls[].function.arguments",
        Approximated("contents"),
        "what is no JSON object is sent as a text in one",
    ),
    Field::new(
        "messages[].tool_calls[].signature",
        Approximated("contents"),
        "calls that Gemini did not sign carry the mark that it documents for them",
    ),
    Field::new("messages[].tool", Mapped("contents"), "the results of one turn are one user turn"),
    Field::new(
        "messages[].reasoning_content",
        Dropped,
        "Gemini takes signatures back, no thoughts",
    ),
    Field::new("messages[].reasoning_details", Dropped, "another vendor's signatures"),
    Field::new("messages[].is_error", Mapped("contents"), "what it said stands under `error`"),
    Field::new("extra_body.anthropic", Dropped, "for Anthropic alone; the effort beside it counts"),
    Field::new("cache_control", Dropped, "Gemini caches prefixes by itself"),
    Field::new("max_completion_tokens", Carried("generationConfig.maxOutputTokens"), ""),
    Field::new(
        "max_tokens",
        Carried("generationConfig.maxOutputTokens"),
        "if max_completion_tokens is not there",
    ),
    Field::new("temperature", Carried("generationConfig.temperature"), ""),
    Field::new("top_p", Carried("generationConfig.topP"), ""),
    Field::new("stop", Mapped("generationConfig.stopSequences"), ""),
    Field::new("seed", Carried("generationConfig.seed"), ""),
    Field::new("presence_penalty", Carried("generationConfig.presencePenalty"), ""),
    Field::new("frequency_penalty", Carried("generationConfig.frequencyPenalty"), ""),
    Field::new("n", Carried("generationConfig.candidateCount"), ""),
    Field::new("logprobs", Carried("generationConfig.responseLogprobs"), ""),
    Field::new("top_logprobs", Carried("generationConfig.logprobs"), ""),
    Field::new(
        "response_format",
        Mapped("generationConfig.responseJsonSchema"),
        "and responseMimeType; the schema is sent as the client wrote it",
    ),
    Field::new("response_format.json_schema.description", Dropped, DESCRIBED),
    Field::new(
        "extra_body",
        Mapped("generationConfig.thinkingConfig"),
        "google.thinking_config, as Google's compatible endpoint takes it; it beats reasoning_effort",
    ),
    Field::new(
        "reasoning_effort",
        Approximated("generationConfig.thinkingConfig"),
        "a level for models from 3 on, else a budget of 0, 1024, 8192 or 24576 tokens",
    ),
    Field::new("tools", Mapped("tools"), "schemas are sent as the client wrote them"),
    Field::new("tools[].type", Unsupported, "only functions can be sent"),
    Field::new("tools[].strict", Mapped("toolConfig"), "mode VALIDATED, for all functions"),
    Field::new("tool_choice", Mapped("toolConfig"), "required becomes ANY"),
    Field::new("tool_choice.type", Unsupported, "only a function can be chosen"),
    Field::new("parallel_tool_calls", Unsupported, "Gemini decides how many tools it calls"),
    Field::new("service_tier", Mapped("serviceTier"), "default, flex and priority"),
    Field::new("logit_bias", Unsupported, NONE),
    Field::new("audio", Unsupported, "answers are text"),
    Field::new("modalities", Unsupported, "answers are text"),
    Field::new("web_search_options", Unsupported, NONE),
    Field::new("moderation", Unsupported, NONE),
    Field::new("functions", Unsupported, OLD),
    Field::new("function_call", Unsupported, OLD),
    Field::new("user", Dropped, NONE),
    Field::new("safety_identifier", Dropped, NONE),
    Field::new("verbosity", Unsupported, NONE),
    Field::new("prediction", Dropped, HINT),
    Field::new("store", Unsupported, "Gemini is asked to store nothing"),
    Field::new("metadata", Dropped, HINT),
    Field::new("prompt_cache_key", Dropped, HINT),
    Field::new("prompt_cache_retention", Dropped, HINT),
    Field::new("guided_decoding_backend", Dropped, "of vLLM's alone, and no more than a means"),
];
