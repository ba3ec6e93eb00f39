#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the meson tests of one build folder and counts their test cases.

meson's own runner counts programs; this one counts Catch2 test cases, and it can run the programs
of suite `user` as the system user from a folder that this user can read (uid 0 must never own a
cage, and the checkout may sit below a 0700 folder).
"""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

# Sanitizer builds on a busy two-core machine are this much slower than what `timeout:` assumes.
TIMEOUT_FACTOR = 6
CASES = re.compile(rb"^All tests passed \(\d+ assertions? in (\d+) test cases?\)", re.M)
MIXED = re.compile(rb"^test cases:\s*(\d+)(.*)$", re.M)


def count(output, code):
    """(passed, failed) of one program's output; a program that is not Catch2 is one case."""
    whole = CASES.findall(output)
    if code == 0:
        return (int(whole[-1]) if whole else 1), 0
    mixed = MIXED.findall(output)
    if not mixed:
        return 0, 1
    failed = re.search(rb"(\d+) failed", mixed[-1][1])
    number = int(failed.group(1)) if failed else 1
    return max(int(mixed[-1][0]) - number, 0), max(number, 1)


def stage_command(command, env, build, source, stage):
    """The same command with its program copied below `stage` and its paths rewritten."""
    def moved(text):
        return text.replace(build, stage + "/build").replace(source, stage + "/src")

    for word in command:
        if word.startswith(build) and os.path.isfile(word):
            target = moved(word)
            os.makedirs(os.path.dirname(target), exist_ok=True)
            # Another test of the same program may be running it.
            with tempfile.NamedTemporaryFile(dir=os.path.dirname(target), delete=False) as fresh:
                pass
            shutil.copy2(word, fresh.name)
            os.replace(fresh.name, target)
    prefix = ["setpriv", "--reuid", "volary", "--regid", "volary", "--init-groups",
              "--no-new-privs"]
    return prefix + [moved(w) for w in command], {k: moved(v) for k, v in env.items()}


def run(test, args, source):
    build = os.path.abspath(args.build)
    command, env = list(test["cmd"]), dict(test["env"])
    base = dict(os.environ)
    folder = test.get("workdir") or build
    as_user = any(s.split(":")[-1] == "user" for s in test["suite"])
    base["VOLARY_BIN"] = build + "/bin"
    base["VOLARY_SOURCE"] = source
    if as_user and os.getuid() == 0:
        command, env = stage_command(command, env, build, source, args.stage)
        base = {"PATH": base["PATH"], "HOME": "/var/lib/volary", "LANG": "C.UTF-8",
                "VOLARY_BIN": args.stage + "/build/bin", "VOLARY_SOURCE": args.stage + "/src"}
        folder = args.stage
    base["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
    started = time.monotonic()
    if not os.path.exists(command[0]) and "/" in command[0]:
        return test["name"], 0, 1, b"not built", 0.0
    limit = test["timeout"] * TIMEOUT_FACTOR
    child = subprocess.Popen(command, env={**base, **env}, cwd=folder, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             start_new_session=True)
    try:
        output, _ = child.communicate(timeout=limit)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, 9)
        output, code = child.communicate()[0] + b"\ntimed out after %d s" % limit, -9
    if code == 77:  # meson's convention: the test could not run here
        return test["name"], 0, 0, output, time.monotonic() - started
    return (test["name"], *count(output, code), output, time.monotonic() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--suite", action="append", required=True)
    parser.add_argument("--stage", default="/var/lib/volary/test")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--counts", help="append 'NAME PASSED FAILED' to this file")
    args = parser.parse_args()
    tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", args.build]))
    info = json.loads(subprocess.check_output(
        ["meson", "introspect", "--buildsystem-files", args.build]))
    source = os.path.dirname(next(f for f in info if f.endswith("/meson_options.txt")))
    wanted = [t for t in tests if any(s.split(":")[-1] in args.suite for s in t["suite"])]
    passed = failed = 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        for name, ok, bad, output, seconds in pool.map(lambda t: run(t, args, source), wanted):
            passed, failed = passed + ok, failed + bad
            print(f"  {'FAIL' if bad else 'ok' if ok else 'skip':4} {name}: "
                  f"{ok} passed, {bad} failed ({seconds:.1f} s)")
            if bad or not ok:
                sys.stdout.write(output.decode(errors="replace")[-8000:] + "\n")
            sys.stdout.flush()
    if args.counts:
        with open(args.counts, "a", encoding="utf-8") as out:
            name = "+".join(args.suite) + ":" + os.path.basename(os.path.abspath(args.build))
            print(name, passed, failed, file=out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
