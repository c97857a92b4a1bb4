"""The rest of the OpenAI surface with the unmodified official SDK in strict mode.

Usage: surface.py '{"base_url": ..., "api_key": ...}'

Prints one JSON line per probe: {"name", "ok", "detail"}. `detail` of a probe that passed is what the SDK
returned, so that two runs (straight at a server, and through a gateway) can be compared word for word.
"""

import hashlib
import io
import json
import sys
import traceback

import openai

OPTIONS = json.loads(sys.argv[1])
PROBES = []
CONTENT = b'{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{}}\n' * 50


def probe(function):
    PROBES.append(function)
    return function


client = openai.OpenAI(
    base_url=OPTIONS["base_url"].rstrip("/"),
    api_key=OPTIONS["api_key"],
    timeout=60,
    max_retries=0,
    _strict_response_validation=True,
)


def shown(value):
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def digest(data):
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


@probe
def files_create():
    return shown(client.files.create(file=("in.jsonl", CONTENT), purpose="batch"))


@probe
def files_list():
    return [shown(file) for file in client.files.list(limit=10)]


@probe
def files_retrieve():
    return shown(client.files.retrieve("file-1"))


@probe
def files_content():
    content = client.files.content("file-1")
    assert content.content == CONTENT
    headers = content.response.headers
    return {**digest(content.content), "name": headers["content-disposition"], "type": headers["content-type"]}


@probe
def files_content_streamed():
    with client.files.with_streaming_response.content("file-1") as response:
        return digest(b"".join(response.iter_bytes()))


@probe
def files_content_range():
    response = client.files.with_raw_response.content("file-1", extra_headers={"range": "bytes=5-14"})
    assert response.content == CONTENT[5:15], response.content
    return {"status": response.status_code, "range": response.headers["content-range"]}


@probe
def batches():
    batch = client.batches.create(
        input_file_id="file-1", endpoint="/v1/chat/completions", completion_window="24h"
    )
    again = client.batches.retrieve(batch.id)
    cancelled = client.batches.cancel(batch.id)
    return [shown(batch), shown(again), shown(cancelled), [shown(b) for b in client.batches.list()]]


@probe
def uploads():
    upload = client.uploads.create(
        bytes=3, filename="a.txt", mime_type="text/plain", purpose="user_data"
    )
    part = client.uploads.parts.create(upload.id, data=b"abc")
    return [shown(upload), shown(part), shown(client.uploads.complete(upload.id, part_ids=[part.id]))]


@probe
def moderations():
    return shown(client.moderations.create(model="omni-moderation-latest", input="hello"))


@probe
def transcriptions():
    sound = io.BytesIO(bytes(range(256)) * 400)
    sound.name = "a.wav"
    return shown(client.audio.transcriptions.create(model="whisper-1", file=sound))


@probe
def translations():
    return shown(client.audio.translations.create(model="whisper-1", file=("a.wav", b"RIFF" * 99)))


@probe
def speech():
    answer = client.audio.speech.create(model="tts-1", voice="alloy", input="hello")
    return {**digest(answer.content), "type": answer.response.headers["content-type"]}


@probe
def speech_streamed():
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="alloy", input="hello"
    ) as response:
        return digest(b"".join(response.iter_bytes()))


@probe
def images():
    return shown(client.images.generate(model="gpt-image-1", prompt="a dot"))


@probe
def images_streamed():
    events = client.images.generate(model="gpt-image-1", prompt="a dot", stream=True, partial_images=1)
    return [shown(event) for event in events]


@probe
def images_edited():
    return shown(client.images.edit(model="gpt-image-1", image=("a.png", b"\x89PNG"), prompt="a dot"))


@probe
def vector_stores():
    store = client.vector_stores.create(name="docs")
    return [
        shown(store),
        shown(client.vector_stores.retrieve(store.id)),
        [shown(hit) for hit in client.vector_stores.search(store.id, query="parcel")],
        shown(client.vector_stores.delete(store.id)),
    ]


@probe
def an_unknown_file_is_the_same_error():
    try:
        client.files.retrieve("file-404")
    except openai.NotFoundError as error:
        return {"status": error.status_code, "body": error.body}
    raise AssertionError("no error")


@probe
def files_delete():
    return shown(client.files.delete("file-1"))


for one in PROBES:
    try:
        ok, detail = True, json.dumps(one(), sort_keys=True)
    except Exception:
        ok, detail = False, traceback.format_exc()
    print(json.dumps({"name": one.__name__, "ok": ok, "detail": detail}), flush=True)
