#!/usr/bin/env python3
"""Measures gateways against one mock upstream, interleaved; appends one JSON line per figure to a results file.

  run.py [--bin DIR] [--gateways a,b,c] [--scenarios ...] [--reps N] [--out FILE] [--nice N]

The upstream and the load client are pinned to processor 1, the gateway (with all its children) to processor 0.
'direct' (no gateway) is always measured, in every round. See README.md.
"""
import argparse, json, os, re, shutil, signal, socket, subprocess, sys, time, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

# name -> (load client arguments, mock settings); {rate} scenarios are open loop
SCENARIOS = {
    "closed32":   ("closed --conns 32 --secs 5 --size 1000", "delay=0"),
    "closed512":  ("closed --conns 512 --secs 5 --size 1000", "delay=0"),
    "closed1":    ("closed --conns 1 --secs 4 --size 1000", "delay=0"),
    "open50":     ("open --rate 50 --secs 8 --size 1000", "delay=0"),
    "open200":    ("open --rate 200 --secs 10 --size 1000", "delay=0"),
    "open1000":   ("open --rate 1000 --secs 6 --size 1000", "delay=0"),
    "delay50":    ("closed --conns 200 --secs 6 --size 1000", "delay=50"),
    "body100k":   ("closed --conns 8 --secs 4 --size 100000", "delay=0"),
    "body1m":     ("closed --conns 4 --secs 4 --size 1000000", "delay=0"),
    "stream200":  ("stream --conns 200 --secs 6 --spread 500 --size 1000", "delay=0&chunks=50&interval=10"),
    "stream20":   ("stream --conns 20 --secs 6 --spread 500 --size 1000", "delay=0&chunks=50&interval=10"),
    "streamsat":  ("stream --conns 32 --secs 5 --spread 0 --size 1000", "delay=0&chunks=200&interval=0"),
    "count10k":   ("closed --conns 16 --secs 60 --count 10000 --size 1000", "delay=0"),
}


def tree(pid):
    """pid and all that descend from it"""
    kids = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                s = open(f"/proc/{d}/stat").read()
            except OSError:
                continue
            kids.setdefault(int(s.rsplit(")", 1)[1].split()[1]), []).append(int(d))
    out, todo = [], [pid]
    while todo:
        p = todo.pop()
        out.append(p)
        todo += kids.get(p, [])
    return out


def cpu_s(pids):
    """on-processor seconds of the processes: schedstat (ns) of every live thread, or utime+stime"""
    total = 0.0
    for p in pids:
        try:
            s = open(f"/proc/{p}/stat").read().rsplit(")", 1)[1].split()
            ticks = (int(s[11]) + int(s[12])) / TICK
            ns = 0
            for t in os.listdir(f"/proc/{p}/task"):
                ns += int(open(f"/proc/{p}/task/{t}/schedstat").read().split()[0])
            total += max(ns / 1e9, 0) if ns else ticks
        except OSError:
            pass
    return total


def rss_mb(pids):
    """resident and proportional set sizes in MB; the second counts shared pages once"""
    r = p = 0
    for pid in pids:
        try:
            for line in open(f"/proc/{pid}/smaps_rollup"):
                if line.startswith("Rss:"):
                    r += int(line.split()[1])
                elif line.startswith("Pss:"):
                    p += int(line.split()[1])
        except OSError:
            pass
    return r / 1024, p / 1024


def get(url, timeout=5, **kw):
    req = urllib.request.Request(url, **kw)
    with urllib.request.urlopen(req, timeout=timeout) as r:
        return r.read()


class Bench:
    def __init__(self, a):
        self.a = a
        self.run_dir = os.path.join(os.path.abspath(a.work), "run")
        self.conf = os.path.join(self.run_dir, "conf")
        os.makedirs(self.conf, exist_ok=True)
        self.out = open(a.out, "a")
        self.nice = ["nice", "-n", str(a.nice)] if a.nice else []
        self.up = subprocess.Popen(self.nice + ["taskset", "-c", "1", os.path.join(a.bin, "upstream"), str(a.upstream)],
                                   stderr=subprocess.DEVNULL, start_new_session=True)
        self.favour(self.up.pid)
        self.wait_port(a.upstream, 10)
        self.gateways = json.load(open(os.path.join(HERE, "gateways.json")))
        for extra in a.extra:
            self.gateways.update(json.load(open(extra)))

    @staticmethod
    def wait_port(port, secs):
        end = time.monotonic() + secs
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.005)
        raise RuntimeError(f"nothing listens on {port}")

    def fill(self, s, g):
        m = {"@PORT@": str(g["port"]), "@ADMIN@": str(g["port"] + 100), "@UP@": str(self.a.upstream),
             "@RUN@": self.run_dir, "@CONF@": self.conf, "@STATE@": os.path.join(self.run_dir, f"state-{g['port']}"),
             "@BIN@": os.path.abspath(self.a.bin), "@CUTOVER@": os.path.abspath(self.a.cutover)}
        for k, v in m.items():
            s = s.replace(k, v)
        return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda x: os.environ.get(x[1], x[2]), s)

    def start(self, name):
        g = self.gateways[name]
        shutil.rmtree(self.fill("@STATE@", g), ignore_errors=True)
        for src in (os.path.join(HERE, "configs"), *self.a.configs):
            for f in os.listdir(src):
                with open(os.path.join(src, f)) as i, open(os.path.join(self.conf, f), "w") as o:
                    # only this gateway's own values are right in the files it reads
                    o.write(self.fill(i.read(), g))
        env = dict(os.environ, **{k: self.fill(v, g) for k, v in g.get("env", {}).items()})
        for k in g.get("unset", []):
            env.pop(k, None)
        cmd = self.nice + ["taskset", "-c", "0"] + [self.fill(c, g) for c in g["cmd"]]
        log = open(os.path.join(self.run_dir, name + ".log"), "w")
        t0 = time.monotonic()
        p = subprocess.Popen(cmd, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                             cwd=g.get("cwd", self.run_dir))
        self.favour(p.pid)
        body = json.dumps({"messages": [{"role": "user", "content": "ping"}], "model": g.get("model", "mock")}).encode()
        hs = {"content-type": "application/json", "authorization": "Bearer sk-bench"}
        for h in g.get("headers", []):
            k, v = self.fill(h, g).split(":", 1)
            hs[k] = v.strip()
        url = f"http://127.0.0.1:{g['port']}{g.get('path', '/v1/chat/completions')}"
        err = None
        while time.monotonic() < t0 + g.get("wait", 40):
            if p.poll() is not None:
                raise RuntimeError(f"{name} ended with {p.returncode}; see its log")
            try:
                if b"usage" in get(url, data=body, headers=hs, timeout=20):
                    return p, time.monotonic() - t0
                err = "no usage in the reply"
            except Exception as e:
                err = repr(e) + (e.read()[:300].decode(errors="replace") if hasattr(e, "read") else "")
            time.sleep(0.01)
        self.stop(p)
        raise RuntimeError(f"{name} never answered: {err}")

    @staticmethod
    def stop(p):
        pids = tree(p.pid)
        for sig in (signal.SIGTERM, signal.SIGKILL):
            for pid in pids:
                try:
                    os.kill(pid, sig)
                except OSError:
                    pass
            try:
                p.wait(5)
                if sig == signal.SIGTERM:
                    time.sleep(0.2)
                    pids = [x for x in pids if os.path.exists(f"/proc/{x}") and x != p.pid]
                    if not pids:
                        return
            except subprocess.TimeoutExpired:
                continue

    def favour(self, pid):
        """niceness counts inside one session's scheduling group; set the group's own, where the kernel has it"""
        if self.a.nice:
            try:
                with open(f"/proc/{pid}/autogroup", "w") as f:
                    f.write(str(self.a.nice))
            except OSError:
                pass

    def note(self, **kw):
        kw["load1"] = os.getloadavg()[0]
        self.out.write(json.dumps(kw) + "\n")
        self.out.flush()

    def load(self, args, name):
        cmd = self.nice + ["taskset", "-c", "1", os.path.join(self.a.bin, "load")] + args.split()
        if name != "direct":
            g = self.gateways[name]
            cmd += ["--port", str(g["port"]), "--path", g.get("path", "/v1/chat/completions"), "--model", g.get("model", "mock")]
            for h in g.get("headers", []):
                cmd += ["--header", self.fill(h, g)]
        else:
            cmd += ["--port", str(self.a.upstream)]
        p = subprocess.Popen(cmd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self.favour(p.pid)
        out, err = p.communicate(timeout=150)
        try:
            return json.loads(out)
        except ValueError:
            return {"ok": 0, "err": -1, "last_err": err[-300:]}

    def scenario(self, sc, name, rep, p):
        args, mock = SCENARIOS[sc]
        get(f"http://127.0.0.1:{self.a.upstream}/__mock?{mock}")
        if self.a.short:
            args = re.sub(r"--secs ([\d.]+)", lambda m: f"--secs {float(m[1]) * self.a.short}", args)
        pids = tree(p.pid) if p else []
        up0, c0, t0, st0 = cpu_s([self.up.pid]), cpu_s(pids), time.monotonic(), steal()
        r = self.load(args, name)
        wall = time.monotonic() - t0
        c1, up1, st1 = cpu_s(tree(p.pid)) if p else 0.0, cpu_s([self.up.pid]), steal()
        n = max(r.get("ok", 0), 1)
        r.update(cpu_s=c1 - c0, cpu_us_per_req=(c1 - c0) / n * 1e6, cpu_share=(c1 - c0) / wall, up_cpu_share=(up1 - up0) / wall,
                 steal=(st1 - st0) / wall)
        if r.get("chunks"):
            r["cpu_us_per_chunk"] = (c1 - c0) / r["chunks"] * 1e6
        if p:
            r["rss_mb"], r["pss_mb"] = rss_mb(tree(p.pid))
        self.note(gateway=name, scenario=sc, rep=rep, **r)
        keys = [k for k in ("rps", "err", "lat_p50_us", "lat_p99_us", "ttft_p50_us", "transit_p50_us", "transit_p99_us", "chunks_per_s") if k in r]
        print(f"  {name:13} {sc:10} cpu/req {r['cpu_us_per_req']:8.1f} us  gw {r['cpu_share']:.2f} up {r['up_cpu_share']:.2f} "
              + " ".join(f"{k.replace('_us', '')}={r[k]:.0f}" for k in keys) + (f"  ! {r['last_err'][:160]}" if r.get("err") else ""), flush=True)

    def open(self, name, rep):
        """starts a gateway and warms it"""
        p, secs = self.start(name)
        time.sleep(1.0)
        r, s = rss_mb(tree(p.pid))
        self.note(gateway=name, scenario="start", rep=rep, start_s=secs, rss_mb=r, pss_mb=s)
        print(f"  {name:13} start {secs:.3f} s, rss {r:.1f} MB, pss {s:.1f} MB", flush=True)
        self.warm(name)
        return p

    def warm(self, name):
        get(f"http://127.0.0.1:{self.a.upstream}/__mock?delay=0")
        self.load("closed --conns 16 --secs 1.5 --size 1000", name)

    def one(self, name, rep, up):
        """one gateway's turn of a round; `up` holds those that stay up between their turns"""
        p = up.get(name)
        if name == "direct":
            self.warm(name)
        elif p is None:
            try:
                p = self.open(name, rep)
            except Exception as e:
                print(f"  {name}: {e}", flush=True)
                return
            if self.a.together:
                up[name] = p
        try:
            for sc in self.a.scenarios.split(","):
                if sc == "count10k" and p:
                    # a process of its own: what bodies and streams left behind is no part of the figure
                    self.stop(p)
                    p, _ = self.start(name)
                self.scenario(sc, name, rep, p)
        finally:
            if p and not self.a.together:
                self.stop(p)

    def go(self):
        up = {}
        try:
            for rep in range(self.a.reps):
                print(f"round {rep + 1}, load {os.getloadavg()[0]:.1f}", flush=True)
                for name in ["direct"] + self.a.gateways.split(","):
                    self.one(name, rep, up)
        finally:
            for p in up.values():
                self.stop(p)

    def close(self):
        self.up.terminate()
        self.up.wait()


def steal():
    return int(open("/proc/stat").readline().split()[8]) / TICK


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--bin", default=os.path.join(HERE, "target/release"))
    ap.add_argument("--cutover", default=os.path.join(HERE, "../target/release/cutover"), help="the binary to measure")
    ap.add_argument("--gateways", default="nginx,floor-lean,floor-own,cutover-default,cutover-usecase,cutover-off")
    ap.add_argument("--scenarios", default="closed32,closed1,open200,body100k,body1m,stream200,streamsat,count10k")
    ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--out", default="results.jsonl")
    ap.add_argument("--work", default=".")
    ap.add_argument("--nice", type=int, default=0)
    ap.add_argument("--upstream", type=int, default=9100)
    ap.add_argument("--short", type=float, default=0, help="factor on every scenario's seconds")
    ap.add_argument("--together", action="store_true",
                    help="all gateways stay up, so that rounds can be short and many: a machine whose speed changes by the second bends them less")
    ap.add_argument("--extra", action="append", default=[], help="further gateways, a JSON file like gateways.json")
    ap.add_argument("--configs", action="append", default=[], help="a folder of further configuration templates")
    a = ap.parse_args()
    if a.together and "count10k" in a.scenarios:
        ap.error("count10k needs a process of its own: not with --together")
    b = Bench(a)
    try:
        b.go()
    finally:
        b.close()


if __name__ == "__main__":
    main()
