#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs each libFuzzer program for a while, two at a time; a crash or a leak is one failure."""
import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile

# Any input of ours that needs more than this is a finding itself.
MEMORY_MB = 1024
INPUT_TIMEOUT_S = 5


def run(program, args):
    name = os.path.basename(program)
    with tempfile.TemporaryDirectory(prefix="volary-fuzz-") as folder:
        corpus = os.path.join(folder, "corpus")
        seeds = os.path.join(args.corpus, name.removesuffix("_fuzz"))
        # New inputs go to a copy: a test run leaves the checkout as it was.
        if os.path.isdir(seeds):
            shutil.copytree(seeds, corpus)
        else:
            os.mkdir(corpus)
        command = [program, f"-max_total_time={args.seconds}", f"-timeout={INPUT_TIMEOUT_S}",
                   f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={folder}/",
                   "-print_final_stats=1", corpus]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=args.seconds * 4 + 120,
                              check=False)
        for found in os.listdir(folder):
            if found != "corpus":
                keep = os.path.join(os.path.dirname(program), found)
                shutil.copy(os.path.join(folder, found), keep)
                print(f"  input kept as {keep}")
    return name, done.returncode, done.stdout.decode(errors="replace")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--corpus", required=True)
    parser.add_argument("--counts")
    parser.add_argument("fuzzers", nargs="*")
    args = parser.parse_args()
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, code, output in pool.map(lambda p: run(p, args), args.fuzzers):
            runs = [l for l in output.splitlines() if "number_of_executed_units" in l]
            print(f"  {'FAIL' if code else 'ok':4} {name} {runs[-1].split()[-1] if runs else '?'}"
                  " inputs")
            passed, failed = passed + (code == 0), failed + (code != 0)
            if code:
                print(output[-8000:])
    if args.counts:
        with open(args.counts, "a", encoding="utf-8") as out:
            print("fuzz", passed, failed, file=out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
