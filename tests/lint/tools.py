# SPDX-License-Identifier: Apache-2.0
"""Checks that call a tool on files: layout, self-contained headers, shell, static analysis."""
import concurrent.futures
import json
import os
import re
import subprocess
import tempfile

from rooms import room_of
from tree import CPP, is_script, read_tree

JOBS = os.cpu_count() or 2
PRECOMPILED = re.compile(r" -include-pch \S+")
# As the build does; warnings are the build's business.
HEADER_FLAGS = ["-std=c++2b", "-fsyntax-only", "-w", "-DBOOST_ASIO_SEPARATE_COMPILATION",
                "-DBOOST_BEAST_SEPARATE_COMPILATION", "-DBOOST_ASIO_NO_DEPRECATED",
                "-DBOOST_ASIO_DISABLE_BOOST_COROUTINE", '-DVOLARY_VERSION="0"']


def each(command, items, root):
    """Runs command(item) for all items in parallel; what the failing ones print, shortened."""
    def one(item):
        done = subprocess.run(command(item), cwd=root, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        text = done.stdout.decode(errors="replace").strip()
        return [f"{item}: {text[:1500]}"] if done.returncode else []
    with concurrent.futures.ThreadPoolExecutor(JOBS) as pool:
        return sum(pool.map(one, items), [])


def layout(files, root, _build):
    paths = [p for p in files if p.endswith(CPP)]
    return each(lambda p: ["clang-format-19", "--dry-run", "-Werror", "--style=file", p], paths, root)


def proven_by_source(path, files):
    """True when the header's own source includes it first: then the build has proven it."""
    for line in files.get(path.removesuffix(".hpp") + ".cpp", "").split("\n"):
        if line.startswith("#include"):
            return line == f'#include "{path}"'
    return False


def self_contained_headers(files, root, _build):
    # One translation unit each: what one header includes cannot help the next.
    paths = [p for p in files if p.endswith(".hpp") and not p.startswith("tests/") and
             not proven_by_source(p, files)]
    return each(lambda p: ["clang++-19", *HEADER_FLAGS, "-I", ".", "-include", p, "-x", "c++",
                           "/dev/null"], paths, root)


def shell_scripts(files, root, _build):
    paths = [p for p, t in files.items() if is_script(p, t) or p.endswith(".sh")]
    return each(lambda p: ["shellcheck", "--external-sources", p], paths, root)


def static_analysis(files, root, build, *options):
    """clang-tidy over the sources that the build knows, as far as `files` has them."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as stream:
        commands = json.load(stream)
    known = {os.path.relpath(os.path.join(c["directory"], c["file"]), root) for c in commands}
    paths = [p for p in files if p in known and p.endswith(".cpp") and room_of(p)]
    # What the precompiled header saves is not there before the first build, and hides what a
    # source forgot to include.
    for each_command in commands:
        each_command["command"] = PRECOMPILED.sub("", each_command["command"])
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "compile_commands.json"), "w", encoding="utf-8") as out:
            json.dump(commands, out)
        return each(lambda p: ["clang-tidy-19", "--quiet", *options, "-p", folder, p], paths, root)


def self_test(check, bad, good):
    """True when `check` finds the bad file and not the good one, in a folder of their own."""
    def findings(files):
        with tempfile.TemporaryDirectory() as root:
            for name in (".clang-format", ".clang-tidy"):
                source = os.path.join(os.path.dirname(__file__), "../..", name)
                with open(source, encoding="utf-8") as stream, \
                        open(os.path.join(root, name), "w", encoding="utf-8") as out:
                    out.write(stream.read())
            for path, text in files.items():
                os.makedirs(os.path.dirname(os.path.join(root, path)) or root, exist_ok=True)
                with open(os.path.join(root, path), "w", encoding="utf-8") as out:
                    out.write(text)
            with open(os.path.join(root, "compile_commands.json"), "w", encoding="utf-8") as out:
                json.dump([{"directory": root, "file": p, "command": f"clang++-19 -c {p}"}
                           for p in files], out)
            return check(read_tree(root), root, root)
    return bool(findings(bad)) and not findings(good)


SELF_TESTS = [
    (layout, {"base/a.cpp": "int  f( ){return 1;}\n"}, {"base/a.cpp": "int f() { return 1; }\n"}),
    (self_contained_headers, {"base/a.hpp": "#pragma once\nstd::string f();\n"},
     {"base/a.hpp": "#pragma once\n#include <string>\nstd::string f();\n"}),
    (shell_scripts, {"a.sh": "#!/bin/sh\nrm $1/*\n"}, {"a.sh": "#!/bin/sh\nrm \"$1\"/a\n"}),
    (static_analysis, {"base/a.cpp": "int* f() { return 0; }\n"},
     {"base/a.cpp": "int* f() { return nullptr; }\n"}),
]
CHECKS = [layout, self_contained_headers, shell_scripts]
