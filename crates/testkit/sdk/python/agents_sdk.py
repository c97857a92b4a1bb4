"""Probes with the unmodified OpenAI Agents SDK: an agent's loop by itself, over Responses and over chat.

Usage and output are those of probes.py. Each conversation has two turns, and in each the model calls a tool, gets its
result and says something; the SDK runs the tools and keeps the history.

Options (all but base_url, api_key and model are optional):
  only, skip  lists of probe names
The upstream must call the first tool when the last prompt says CALL_TOOL, and say what a tool said.
"""

import asyncio
import os
import sys

import openai
import pydantic
from agents import (
    Agent,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    Runner,
    SQLiteSession,
    function_tool,
    handoff,
    set_tracing_disabled,
)

# Python leaves a program's own folder out when it is told to be isolated.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from checks import BASE, MODEL, OPTIONS, check, equal, probe, run

set_tracing_disabled(True)
SUNNY = "sunny and 21 degrees"


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    check(isinstance(city, str), city)
    return SUNNY


class Report(pydantic.BaseModel):
    city: str
    degrees: int


def client():
    return openai.AsyncOpenAI(
        base_url=f"{BASE}/v1",
        api_key=OPTIONS["api_key"],
        timeout=60,
        max_retries=0,
        _strict_response_validation=True,
    )


def agent(kind, on, **more):
    arguments = {
        "name": "Clerk",
        "instructions": "Be brief.",
        "model": kind(model=MODEL, openai_client=on),
        "model_settings": ModelSettings(include_usage=True),
        **more,
    }
    return Agent(**arguments)


async def asked(of, prompt, session, stream):
    """What the agent says in the end, and what it did."""
    if not stream:
        result = await Runner.run(of, prompt, session=session)
        return result.final_output, result
    result = Runner.run_streamed(of, prompt, session=session)
    kinds = [event.type async for event in result.stream_events()]
    check("raw_response_event" in kinds and "run_item_stream_event" in kinds, set(kinds))
    return result.final_output, result


async def talk(kind, on, stream):
    clerk = agent(kind, on, tools=[get_weather])
    session = SQLiteSession("talk")
    for turn, prompt in enumerate(["CALL_TOOL: the weather in Paris?", "CALL_TOOL: and in Rome?"]):
        said, result = await asked(clerk, prompt, session, stream)
        check(SUNNY in said, said)
        items = [item.type for item in result.new_items if item.type != "reasoning_item"]
        equal(items, ["tool_call_item", "tool_call_output_item", "message_output_item"], turn)
        usage = result.context_wrapper.usage
        equal(usage.requests, 2, "requests")
        check(usage.input_tokens > 0 and usage.output_tokens > 0, usage)
    said, _ = await asked(clerk, "Thank you.", session, stream)
    check(said, "an answer without a tool")
    kept = [item.get("type") for item in await session.get_items()]
    equal(len([kind for kind in kept if kind != "reasoning"]), 10, f"items of {kept}")


async def hand_over(kind, on, stream):
    other = agent(kind, on, name="Weather clerk", tools=[get_weather])
    first = agent(kind, on, handoffs=[handoff(other)])
    said, result = await asked(first, "CALL_TOOL: the weather?", SQLiteSession("over"), stream)
    equal(result.last_agent.name, "Weather clerk", "the last agent")
    check(said, "an answer")


async def structured(kind, on, stream):
    said, _ = await asked(agent(kind, on, output_type=Report), "Report.", None, stream)
    check(isinstance(said, Report), said)


async def left(kind, on, stream):
    """A stream that is left early, and one more conversation behind it."""
    result = Runner.run_streamed(agent(kind, on, tools=[get_weather]), "CALL_TOOL: the weather?")
    async for _ in result.stream_events():
        result.cancel()
        break
    await talk(kind, on, stream)


def add(name, what, kind, stream):
    async def call():
        async with client() as on:
            await what(kind, on, stream)

    def function():
        asyncio.run(call())

    function.__name__ = name
    probe(function)


for words, kind in [("responses", OpenAIResponsesModel), ("chat", OpenAIChatCompletionsModel)]:
    for way, stream in [("whole", False), ("stream", True)]:
        for what in [talk, hand_over, structured]:
            add(f"agents_{words}_{what.__name__}_{way}", what, kind, stream)
    add(f"agents_{words}_left", left, kind, True)

run()
