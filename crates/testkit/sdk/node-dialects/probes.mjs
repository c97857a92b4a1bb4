// Probes with the unmodified SDKs of Anthropic, OpenAI (Responses) and Ollama, and Vercel's AI SDK (which
// speaks Responses to OpenAI by default).
// Its options and output are those of ../python/dialects.py; see ../probing.mjs.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

import { needs, options, require, run } from "../probing.mjs";

const load = (name) => import(pathToFileURL(require.resolve(name)));
const { default: Anthropic } = require("@anthropic-ai/sdk");
const { default: OpenAI } = require("openai");
const { createOpenAI } = await load("@ai-sdk/openai");
const { generateText, stepCountIs, streamText, tool } = await load("ai");
const { Ollama } = await load("ollama");
const { z } = await load("zod");

const { model } = options;
const base = options.base_url.replace(/\/$/, "");
const shared = { apiKey: options.api_key, maxRetries: 0, timeout: 60_000 };
const claude = new Anthropic({ baseURL: base, ...shared });
const openai = new OpenAI({ baseURL: `${base}/v1`, ...shared });
const llama = (key = options.api_key) =>
  new Ollama({ host: base, headers: { Authorization: `Bearer ${key}` } });
const vercel = createOpenAI({ baseURL: `${base}/v1`, apiKey: options.api_key });
const probes = {};

const ask = "CALL_TOOL: the weather in Paris?";
const sunny = "sunny and 21 degrees";
const hello = "Say hello.";
const user = (content) => [{ role: "user", content }];
const broken = (what) => `[[fake: ${what} id=${process.hrtime.bigint()}]]`;
const faults = ["cut", "early-end", "early-done", "error-event", "malformed"];
const schema = {
  type: "object",
  properties: { city: { type: "string" } },
  required: ["city"],
  additionalProperties: false,
};

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

// ---- Anthropic

const message = (messages, more = {}) => ({ model, max_tokens: 64, messages, ...more });
const claudeTool = { name: "get_weather", input_schema: schema };

probes.anthropic_message = async () => {
  const made = await claude.messages.create(message(user(hello)));
  assert.ok(made.content[0].text, JSON.stringify(made));
  assert.match(made._request_id, /^req_/);
  assert.ok(made.usage.input_tokens > 0 && made.usage.output_tokens > 0);
};

probes.anthropic_stream = async () => {
  const made = await claude.messages.stream(message(user(hello))).finalMessage();
  assert.ok(made.content[0].text && made.stop_reason, JSON.stringify(made));
};

async function claudeTools(create) {
  const first = await create(user(ask));
  assert.equal(first.stop_reason, "tool_use");
  const call = first.content.at(-1);
  assert.equal(typeof call.input.city, "string");
  const result = { type: "tool_result", tool_use_id: call.id, content: sunny };
  const turns = [{ role: "assistant", content: first.content }, ...user([result])];
  const made = await create([...user(ask), ...turns]);
  assert.ok(made.content[0].text.includes(sunny), JSON.stringify(made));
}

probes.anthropic_tools = async () => {
  needs("tools");
  await claudeTools((all) => claude.messages.create(message(all, { tools: [claudeTool] })));
};

probes.anthropic_tools_stream = async () => {
  needs("tools");
  const more = { tools: [claudeTool] };
  await claudeTools((all) => claude.messages.stream(message(all, more)).finalMessage());
};

probes.anthropic_errors = async () => {
  const wrong = claude.messages.create(message("hi"));
  await assert.rejects(wrong, (error) => {
    assert.ok(error instanceof Anthropic.BadRequestError, `${error}`);
    assert.equal(error.error.error.type, "invalid_request_error");
    assert.match(error.requestID, /^req_/);
    return true;
  });
};

probes.anthropic_stream_breaks = async () => {
  needs("markers");
  for (const fault of faults) {
    const prompt = broken(`fault=${fault} after=2 tokens=6`);
    const stream = claude.messages.stream(message(user(prompt)));
    await assert.rejects(stream.finalMessage(), Anthropic.APIError, fault);
  }
};

// ---- OpenAI's Responses

const openaiTool = { type: "function", name: "get_weather", parameters: schema, strict: true };

probes.responses_plain = async () => {
  const made = await openai.responses.create({ model, input: hello });
  assert.ok(made.output_text, JSON.stringify(made));
  assert.match(made._request_id, /^req_/);
};

probes.responses_stream = async () => {
  const events = await collect(await openai.responses.create({ model, input: hello, stream: true }));
  assert.deepEqual(events.map((event) => event.sequence_number), [...events.keys()]);
  assert.match(events.at(-1).type, /^response\.(completed|incomplete)$/);
};

probes.responses_stream_helper = async () => {
  const made = await openai.responses.stream({ model, input: hello }).finalResponse();
  assert.ok(made.output_text, JSON.stringify(made));
};

async function responsesTools(create) {
  const first = await create(user(ask));
  const call = first.output.at(-1);
  assert.equal(call.type, "function_call");
  assert.equal(typeof JSON.parse(call.arguments).city, "string");
  const result = { type: "function_call_output", call_id: call.call_id, output: sunny };
  const made = await create([...user(ask), ...first.output, result]);
  assert.ok(made.output_text.includes(sunny), JSON.stringify(made));
}

probes.responses_tools = async () => {
  needs("tools");
  const tools = [openaiTool];
  await responsesTools((input) => openai.responses.create({ model, input, tools }));
};

probes.responses_tools_stream = async () => {
  needs("tools");
  const tools = [openaiTool];
  await responsesTools((input) => openai.responses.stream({ model, input, tools }).finalResponse());
};

probes.responses_own = async () => {
  needs("own");
  const tools = [{ type: "web_search" }, openaiTool];
  const more = { model, tools, include: ["reasoning.encrypted_content"], store: false };
  await responsesTools((input) => openai.responses.create({ ...more, input }));
  await responsesTools((input) => openai.responses.stream({ ...more, input }).finalResponse());
  const made = await openai.responses.create({ ...more, input: hello });
  const kinds = made.output.map((item) => item.type);
  assert.deepEqual(kinds, ["reasoning", "web_search_call", "message"]);
};

probes.responses_stream_breaks = async () => {
  needs("markers");
  for (const fault of faults) {
    const input = broken(`fault=${fault} after=2 tokens=6`);
    const seen = [];
    try {
      const stream = await openai.responses.create({ model, input, stream: true });
      for await (const event of stream) seen.push(event.type);
    } catch (error) {
      assert.ok(error instanceof OpenAI.APIError, `${fault}: ${error}`);
      continue;
    }
    assert.match(seen.at(-1), /^(response\.failed|error)$/, `${fault}: ${seen}`);
  }
};

probes.responses_stored = async () => {
  needs("storage");
  const { responses } = openai;
  const short = { model, max_output_tokens: 32 };
  const first = await responses.create({ ...short, input: hello, store: true });
  assert.deepEqual((await responses.retrieve(first.id)).output, first.output);
  const next = { ...short, input: "And again.", previous_response_id: first.id };
  const second = await responses.create(next);
  assert.equal(second.previous_response_id, first.id);
  const items = await collect(responses.inputItems.list(second.id, { order: "asc" }));
  const texts = items.flatMap((item) => item.content ?? []).map((part) => part.text);
  assert.ok(texts.includes("And again."), JSON.stringify(items));
  const streamed = await responses.stream({ ...next, previous_response_id: second.id }).finalResponse();
  assert.equal((await responses.retrieve(streamed.id)).previous_response_id, second.id);
  await responses.delete(second.id);
  const lost = (error) => error instanceof OpenAI.NotFoundError && error.code === "not_found";
  await assert.rejects(responses.retrieve(second.id), lost);
  const broken = responses.create({ ...next, previous_response_id: streamed.id });
  await assert.rejects(broken, (error) => error.param === "previous_response_id");
  assert.equal((await responses.retrieve(first.id)).id, first.id);
};

// ---- Ollama

const short = { num_predict: 16 };
const ollamaTool = {
  type: "function",
  function: { name: "get_weather", description: "The weather", parameters: schema },
};

probes.ollama_chat = async () => {
  const made = await llama().chat({ model, messages: user(hello), options: short });
  assert.ok(made.done && made.message.content, JSON.stringify(made));
  assert.match(made.done_reason, /^(stop|length)$/);
  assert.ok(made.prompt_eval_count > 0 && made.eval_count > 0 && made.total_duration > 0);
};

probes.ollama_chat_stream = async () => {
  const asked = { model, messages: user(hello), options: short, stream: true };
  const parts = await collect(await llama().chat(asked));
  assert.deepEqual(parts.map((part) => part.done), parts.map((_, at) => at === parts.length - 1));
  assert.ok(parts.map((part) => part.message.content ?? "").join(""));
};

probes.ollama_generate = async () => {
  const asked = { model, prompt: hello, options: short };
  assert.ok((await llama().generate(asked)).response);
  const parts = await collect(await llama().generate({ ...asked, stream: true }));
  assert.ok(parts.at(-1).done && parts.map((part) => part.response).join(""));
};

async function ollamaTools(create) {
  const first = await create(user(ask));
  const call = first.tool_calls[0].function;
  assert.equal(call.name, "get_weather");
  assert.equal(typeof call.arguments.city, "string");
  const answer = { role: "tool", tool_name: call.name, content: sunny };
  const made = await create([...user(ask), first, answer]);
  assert.ok(made.content.includes(sunny), JSON.stringify(made));
}

probes.ollama_tools = async () => {
  needs("tools");
  const tools = [ollamaTool];
  await ollamaTools(async (messages) => (await llama().chat({ model, messages, tools })).message);
};

probes.ollama_tools_stream = async () => {
  needs("tools");
  const tools = [ollamaTool];
  await ollamaTools(async (messages) => {
    const whole = { role: "assistant", content: "" };
    for await (const part of await llama().chat({ model, messages, tools, stream: true })) {
      whole.content += part.message.content ?? "";
      whole.tool_calls = part.message.tool_calls ?? whole.tool_calls;
    }
    return whole;
  });
};

probes.ollama_embed = async () => {
  needs("embeddings");
  const made = await llama().embed({ model, input: ["one", "two"] });
  assert.equal(made.embeddings.length, 2);
  assert.ok((await llama().embeddings({ model, prompt: "one" })).embedding.length > 0);
};

probes.ollama_lists = async () => {
  const { models } = await llama().list();
  assert.ok(models.some((known) => known.model === model), JSON.stringify(models));
  assert.ok((await llama().show({ model })).capabilities.includes("completion"));
  assert.ok(Array.isArray((await llama().ps()).models));
};

probes.ollama_errors = async () => {
  const status = (code) => (error) => error.status_code === code;
  await assert.rejects(llama().pull({ model: "llama3" }), status(403));
  await assert.rejects(llama().delete({ model }), status(403));
  await assert.rejects(llama().chat({ model, messages: "hi" }), status(400));
  const [messages, nobody] = [user("hi"), "nobody-serves-this"];
  if (options.keys) await assert.rejects(llama("wrong").chat({ model, messages }), status(401));
  if (options.unknown) await assert.rejects(llama().chat({ model: nobody, messages }), status(404));
};

probes.ollama_stream_breaks = async () => {
  needs("markers");
  for (const fault of faults) {
    const messages = user(broken(`fault=${fault} after=2 tokens=6`));
    const read = async () => collect(await llama().chat({ model, messages, stream: true }));
    await assert.rejects(read(), Error, fault);
  }
};

// ---- Vercel's AI SDK

function weather() {
  const execute = async () => sunny;
  const inputSchema = z.object({ city: z.string() });
  return { get_weather: tool({ description: "The weather", inputSchema, execute }) };
}

const conversation = (prompt) => ({ model: vercel(model), prompt, maxRetries: 0 });
const twoTurns = () => ({ ...conversation(ask), tools: weather(), stopWhen: stepCountIs(2) });

probes.vercel_plain = async () => {
  const made = await generateText(conversation(hello));
  assert.ok(made.text, JSON.stringify(made.response));
  assert.ok(made.usage.inputTokens > 0 && made.usage.outputTokens > 0);
};

probes.vercel_stream = async () => {
  const made = streamText(conversation(hello));
  const text = (await collect(made.textStream)).join("");
  assert.ok(text);
  assert.match(await made.finishReason, /^(stop|length)$/);
};

probes.vercel_tools = async () => {
  needs("tools");
  const made = await generateText(twoTurns());
  assert.equal(made.steps.length, 2);
  assert.ok(made.text.includes(sunny), made.text);
};

probes.vercel_tools_stream = async () => {
  needs("tools");
  const made = streamText(twoTurns());
  const text = (await collect(made.textStream)).join("");
  assert.equal((await made.steps).length, 2);
  assert.ok(text.includes(sunny), text);
};

probes.vercel_stream_breaks = async () => {
  needs("markers");
  for (const fault of faults) {
    const errors = [];
    const onError = ({ error }) => errors.push(error);
    const prompt = broken(`fault=${fault} after=2 tokens=6`);
    const made = streamText({ ...conversation(prompt), onError });
    const parts = await collect(made.fullStream);
    assert.ok(errors.length > 0 || parts.some((part) => part.type === "error"), fault);
    const reason = parts.findLast((part) => part.type === "finish")?.finishReason;
    assert.notEqual(reason, "stop", fault);
  }
};

await run(probes);
