#!/usr/bin/env python3
"""Counts what the pure parts of a request's path take: instructions (callgrind), allocations, time.

  count.py [--bin DIR] [--only TEXT]

Needs valgrind. Instructions are the difference of two runs of different length, so that start-up and making
the case do not count; they do not depend on what else the machine does. Times do: read them as a hint.
"""
import argparse, os, re, subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def instructions(binary, case, times):
    out = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary, "run", case, str(times)],
                         capture_output=True, text=True)
    found = re.search(r"Collected : (\d+)", out.stderr)
    if not found:
        raise SystemExit(f"{case}: callgrind said\n{out.stderr[-2000:]}")
    return int(found[1])


def shown(n):
    return f"{n:,.0f}"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bin", default=os.path.join(HERE, "target/release"))
    ap.add_argument("--only", default="", help="cases whose name holds this text")
    a = ap.parse_args()
    binary = os.path.join(a.bin, "counted")
    names = subprocess.run([binary, "list"], capture_output=True, text=True, check=True).stdout.splitlines()
    print("| case | instructions | allocations | time |\n|---|---|---|---|")
    for name in names:
        if a.only not in name:
            continue
        few, many = (1, 3) if "MB" in name else (20, 120)
        took = instructions(binary, name, many) - instructions(binary, name, few)
        ns, allocations = map(float, subprocess.run([binary, "time", name], capture_output=True, text=True, check=True).stdout.split())
        time = f"{ns:.0f} ns" if ns < 1_000 else f"{ns / 1_000:.1f} us" if ns < 1_000_000 else f"{ns / 1e6:.2f} ms"
        print(f"| {name} | {shown(took / (many - few))} | {shown(allocations)} | {time} |", flush=True)


if __name__ == "__main__":
    main()
