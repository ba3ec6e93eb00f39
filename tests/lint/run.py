#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every lint and every lint's self-test (a bad sample that it must catch, a good one that it
must not)."""
import argparse
import os
import sys
import time

import rooms
import text
import tools
from tree import read_tree

# clang-tidy needs seconds a file: CI looks at the rooms that read foreign bytes or hold the doors.
TIDY_CI = ("base/", "cage/compiler", "cage/gatekeeper/client_hello", "cage/gatekeeper/dns.",
           "cage/gatekeeper/http_head", "cage/gatekeeper/judge", "cage/gatekeeper/names",
           "cage/init/", "cage/mounts", "cage/seccomp", "cage/shim/", "dsl/", "daemon/access/decide",
           "daemon/access/secrets", "daemon/session/decide", "daemon/session/fold",
           "daemon/session/state")


def self_tests():
    for check, bad, good in rooms.SELF_TESTS + text.SELF_TESTS:
        caught = bool(check(bad)) and not check(good)
        yield check.__name__, caught
    for check, bad, good in tools.SELF_TESTS:
        yield check.__name__, tools.self_test(check, bad, good)


def checks(files, root, build, tidy):
    for check in rooms.CHECKS + text.CHECKS:
        yield check.__name__, lambda check=check: check(files)
    for check in tools.CHECKS:
        yield check.__name__, lambda check=check: check(files, root, build)
    if tidy != "none" and os.path.exists(os.path.join(build, "compile_commands.json")):
        if tidy == "all":
            yield "static_analysis", lambda: tools.static_analysis(files, root, build)
        else:
            some = {p: t for p, t in files.items() if p.startswith(TIDY_CI)}
            # The path-sensitive analyzer takes two thirds of the time: the full tier has it.
            yield "static_analysis", lambda: tools.static_analysis(
                some, root, build, "--checks=-clang-analyzer-*")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "../.."))
    parser.add_argument("--build", default="build")
    parser.add_argument("--tidy", choices=["none", "ci", "all"], default="ci")
    parser.add_argument("--only", help="run only the check of this name")
    parser.add_argument("--counts")
    args = parser.parse_args()
    root = os.path.abspath(args.root)
    passed = failed = 0
    for name, caught in self_tests() if not args.only else []:
        passed, failed = passed + caught, failed + (not caught)
        if not caught:
            print(f"  FAIL self-test of {name}: its bad sample passed or its good one did not")
    for name, check in checks(read_tree(root), root, os.path.abspath(args.build), args.tidy):
        if args.only and name != args.only:
            continue
        started = time.monotonic()
        found = check()
        print(f"  {'FAIL' if found else 'ok':4} {name} ({time.monotonic() - started:.1f} s)")
        for line in found:
            print("       " + line)
        passed, failed = passed + (not found), failed + bool(found)
        sys.stdout.flush()
    if args.counts:
        with open(args.counts, "a", encoding="utf-8") as out:
            print("lint", passed, failed, file=out)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
