"""Probes with the unmodified SDKs of Anthropic, OpenAI (Responses) and Ollama.

Usage and output are those of probes.py. Anthropic's and OpenAI's SDK run in strict mode: what the
vendor's own models do not accept is a failure. Ollama's client knows one mode, which is strict.

Options (all but base_url, api_key and model are optional):
  tools       the upstream calls a tool when the prompt says CALL_TOOL
  markers     the upstream is a scripted fake that obeys [[fake: ...]] in the prompt
  keys        a wrong key is a 401
  unknown     a model nobody serves is a 404
  own         the upstream speaks Responses itself
  embeddings  embeddings are served under the model's name
  only, skip  lists of probe names
"""

import json
import os
import sys

import anthropic
import ollama
import openai

# Python leaves a program's own folder out when it is told to be isolated.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import BASE, MODEL, OPTIONS, Skip, check, equal, expect, marker, needs, probe, run

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
ASK = "CALL_TOOL: the weather in Paris?"
SUNNY = "sunny and 21 degrees"


# ---- Anthropic


def claude(**overrides):
    arguments = {
        "base_url": BASE,
        "api_key": OPTIONS["api_key"],
        "timeout": 60,
        "max_retries": 0,
        "_strict_response_validation": True,
        **overrides,
    }
    return anthropic.Anthropic(**arguments)


TOOL = {"name": "get_weather", "description": "The weather in a city", "input_schema": SCHEMA}


def says(text):
    return [{"role": "user", "content": text}]


def message(text="Say hello.", on=None, **more):
    arguments = {"model": MODEL, "max_tokens": 16, "messages": says(text), **more}
    return (on or claude()).messages.create(**arguments)


@probe
def anthropic_message():
    made = message(system=[{"type": "text", "text": "Be brief."}])
    equal((made.type, made.role, made.model), ("message", "assistant", MODEL), "message")
    check(made.id.startswith("msg_"), made.id)
    check(made._request_id.startswith("req_"), made._request_id)
    check(made.content[0].text, made)
    check(made.stop_reason in ("end_turn", "max_tokens"), made.stop_reason)
    check(made.usage.input_tokens > 0 and made.usage.output_tokens > 0, made.usage)


@probe
def anthropic_stream():
    events = list(message(stream=True))
    kinds = [event.type for event in events]
    equal(kinds[0], "message_start", "first event")
    equal(kinds[-2:], ["message_delta", "message_stop"], "last events")
    check(events[-2].usage.output_tokens > 0, events[-2])
    text = "".join(e.delta.text for e in events if e.type == "content_block_delta")
    check(text, kinds)


@probe
def anthropic_stream_helper():
    with claude().messages.stream(
        model=MODEL, max_tokens=16, messages=says("Say hello.")
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    equal(final.content[0].text, text, "the text")
    check(final.stop_reason, final)


@probe
def anthropic_beta():
    made = claude().beta.messages.create(
        model=MODEL, max_tokens=16, messages=says("Say hello."), betas=["interleaved-thinking"]
    )
    check(made.content[0].text, made)


def second_turn(first, create):
    equal(first.stop_reason, "tool_use", "stop_reason")
    call = first.content[-1]
    equal((call.type, call.name), ("tool_use", "get_weather"), "the call")
    check(isinstance(call.input.get("city"), str), call.input)
    result = {"type": "tool_result", "tool_use_id": call.id, "content": SUNNY}
    content = [block.model_dump(exclude_none=True) for block in first.content]
    messages = says(ASK) + [
        {"role": "assistant", "content": content},
        {"role": "user", "content": [result]},
    ]
    made = create(messages)
    check(SUNNY in made.content[0].text, made)
    equal(made.stop_reason, "end_turn", "stop_reason")


@probe
def anthropic_tools():
    needs("tools")
    create = lambda messages: message(messages=messages, max_tokens=200, tools=[TOOL])
    second_turn(create(says(ASK)), create)


@probe
def anthropic_tools_stream():
    needs("tools")

    def create(messages):
        with claude().messages.stream(
            model=MODEL, max_tokens=200, messages=messages, tools=[TOOL]
        ) as stream:
            return stream.get_final_message()

    second_turn(create(says(ASK)), create)


@probe
def anthropic_count_tokens():
    counted = claude().messages.count_tokens(model=MODEL, messages=says("Say hello."))
    check(counted.input_tokens > 0, counted)


@probe
def anthropic_models():
    listed = claude().models.list()
    check(MODEL in [model.id for model in listed.data], listed)
    equal(claude().models.retrieve(MODEL).id, MODEL, "model")


def envelope(error, kind):
    body = error.body
    equal(body["type"], "error", "body")
    equal(body["error"]["type"], kind, "the error's type")
    check(body["error"]["message"], body)
    check(error.request_id and error.request_id.startswith("req_"), error.request_id)
    equal(body["request_id"], error.request_id, "request id")


@probe
def anthropic_errors():
    error = expect(anthropic.BadRequestError, lambda: message(max_tokens="many"))
    envelope(error, "invalid_request_error")
    error = expect(anthropic.BadRequestError, lambda: message(messages="hi"))
    envelope(error, "invalid_request_error")


@probe
def anthropic_error_401():
    needs("keys")
    error = expect(anthropic.AuthenticationError, lambda: message(on=claude(api_key="wrong")))
    envelope(error, "authentication_error")
    bearer = claude(api_key=None, auth_token=OPTIONS["api_key"])
    check(message(on=bearer).content, "no content with a bearer token")


@probe
def anthropic_error_404():
    needs("unknown")
    error = expect(anthropic.NotFoundError, lambda: message(model="nobody-serves-this"))
    envelope(error, "not_found_error")


@probe
def anthropic_error_429_and_500():
    needs("markers")
    error = expect(anthropic.RateLimitError, lambda: message(marker("status=429")))
    envelope(error, "rate_limit_error")
    error = expect(anthropic.InternalServerError, lambda: message(marker("status=500")))
    envelope(error, "api_error")


@probe
def anthropic_stream_breaks():
    needs("markers")
    for fault in ("cut", "early-end", "early-done", "error-event", "malformed"):
        prompt = marker(f"fault={fault} after=2 tokens=6")
        expect(anthropic.APIError, lambda: list(message(prompt, stream=True)))


# ---- OpenAI's Responses


def responses(**overrides):
    arguments = {
        "base_url": f"{BASE}/v1",
        "api_key": OPTIONS["api_key"],
        "timeout": 60,
        "max_retries": 0,
        "_strict_response_validation": True,
        **overrides,
    }
    return openai.OpenAI(**arguments).responses


FUNCTION = {
    "type": "function",
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": SCHEMA,
    "strict": True,
}


def respond(text="Say hello.", on=None, **more):
    return (on or responses()).create(**{"model": MODEL, "input": text, **more})


@probe
def responses_plain():
    made = respond(instructions="Be brief.", max_output_tokens=64)
    check(made.id.startswith("resp_"), made.id)
    check(made._request_id.startswith("req_"), made._request_id)
    check(made.output_text, made)
    equal(made.model, MODEL, "model")
    check(made.status in ("completed", "incomplete"), made.status)
    check(made.usage.input_tokens > 0 and made.usage.output_tokens > 0, made.usage)


@probe
def responses_stream():
    events = list(respond(stream=True, max_output_tokens=64))
    equal([event.sequence_number for event in events], list(range(len(events))), "numbers")
    equal([event.type for event in events[:2]], ["response.created", "response.in_progress"], "")
    check(events[-1].type in ("response.completed", "response.incomplete"), events[-1].type)
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    equal(events[-1].response.output_text, text, "the text")


@probe
def responses_stream_helper():
    with responses().stream(model=MODEL, input="Say hello.") as stream:
        events = list(stream)
        # The SDK knows no final response of an answer that its limit cut, which small engines' are.
        cut = events[-1].type == "response.incomplete"
        final = events[-1].response if cut else stream.get_final_response()
    check(final.output_text, final)


def second_response(first, create):
    call = first.output[-1]
    equal((call.type, call.name), ("function_call", "get_weather"), "the call")
    check(isinstance(json.loads(call.arguments).get("city"), str), call.arguments)
    items = [{"role": "user", "content": ASK}]
    items += [item.model_dump(exclude_none=True) for item in first.output]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}]
    made = create(items)
    check(SUNNY in made.output_text, made)
    equal(made.status, "completed", "status")


@probe
def responses_tools():
    needs("tools")
    create = lambda items: respond(items, tools=[FUNCTION])
    second_response(create(ASK), create)


@probe
def responses_tools_stream():
    needs("tools")

    def create(items):
        with responses().stream(model=MODEL, input=items, tools=[FUNCTION]) as stream:
            for _ in stream:
                pass
            return stream.get_final_response()

    second_response(create(ASK), create)


@probe
def responses_own():
    needs("own")
    more = {
        "tools": [{"type": "web_search"}, FUNCTION],
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    kinds = ["reasoning", "web_search_call", "function_call"]
    first = respond(ASK, **more)
    equal([item.type for item in first.output], kinds, "the output")
    check(first.output[0].encrypted_content, first)
    # The vendor refuses reasoning that it cannot read.
    second_response(first, lambda items: respond(items, **more))
    with responses().stream(model=MODEL, input=ASK, **more) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_response()
    check("response.web_search_call.searching" in events, events)
    equal([item.type for item in streamed.output], kinds, "the streamed output")
    second_response(streamed, lambda items: respond(items, **more))


def four_members(error, code):
    for member in ("message", "type", "param", "code"):
        check(member in error.body, f"the error has no {member}: {error.body!r}")
    check(code is None or error.code == code, error.body)
    check(error.request_id and error.request_id.startswith("req_"), error.request_id)


@probe
def responses_errors():
    error = expect(openai.BadRequestError, lambda: respond(max_output_tokens="many"))
    four_members(error, "invalid_type")


@probe
def responses_stored():
    needs("storage")
    client = responses()
    # A model whose answers have no end would fill its context with the first one.
    first = respond("Remember the number 7.", store=True, max_output_tokens=32)
    equal(first.store, True, "store")
    found = client.retrieve(first.id)
    equal((found.id, found.output_text), (first.id, first.output_text), "the stored answer")
    second = respond("And 8.", previous_response_id=first.id, max_output_tokens=32)
    equal(second.previous_response_id, first.id, "previous_response_id")
    items = list(client.input_items.list(second.id, limit=1, order="asc"))
    equal([item.content[0].text for item in items], ["And 8."], "the input items")
    client.delete(first.id)
    four_members(expect(openai.NotFoundError, lambda: client.retrieve(first.id)), None)
    going_on = lambda: respond("And 9.", previous_response_id=second.id)
    four_members(expect(openai.BadRequestError, going_on), "previous_response_not_found")


@probe
def responses_stored_tools():
    needs("storage")
    needs("tools")
    for stream in (False, True):
        first = respond(ASK, tools=[FUNCTION], stream=stream)
        if stream:
            first = list(first)[-1].response
        call = first.output[-1]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": SUNNY}
        made = respond([result], tools=[FUNCTION], previous_response_id=first.id)
        check(SUNNY in made.output_text, made)


@probe
def responses_storage_is_off():
    if OPTIONS.get("storage"):
        raise Skip("storing is on")
    made = respond(store=True)
    equal(made.store, False, "store")
    going_on = lambda: respond(previous_response_id=made.id)
    four_members(expect(openai.BadRequestError, going_on), None)
    four_members(expect(openai.NotFoundError, lambda: responses().retrieve(made.id)), None)
    expect(openai.NotFoundError, lambda: responses().delete(made.id))
    expect(openai.NotFoundError, lambda: list(responses().input_items.list(made.id)))


@probe
def responses_error_401():
    needs("keys")
    error = expect(openai.AuthenticationError, lambda: respond(on=responses(api_key="wrong")))
    four_members(error, "invalid_api_key")


@probe
def responses_error_404():
    needs("unknown")
    error = expect(openai.NotFoundError, lambda: respond(model="nobody-serves-this"))
    four_members(error, "model_not_found")


@probe
def responses_error_429_and_500():
    needs("markers")
    error = expect(openai.RateLimitError, lambda: respond(marker("status=429")))
    four_members(error, "rate_limit_exceeded")
    error = expect(openai.InternalServerError, lambda: respond(marker("status=500")))
    four_members(error, None)


@probe
def responses_stream_breaks():
    needs("markers")
    for fault in ("cut", "early-end", "early-done", "error-event", "malformed"):
        events = []
        try:
            for event in respond(marker(f"fault={fault} after=2 tokens=6"), stream=True):
                events.append(event.type)
        except openai.APIError:
            continue
        check("response.completed" not in events, f"{fault}: {events}")
        check(events[-1] in ("response.failed", "error"), f"{fault}: {events}")


# ---- Ollama


def llama(key=None):
    headers = {"Authorization": f"Bearer {key or OPTIONS['api_key']}"}
    return ollama.Client(host=BASE, headers=headers, timeout=60)


OLLAMA_TOOL = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather", "parameters": SCHEMA},
}
SHORT = {"num_predict": 16}


@probe
def ollama_chat():
    made = llama().chat(model=MODEL, messages=says("Say hello."), options=SHORT)
    equal((made.model, made.done), (MODEL, True), "answer")
    check(made.message.content, made)
    check(made.done_reason in ("stop", "length"), made.done_reason)
    check(made.prompt_eval_count > 0 and made.eval_count > 0, made)
    check(made.total_duration > 0 and made.eval_duration > 0, made)


@probe
def ollama_chat_stream():
    parts = list(llama().chat(model=MODEL, messages=says("Say hello."), options=SHORT, stream=True))
    equal([part.done for part in parts], [False] * (len(parts) - 1) + [True], "done")
    check("".join(part.message.content or "" for part in parts), parts)
    check(parts[-1].eval_count > 0 and parts[-1].total_duration > 0, parts[-1])


@probe
def ollama_generate():
    made = llama().generate(model=MODEL, prompt="Say hello.", options=SHORT)
    check(made.response and made.done, made)
    parts = list(llama().generate(model=MODEL, prompt="Say hello.", options=SHORT, stream=True))
    check("".join(part.response or "" for part in parts) and parts[-1].done, parts)


def second_chat(create):
    first = create(says(ASK))
    call = first.tool_calls[0].function
    equal(call.name, "get_weather", "the call")
    check(isinstance(call.arguments.get("city"), str), call.arguments)
    answer = {"role": "tool", "tool_name": call.name, "content": SUNNY}
    made = create(says(ASK) + [first, answer])
    check(SUNNY in made.content, made)


@probe
def ollama_tools():
    needs("tools")
    chat = llama().chat
    second_chat(lambda messages: chat(MODEL, messages, tools=[OLLAMA_TOOL]).message)


@probe
def ollama_tools_stream():
    needs("tools")

    def create(messages):
        whole = ollama.Message(role="assistant", content="")
        for part in llama().chat(MODEL, messages, tools=[OLLAMA_TOOL], stream=True):
            whole.content += part.message.content or ""
            whole.tool_calls = part.message.tool_calls or whole.tool_calls
        return whole

    second_chat(create)


@probe
def ollama_embed():
    needs("embeddings")
    made = llama().embed(model=MODEL, input=["one", "two"])
    equal(len(made.embeddings), 2, "vectors")
    check(llama().embeddings(model=MODEL, prompt="one").embedding, "no vector")


@probe
def ollama_lists():
    check(MODEL in [model.model for model in llama().list().models], "the model is not listed")
    check("completion" in llama().show(MODEL).capabilities, "capabilities")
    llama().ps()


@probe
def ollama_errors():
    error = expect(ollama.ResponseError, lambda: llama().pull("llama3"))
    equal(error.status_code, 403, "status")
    for administers in (llama().delete, llama().push):
        expect(ollama.ResponseError, lambda: administers("llama3"))
    asks = lambda: llama().chat(model=MODEL, messages=says("hi"), options={"num_predict": "many"})
    expect((ollama.ResponseError, ValueError), asks)


@probe
def ollama_error_401():
    needs("keys")
    chat = lambda: llama("wrong").chat(model=MODEL, messages=says("hi"))
    equal(expect(ollama.ResponseError, chat).status_code, 401, "status")


@probe
def ollama_error_404():
    needs("unknown")
    chat = lambda: llama().chat(model="nobody-serves-this", messages=says("hi"))
    equal(expect(ollama.ResponseError, chat).status_code, 404, "status")


@probe
def ollama_stream_breaks():
    needs("markers")
    for fault in ("cut", "early-end", "early-done", "error-event", "malformed"):
        prompt = marker(f"fault={fault} after=2 tokens=6")
        broken = lambda: list(llama().chat(model=MODEL, messages=says(prompt), stream=True))
        expect(ollama.ResponseError, broken)


run()
