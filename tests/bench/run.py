#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every *_bench program of a folder, and every *_bench.mjs beside this file, and merges what
they print. The latter run with the Node that VOLARY_NODE names.

A bench prints one JSON object ({"key": number}) when called with --json. Keys of all programs end
up in one object; without --json they are printed as a table.
"""
import json
import os
import re
import subprocess
import sys

# The slowest bench (durable appends) takes about a minute on two cores.
TIMEOUT_S = 600


def benches(folder):
    """Pairs of a name and the command line that runs it."""
    for name in os.listdir(folder):
        if name.endswith("_bench"):
            yield name, [os.path.join(folder, name)]
    here = os.path.dirname(os.path.abspath(__file__))
    for name in os.listdir(here):
        if name.endswith("_bench.mjs"):
            yield name.removesuffix(".mjs"), [os.environ.get("VOLARY_NODE", "node"), "--no-warnings",
                                              os.path.join(here, name)]


def documented():
    """The keys of docs/bench.md, on which people and scripts rely."""
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
    with open(os.path.join(root, "docs/bench.md"), encoding="utf-8") as stream:
        rows = [line.split("|")[1] for line in stream if line.startswith("| `")]
    return set(re.findall(r"`(\w+)`", " ".join(rows)))


def main():
    as_json = "--json" in sys.argv[1:]
    folder = [a for a in sys.argv[1:] if a != "--json"][0]
    merged, code = {}, 0
    for name, command in sorted(benches(folder)):
        done = subprocess.run([*command, "--json"], stdout=subprocess.PIPE, timeout=TIMEOUT_S,
                              check=False)
        try:
            figures = json.loads(done.stdout)
        except ValueError:
            figures = None
        if done.returncode != 0 or not isinstance(figures, dict):
            print(f"{name}: failed (exit {done.returncode})", file=sys.stderr)
            code = 1
            continue
        twice = merged.keys() & figures.keys()
        if twice:
            print(f"{name}: prints keys of another bench: {sorted(twice)}", file=sys.stderr)
            code = 1
        merged.update(figures)
        if not as_json:
            print(name.removesuffix("_bench"))
            for key, value in figures.items():
                print(f"  {key:44} {value}")
    if code == 0 and merged.keys() != documented():
        print(f"docs/bench.md and the figures differ: {sorted(merged.keys() ^ documented())}",
              file=sys.stderr)
        code = 1
    if as_json:
        print(json.dumps(merged, indent=2, sort_keys=True))
    return code


if __name__ == "__main__":
    sys.exit(main())
