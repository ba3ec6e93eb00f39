# SPDX-License-Identifier: Apache-2.0
"""What the lints look at: the tracked files as {path: text}, and C++ without comments."""
import os
import re
import subprocess

TEXT = (".cpp", ".hpp", ".c", ".h", ".py", ".sh", ".mjs", ".js", ".ts", ".tsx", ".css", ".build",
        ".md", ".txt", ".yaml", ".json", ".html")
CPP = (".cpp", ".hpp", ".c", ".h")
SKIPPED = re.compile(r"(^|/)(node_modules|dist|build[^/]*|corpus|golden|\.git|\.cache)/")


def paths_of(root):
    """Tracked and new files; a checkout without git is walked."""
    try:
        # Root may test a checkout that belongs to another user: git would refuse to look at it.
        listed = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others",
             "--exclude-standard"],
            cwd=root, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        found = [p for p in listed.stdout.decode().split("\0") if p]
    except (OSError, subprocess.CalledProcessError):
        found = [os.path.relpath(os.path.join(folder, name), root)
                 for folder, _, names in os.walk(root) for name in names]
    return sorted(p for p in found
                  if not SKIPPED.search(p) and os.path.isfile(os.path.join(root, p)))


def is_script(path, text):
    return text.startswith("#!") and "sh" in text.split("\n", 1)[0].rsplit("/", 1)[-1]


def read_tree(root):
    files = {}
    for path in paths_of(root):
        if not path.endswith(TEXT) and "." in os.path.basename(path):
            continue
        with open(os.path.join(root, path), "rb") as stream:
            data = stream.read()
        if b"\0" not in data:
            files[path] = data.decode("utf-8", errors="replace")
    return files


STRIP = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def code_of(text):
    """C++ with comments and the insides of literals blanked; line numbers stay."""
    def blank(match):
        whole = match.group(0)
        if whole.startswith('"') and text[:match.start()].rsplit("\n", 1)[-1].startswith("#include"):
            return whole
        return "\n" * whole.count("\n") if whole[0] != '"' else '""'
    return STRIP.sub(blank, text)


def lines_matching(code, pattern):
    for number, line in enumerate(code.split("\n"), 1):
        if re.search(pattern, line):
            yield number, line.strip()
