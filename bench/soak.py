#!/usr/bin/env python3
"""Soak: a steady, mixed load on one cutover for a long time, with failures; is its memory flat, is each end a right one?

  soak.py [--cutover BIN] [--minutes 30] [--rate 20] [--seed 1] [--out soak.jsonl]

Needs nothing but python3 and the binary. Upstreams, clients and the sampler are this one process; cutover is the
only child. Every --every seconds one line is appended to the results file: resident memory, open files, threads,
what was asked and how it ended. At the end: the slope of resident memory over the second half by least squares,
with its 95 % interval (neighbouring samples are alike, so their number is corrected for that, as an AR(1) process),
and how requests ended. The exit status is 1 if an end was a wrong one: neither a whole answer nor a told error.
"""
import argparse, asyncio, json, math, os, random, signal, shutil, socket, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))

CONFIG = """
default_upstream = "cloud"
[server]
listen = "127.0.0.1:{port}"
workers = 2
[admin]
listen = "127.0.0.1:{admin}"
[state]
directory = "{state}"

[upstreams.own]
provider = "vllm"
instances = ["http://127.0.0.1:{own1}", "http://127.0.0.1:{own2}"]
first_token_timeout = "2 s"
first_byte_timeout = "3 s"
idle_timeout = "2 s"

[upstreams.cloud]
provider = "openai-compatible"
base_url = "http://127.0.0.1:{cloud}/v1"
retries = 1

[variants.old]
upstream = "cloud"
model = "gpt-mock"
[variants.new]
upstream = "own"
model = "mock"

[use_cases.app]
match = {{ model = "app" }}
unit = {{ header = "x-unit" }}
baseline = "old"
candidate = "new"
weight = "70%"
"""

# What an own instance does, and how often in a thousand requests. The rest is answered well.
FAULTS = {"500": 15, "429": 10, "reset": 15, "html": 5, "half": 5, "silent": 2,
          "cut": 15, "stall": 3, "error-event": 10, "malformed": 5, "no-finish": 5}
# Faults that only a stream can have come after so many chunks.
IN_STREAM = {"cut", "stall", "error-event", "malformed", "no-finish"}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


async def head_of(reader):
    """(first line, headers) or None at the end of the connection"""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    lines = raw.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return lines[0], headers


async def chunks_of(reader):
    """the pieces of a chunked body; raises IncompleteReadError where it ends early"""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        data = await reader.readexactly(size + 2)
        if size == 0:
            return
        yield data[:-2]


class Upstream:
    """A server of OpenAI's dialect that fails as often as it is told."""

    def __init__(self, rng, faulty):
        self.rng, self.faulty, self.asked = rng, faulty, 0

    def fault(self, stream):
        if not self.faulty:
            return None
        at = self.rng.randrange(1000)
        for name, share in FAULTS.items():
            at -= share
            if at < 0:
                return name if stream or name not in IN_STREAM else "reset"
        return None

    async def serve(self, reader, writer):
        try:
            while True:
                head = await head_of(reader)
                if head is None:
                    break
                line, headers = head
                body = b""
                if "chunked" in headers.get("transfer-encoding", ""):
                    async for piece in chunks_of(reader):
                        body += piece
                elif "content-length" in headers:
                    body = await reader.readexactly(int(headers["content-length"]))
                if not await self.answer(line, body, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cutover has gone, or the run is over
        finally:
            writer.close()

    async def answer(self, line, body, writer):
        if not line.startswith("POST"):
            page = {"/health": b"", "/metrics": b"vllm:num_requests_running 1\nvllm:num_requests_waiting 0\n"}
            models = b'{"object":"list","data":[{"id":"mock","object":"model","created":1,"owned_by":"m"}]}'
            await whole(writer, 200, page.get(line.split()[1], models))
            return True
        self.asked += 1
        stream = json.loads(body).get("stream", False)
        fault = self.fault(stream)
        if fault == "reset":
            writer.transport.abort()
            return False
        if fault in ("500", "429"):
            extra = "retry-after-ms: 20\r\n" if fault == "429" else ""
            await whole(writer, int(fault), b'{"error":{"message":"no","type":"x","param":null,"code":null}}', extra)
            return True
        if fault == "html":
            await whole(writer, 502, b"<html><h1>502 Bad Gateway</h1></html>", "", "text/html")
            return True
        if fault == "silent":
            await asyncio.sleep(4)
            return False
        if not stream:
            text = self.rng.choice(["short", "a longer answer " * 40])
            answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "mock", "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}}
            data = json.dumps(answer).encode()
            if fault == "half":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
                writer.write(data[: len(data) // 2])
                await writer.drain()
                return False
            await asyncio.sleep(self.rng.random() * 0.05)
            await whole(writer, 200, data)
            return True
        return await self.stream(writer, fault)

    async def stream(self, writer, fault):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        count = self.rng.choice([5, 20, 60])
        at = self.rng.randrange(count) if fault else None
        for n in range(count):
            if n == at:
                if fault in ("cut", "half"):
                    writer.transport.abort()
                    return False
                if fault == "stall":
                    await asyncio.sleep(4)
                    return False
                if fault == "malformed":
                    event(writer, "{not json")
                if fault == "error-event":
                    event(writer, '{"error":{"message":"CUDA out of memory","type":"x","param":null,"code":500}}')
                    break
                if fault == "no-finish":
                    break
            delta = {"content": f"w{n} "}
            event(writer, json.dumps({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "mock",
                                      "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}))
            await writer.drain()
            await asyncio.sleep(0.01)
        else:
            event(writer, '{"id":"x","object":"chat.completion.chunk","created":1,"model":"mock",'
                          '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
            event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


def event(writer, data):
    data = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def whole(writer, status, data, extra="", kind="application/json"):
    writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{extra}content-length: {len(data)}\r\n\r\n".encode() + data)
    await writer.drain()


# dialect: path, body, whether a text of a stream ends it well, whether it tells an error
DIALECTS = {
    "chat": ("/v1/chat/completions", lambda b: b, lambda t: t.rstrip().endswith("data: [DONE]"), lambda t: '"error":{' in t),
    "anthropic": ("/v1/messages", lambda b: dict(b, max_tokens=64), lambda t: "event: message_stop" in t, lambda t: "event: error" in t),
    "responses": ("/v1/responses", lambda b: {"model": b["model"], "stream": b["stream"], "store": False,
                                              "input": b["messages"][0]["content"]},
                  lambda t: "event: response.completed" in t, lambda t: "event: response.failed" in t or "event: error" in t),
    "ollama": ("/api/chat", lambda b: b, lambda t: '"done":true' in t, lambda t: '"error"' in t),
}


class Load:
    def __init__(self, port, rng):
        self.port, self.rng, self.idle = port, rng, []
        self.ends, self.wrong, self.open, self.shown = {}, [], 0, 0

    def ended(self, how):
        self.ends[how] = self.ends.get(how, 0) + 1

    async def one(self):
        self.open += 1
        name = self.rng.choices(list(DIALECTS), [6, 2, 1, 1])[0]
        stream = self.rng.random() < 0.6
        # Some clients leave in the middle, and some read slowly.
        leaves = stream and self.rng.random() < 0.03
        slow = stream and self.rng.random() < 0.05
        try:
            self.ended(await asyncio.wait_for(self.ask(name, stream, leaves, slow), 60))
        except Exception as error:  # whatever it is, it is an end that no client should see
            self.ended("wrong")
            self.wrong.append(f"{name} stream={stream}: {error!r}"[:600])
            print("!", self.wrong[-1], file=sys.stderr, flush=True)
        finally:
            self.open -= 1

    async def ask(self, name, stream, leaves, slow):
        path, form, good, told = DIALECTS[name]
        words = "tell me " * self.rng.choice([1, 30, 1000])
        body = json.dumps(form({"model": "app", "stream": stream, "messages": [{"role": "user", "content": words}]})).encode()
        head = (f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
                f"x-unit: u{self.rng.randrange(500)}\r\ncontent-length: {len(body)}\r\n\r\n").encode()
        # The server closes what is idle for too long, and a request that crosses that is nobody's fault.
        while self.idle and self.idle[0][0] < time.monotonic() - 20:
            self.idle.pop(0)[1][1].close()
        if self.idle and self.rng.random() < 0.7:
            reader, writer = self.idle.pop()[1]
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        keep = False
        try:
            writer.write(head + body)
            answer = await head_of(reader)
            if answer is None:
                raise ConnectionError("closed before the head")
            status, headers = int(answer[0].split()[1]), answer[1]
            text = b""
            if "chunked" in headers.get("transfer-encoding", ""):
                async for piece in chunks_of(reader):
                    text += piece
                    if leaves and len(text) > 300:
                        return "left by the client"
                    if slow:
                        await asyncio.sleep(0.05)
            else:
                text = await reader.readexactly(int(headers.get("content-length", 0)))
            keep = headers.get("connection", "") != "close"
            return self.judge((status, stream), text.decode(), good, told)
        finally:
            if keep and len(self.idle) < 64:
                self.idle.append((time.monotonic(), (reader, writer)))
            else:
                writer.close()

    def judge(self, kind, text, good, told):
        status, stream = kind
        if status != 200:
            if '"error"' not in text:
                raise ValueError(f"{status} without an error: {text[:120]}")
            return f"told before ({status})"
        if not stream:
            json.loads(text)
            return "whole"
        if told(text) and good(text):
            raise ValueError(f"an error and a good end: {text[-300:]}")
        if told(text):
            return "told within"
        if good(text):
            return "whole"
        raise ValueError(f"no end: {text[-300:]}")


def resident(pid):
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status") if ":" in line)
    kb = lambda name: int(fields[name].split()[0])
    return {"rss_kb": kb("VmRSS"), "anon_kb": kb("RssAnon"), "threads": kb("Threads"),
            "files": len(os.listdir(f"/proc/{pid}/fd"))}


def slope(points):
    """least squares: (slope per minute, half of its 95 % interval, lag-1 correlation of what is left)"""
    n = len(points)
    if n < 5:
        return None
    mx, my = sum(x for x, _ in points) / n, sum(y for _, y in points) / n
    sxx = sum((x - mx) ** 2 for x, _ in points)
    b = sum((x - mx) * (y - my) for x, y in points) / sxx
    left = [y - my - b * (x - mx) for x, y in points]
    square = sum(e * e for e in left)
    alike = sum(a * c for a, c in zip(left, left[1:])) / square if square else 0.0
    effective = max(3.0, n * (1 - alike) / (1 + alike)) if alike > 0 else n
    error = math.sqrt(square / max(effective - 2, 1) / sxx)
    return b * 60, 2.0 * error * 60, alike


async def go(a):
    # An end from outside still stops the child and takes the folder away.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    rng = random.Random(a.seed)
    ports = {name: free_port() for name in ("port", "admin", "own1", "own2", "cloud")}
    folder = tempfile.mkdtemp(prefix="cutover-soak-")
    servers, ups = [], []
    for name, faulty in (("own1", True), ("own2", True), ("cloud", False)):
        up = Upstream(random.Random(rng.random()), faulty)
        ups.append(up)
        servers.append(await asyncio.start_server(up.serve, "127.0.0.1", ports[name]))
    with open(os.path.join(folder, "cutover.toml"), "w") as f:
        f.write(CONFIG.format(state=os.path.join(folder, "state"), **ports))
    log = open(os.path.join(folder, "log"), "w")
    child = subprocess.Popen([a.cutover, "serve", "--config", os.path.join(folder, "cutover.toml")],
                             stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": folder, "PATH": os.environ["PATH"]})
    out, samples, began = open(a.out, "w"), [], time.monotonic()
    load, tasks = Load(ports["port"], rng), set()
    try:
        while True:
            if child.poll() is not None:
                sys.exit("cutover ended: " + open(log.name).read()[-2000:])
            try:
                (await asyncio.open_connection("127.0.0.1", ports["port"]))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.05)
        began = last = time.monotonic()
        sent, end = 0, began + a.minutes * 60
        while (now := time.monotonic()) < end:
            if child.poll() is not None:
                sys.exit("cutover ended: " + open(log.name).read()[-2000:])
            while began + sent / a.rate <= now:
                sent += 1
                task = asyncio.create_task(load.one())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
            if now >= last + a.every:
                last = now
                sample = dict(at_s=round(now - began, 1), **resident(child.pid), open=load.open, ends=dict(load.ends))
                samples.append(sample)
                out.write(json.dumps(sample) + "\n")
                out.flush()
            await asyncio.sleep(0.01)
        await asyncio.gather(*list(tasks))
        report(a, samples, load, [up.asked for up in ups])
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(40)
        except subprocess.TimeoutExpired:
            child.kill()
        print(f"cutover ended with {child.returncode}")
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if load.wrong else 0


def report(a, samples, load, asked):
    half = [s for s in samples if s["at_s"] >= a.minutes * 30]
    print(f"{a.minutes:g} min at {a.rate:g} requests/s, {sum(load.ends.values())} requests; upstreams saw {asked}")
    for how, count in sorted(load.ends.items(), key=lambda x: -x[1]):
        print(f"  {how}: {count}")
    if not samples:
        return
    print(f"resident: first {samples[0]['rss_kb']} kB, half-way {half[0]['rss_kb'] if half else 0} kB, "
          f"last {samples[-1]['rss_kb']} kB, most {max(s['rss_kb'] for s in samples)} kB; open files last {samples[-1]['files']}")
    for field in ("rss_kb", "anon_kb"):
        found = slope([(s["at_s"], s[field]) for s in half])
        if found:
            print(f"{field} over the second half ({len(half)} samples): {found[0]:+.1f} kB/min, "
                  f"95 % interval {found[0] - found[1]:+.1f} to {found[0] + found[1]:+.1f} (lag-1 correlation {found[2]:.2f})")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--cutover", default=os.path.join(HERE, "../target/release/cutover"))
    ap.add_argument("--minutes", type=float, default=30)
    ap.add_argument("--rate", type=float, default=20)
    ap.add_argument("--every", type=float, default=10, help="seconds between two samples")
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--out", default="soak.jsonl")
    sys.exit(asyncio.run(go(ap.parse_args())))


if __name__ == "__main__":
    main()
