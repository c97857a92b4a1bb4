#!/usr/bin/env python3
"""Memory of very many open streams: resident size before, while all are open, and after they ended.

  streams.py [--streams 10000] [--gateways nginx-many,cutover-many] [--waves 2] [--cutover BIN]

Opens the streams through each gateway to the mock upstream, which sends one event each --interval seconds on each
of them. A gateway needs two descriptors for a stream: the limit on open files is raised as far as it may be, and
fewer streams are opened where that is not enough. A second wave tells what the first one left behind. Memory of the
kernel (socket buffers) is no part of a process's resident size.
"""
import argparse, json, os, resource, subprocess, threading, time

from run import HERE, Bench, get, rss_mb, tree


def room(wanted):
    """raises the limit on open files for us and our children; how many streams fit under it"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY or hard >= 2 * wanted + 200:
        hard = 2 * wanted + 200 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, (hard - 200) // 2), hard


class Many(Bench):
    def wave(self, name, p, streams):
        a = self.a
        opening = streams / a.per_second
        chunks = int((opening + a.hold) / a.interval) + 1
        get(f"http://127.0.0.1:{a.upstream}/__mock?delay=0&chunks={chunks}&interval={int(a.interval * 1000)}")
        samples, over = [], threading.Event()

        def watch():
            while not over.wait(0.5):
                samples.append((time.monotonic(), rss_mb(tree(p.pid))[0], files(p.pid)))
        watching = threading.Thread(target=watch)
        watching.start()
        grace = chunks * a.interval + 30
        r = self.load(f"stream --conns {streams} --secs {opening + 0.5} --spread {int(opening * 1000)} --grace {grace} --size 1000", name)
        over.set()
        watching.join()
        most = max(s[2] for s in samples)
        # While all are open: the samples with nearly all of the descriptors that there ever were.
        full = sorted(s[1] for s in samples if s[2] >= 0.99 * most)
        return r, full[len(full) // 2], most, max(s[1] for s in samples)

    def measure(self, name, streams):
        p, _ = self.start(name)
        try:
            self.load("closed --conns 16 --secs 1 --size 1000", name)
            time.sleep(1)
            before = rss_mb(tree(p.pid))[0]
            for wave in range(self.a.waves):
                r, full, most, peak = self.wave(name, p, streams)
                soon = rss_mb(tree(p.pid))[0]
                time.sleep(self.a.after)
                late = rss_mb(tree(p.pid))[0]
                row = dict(gateway=name, wave=wave + 1, streams=streams, ok=r.get("ok"), err=r.get("err"), last_err=r.get("last_err"),
                           files=most, before_mb=before, open_mb=full, peak_mb=peak, ended_mb=soon, later_mb=late,
                           per_stream_kb=(full - before) * 1024 / streams, ttft_p50_us=r.get("ttft_p50_us"), ttft_p99_us=r.get("ttft_p99_us"))
                self.note(scenario="streams", **row)
                print(f"{name} wave {wave + 1}: {streams} streams, {r.get('ok')} ended well, {r.get('err')} not {r.get('last_err') or ''}\n"
                      f"  resident {before:.1f} MB before, {full:.1f} MB with all open ({row['per_stream_kb']:.1f} kB each, {most} files), "
                      f"{soon:.1f} MB when they had ended, {late:.1f} MB {self.a.after:g} s later", flush=True)
        finally:
            self.stop(p)


def files(pid):
    count = 0
    for one in tree(pid):
        try:
            count += len(os.listdir(f"/proc/{one}/fd"))
        except OSError:
            pass
    return count


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--streams", type=int, default=10000)
    ap.add_argument("--gateways", default="nginx-many,cutover-many")
    ap.add_argument("--waves", type=int, default=2)
    ap.add_argument("--per-second", type=float, default=500, help="streams opened each second")
    ap.add_argument("--hold", type=float, default=10, help="seconds for which all of them are open")
    ap.add_argument("--interval", type=float, default=5, help="seconds between two events of a stream")
    ap.add_argument("--after", type=float, default=20, help="seconds from the end of the last stream to the last look")
    ap.add_argument("--bin", default=os.path.join(HERE, "target/release"))
    ap.add_argument("--cutover", default=os.path.join(HERE, "../target/release/cutover"), help="the binary to measure")
    ap.add_argument("--out", default="results.jsonl")
    ap.add_argument("--work", default=".")
    ap.add_argument("--nice", type=int, default=0)
    ap.add_argument("--upstream", type=int, default=9100)
    ap.add_argument("--extra", action="append", default=[])
    ap.add_argument("--configs", action="append", default=[])
    a = ap.parse_args()
    streams, limit = room(a.streams)
    if streams < a.streams:
        print(f"the limit of {limit} open files for a process has room for {streams} streams, not {a.streams}")
    b = Many(a)
    try:
        for name in a.gateways.split(","):
            b.measure(name, streams)
    finally:
        b.close()


if __name__ == "__main__":
    main()
