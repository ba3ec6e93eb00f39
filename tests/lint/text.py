# SPDX-License-Identifier: Apache-2.0
"""Checks that need nothing but the text: words, sizes, licence lines, READMEs."""
import os
import re

from tree import CPP, code_of, is_script, lines_matching

# (pattern, path prefixes where it is allowed, why not elsewhere)
BANNED_CODE = [
    (r"\basio::detached\b", [], "background work belongs to a TaskScope"),
    (r"\bstd::j?thread\b", ["daemon/store/", "base/", "cage/gatekeeper/data_plane.cpp", "tests/"], "one control thread"),
    (r"\bstd::(recursive_|shared_)?mutex\b", ["daemon/store/", "base/", "tests/"], "no mutexes: one control thread"),
    (r"\bsleep_(for|until)\b", [], "wait for the condition, with a deadline"),
    (r"(?<![\w.>:])(::)?(u|nano)?sleep\s*\(", [], "wait for the condition, with a deadline"),
    (r"(?<![\w.>])(std::|::)?(system|popen)\s*\(", [], "no shell: use Child with an argv"),
    (r"\busing namespace std;", [], "spell it"),
    (r"\bstd::(cout|cerr|clog)\b", ["bin/", "daemon/app/", "daemon/cli/", "examples/", "tests/"],
     "rooms log through base/log.hpp and return what users read"),
]
BANNED_TEXT = [
    # Split, so that this file does not find itself.
    (r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b", "finish it or file it"),
]
# Waiting a fixed time in a test is either too short or too long; tests/support has wait helpers.
SLEEPS_IN_TESTS = r"\bsetTimeout\s*\(|timers/promises"


def banned_words(files):
    found = []
    for path, text in files.items():
        if path.endswith(CPP):
            code = code_of(text)
            for pattern, allowed, why in BANNED_CODE:
                if any(path.startswith(a) for a in allowed):
                    continue
                found += [f"{path}:{n}: {line} ({why})" for n, line in lines_matching(code, pattern)]
        if path.endswith((*CPP, ".py", ".mjs", ".ts", ".tsx", ".build", ".sh")):
            for pattern, why in BANNED_TEXT:
                found += [f"{path}:{n}: {line} ({why})" for n, line in lines_matching(text, pattern)]
        if path.startswith(("tests/e2e/", "tests/fault/")) and path.endswith(".mjs"):
            found += [f"{path}:{n}: {line} (wait for a condition: tests/support/wait.mjs)"
                      for n, line in lines_matching(text, SLEEPS_IN_TESTS)]
    return found


MAX_FILE_LINES = 500
SOURCES = (*CPP, ".py", ".mjs", ".ts", ".tsx", ".sh")


def file_length(files):
    return [f"{p}: {t.count(chr(10))} lines, at most {MAX_FILE_LINES}: split it by what it does"
            for p, t in files.items()
            if (p.endswith(SOURCES) or is_script(p, t)) and t.count("\n") > MAX_FILE_LINES]


MAX_FUNCTION_LINES = 60
# A test case is a story; it may be longer than a function that others must understand.
MAX_TEST_LINES = 120
OPENING = re.compile(r"^\s*(namespace|struct|class|enum|union|if|for|while|switch|else|do|try|catch|"
                     r"extern|case|default|template <[^()]*> (struct|class)|\} (else|catch|while))\b")


def functions(code):
    """(first line, length) of each function body: what opens with `{` at the end of a line that has
    a `)` and no keyword of another block. The layout lint keeps that shape."""
    lines = code.split("\n")
    for first, line in enumerate(lines):
        if not line.endswith("{") or OPENING.match(line) or ")" not in line:
            continue
        if line.lstrip().startswith(("}", "{")):
            continue
        depth = 0
        for last in range(first, len(lines)):
            # Only the body counts: braces of arguments before it are closed on the same line.
            depth += (1 if last == first else lines[last].count("{") - lines[last].count("}"))
            if depth <= 0:
                yield first + 1, last - first + 1
                break


def function_size(files):
    found = []
    for path, text in files.items():
        if not path.endswith(CPP):
            continue
        limit = MAX_TEST_LINES if path.startswith("tests/") else MAX_FUNCTION_LINES
        found += [f"{path}:{n}: a function of {size} lines, at most {limit}"
                  for n, size in functions(code_of(text)) if size > limit]
    return found


LICENCE = "SPDX-License-Identifier: Apache-2.0"


def licence_line(files):
    found = []
    for path, text in files.items():
        if path.endswith((*SOURCES, "meson.build")) or is_script(path, text):
            head = text.split("\n", 2)[:2]
            if not any(LICENCE in line for line in head):
                found.append(f"{path}:1: {LICENCE} is missing")
    return found


MAX_README_LINES = 40
# Folders that are one subject with the folder above them.
PART_OF_PARENT = re.compile(r"^(tests/(base|cage|dsl|daemon|bench|fuzz|e2e/.*|support|fault)|daemon$|"
                            r"docs|\.ci|webui/.+|examples/[^/]+/.+|bin|tools|.*/builtin|cage/(init|shim))")


def readme_per_folder(files):
    folders = {os.path.dirname(p) for p in files
               if p.endswith((*CPP, ".ts", ".tsx")) or os.path.basename(p) == "project.yaml"}
    found = []
    for folder in sorted(folders):
        folder = folder.removesuffix("/.volary")
        if not folder or PART_OF_PARENT.match(folder):
            continue
        readme = folder + "/README.md"
        if readme not in files:
            found.append(f"{readme}: missing: purpose, invariants, what it may include")
        elif files[readme].count("\n") > MAX_README_LINES:
            found.append(f"{readme}: {files[readme].count(chr(10))} lines, at most {MAX_README_LINES}")
    return found


def _function(lines):
    return "int f() {\n" + "    g();\n" * (lines - 2) + "}\n"


SELF_TESTS = [
    (banned_words, {"daemon/api/a.cpp": "co_spawn(x, y, asio::detached);\n"},
     {"daemon/api/a.cpp": "// never asio::detached\nf(\"asio::detached\");\n"}),
    (banned_words, {"cage/a.cpp": "std::thread t;\n"}, {"daemon/store/a.cpp": "std::thread t;\n"}),
    (banned_words, {"tests/a_test.cpp": "std::this_thread::sleep_for(1s);\n"},
     {"tests/a_test.cpp": "wait_until(done);\n"}),
    (banned_words, {"cage/a.cpp": "::usleep(10);\n"}, {"cage/a.cpp": "clock.sleep(10);\n"}),
    (banned_words, {"base/a.hpp": "// TO" + "DO later\n"}, {"base/a.hpp": "// all done\n"}),
    (banned_words, {"cage/a.cpp": "::system(\"ls\");\n"}, {"cage/a.cpp": "asio::system_timer t;\n"}),
    (banned_words, {"dsl/a.cpp": "std::cout << 1;\n"}, {"daemon/app/a.cpp": "std::cout << 1;\n"}),
    (banned_words, {"tests/e2e/a.test.mjs": "setTimeout(f, 1000)\n"},
     {"tests/support/wait.mjs": "setTimeout(f, 10)\n"}),
    (file_length, {"base/a.cpp": "\n" * 501}, {"base/a.cpp": "\n" * 500}),
    (function_size, {"base/a.cpp": _function(61)}, {"base/a.cpp": _function(60) + _function(60)}),
    (function_size, {"base/a.cpp": "class A {\npublic:\n    int f() const {\n" + "        g();\n" * 60 + "    }\n};\n"},
     {"base/a.cpp": "namespace a {\n" + _function(30) * 10 + "}\n"}),
    (licence_line, {"base/a.cpp": "#include <x>\n"}, {"base/a.cpp": "// " + LICENCE + "\n"}),
    (readme_per_folder, {"cage/a.cpp": ""}, {"cage/a.cpp": "", "cage/README.md": "x\n"}),
]
CHECKS = [banned_words, file_length, function_size, licence_line, readme_per_folder]
