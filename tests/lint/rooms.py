# SPDX-License-Identifier: Apache-2.0
"""Which room may include which: the floors of the house, and fences around third-party code."""
import re

from tree import CPP

FLOORS = [
    {"base"},
    {"dsl", "cage", "pty", "daemon/store", "daemon/http", "daemon/acp"},
    {"plugins", "daemon/model"},
    {"daemon/session", "daemon/agent", "daemon/task", "daemon/access", "daemon/tunnel"},
    {"daemon/api", "daemon/cli"},
    {"daemon/app", "bin"},
]
# Libraries that could leave the house with base/ alone.
PORTABLE = {"cage", "pty", "dsl", "plugins"}
INCLUDE = re.compile(r'^\s*#\s*include\s+["<]([^">]+)[">]')

# header -> (folders that may include it, how many of their files, may a header do so)
FENCES = [
    (r"boost/beast", ["daemon/http/"], None, False),
    (r"sqlite3\.h", ["daemon/store/"], None, False),
    (r"seccomp\.h", ["cage/"], None, False),
    (r"libfyaml\.h", ["dsl/"], 1, False),
    (r"CLI/", ["daemon/app/"], 1, False),
    (r"toml\+\+/", ["daemon/app/"], 1, False),
    (r"openssl/", ["daemon/http/", "cage/gatekeeper/"], None, False),
    (r"sodium\.h", ["cage/change_digest", "daemon/access/", "daemon/store/chain", "daemon/store/vault"], None, False),
    (r"nlohmann/json\.hpp", [""], None, False),
]


def room_of(path):
    """(floor, room) of a path; None for what is beside the house (tests, examples, webui)."""
    for floor, rooms in enumerate(FLOORS):
        for room in rooms:
            if path.startswith(room + "/"):
                return floor, room
    return None


def includes(files):
    for path, text in files.items():
        if not path.endswith(CPP):
            continue
        for number, line in enumerate(text.split("\n"), 1):
            match = INCLUDE.match(line)
            if match:
                yield path, number, match.group(1)


def floors(files):
    found = []
    for path, number, target in includes(files):
        here, there = room_of(path), room_of(target)
        if here is None or there is None or here[1] == there[1]:
            continue
        where = f"{path}:{number}: {here[1]} (floor {here[0]}) includes {target} (floor {there[0]})"
        if there[0] > here[0]:
            found.append(where + ": includes point down only")
        elif there[0] == here[0]:
            found.append(where + ": rooms of one floor do not know each other; move what both need "
                         "to base/, or take an interface that the user above owns")
        elif here[1] in PORTABLE and target.startswith("daemon/"):
            found.append(where + f": {here[1]} may leave the house with base/ alone")
    return found


def fences(files):
    found, users = [], {}
    for path, number, target in includes(files):
        if room_of(path) is None:
            continue
        for pattern, folders, limit, in_headers in FENCES:
            if not re.match(pattern, target):
                continue
            if not any(path.startswith(f) for f in folders):
                found.append(f"{path}:{number}: <{target}> belongs to {' and '.join(folders)} alone")
            elif path.endswith(".hpp") and not in_headers:
                found.append(f"{path}:{number}: <{target}> in a header: every reader compiles it")
            elif limit:
                users.setdefault((pattern, limit), set()).add(path)
    for (pattern, limit), paths in users.items():
        if len(paths) > limit:
            found.append(f"{', '.join(sorted(paths))}: {pattern} belongs in {limit} file(s)")
    return found


# Style says ten; a header that owns a root type may need two more.
MAX_HEADER_INCLUDES = 12


def header_includes(files):
    count = {}
    for path, _, _ in includes(files):
        if path.endswith(".hpp") and room_of(path):
            count[path] = count.get(path, 0) + 1
    return [f"{p}: {n} includes, at most {MAX_HEADER_INCLUDES}: forward-declare"
            for p, n in count.items() if n > MAX_HEADER_INCLUDES]


def sources_listed(files):
    """Every C++ source is named by a meson.build: a forgotten one is dead code."""
    builds = "\n".join(t for p, t in files.items() if p.endswith("meson.build"))
    def named(path):
        name = path.rsplit("/", 1)[-1]
        # Fuzzers and benches are listed by stem, in a loop that adds the rest.
        stem = re.sub(r"_(fuzz|bench)\.cpp$", "", name)
        return f"{name}'" in builds or (stem != name and f"'{stem}'" in builds)

    return [f"{p}: named in no meson.build" for p in files
            if p.endswith((".cpp", ".c")) and not named(p)]


SELF_TESTS = [
    (floors, {"cage/a.hpp": '#include "daemon/agent/b.hpp"\n'}, {"cage/a.hpp": '#include "base/error.hpp"\n'}),
    (floors, {"daemon/store/a.cpp": '#include "daemon/http/b.hpp"\n'},
     {"daemon/model/a.cpp": '#include "daemon/http/b.hpp"\n'}),
    (floors, {"plugins/a.cpp": '#include "daemon/acp/b.hpp"\n'}, {"plugins/a.cpp": '#include "cage/b.hpp"\n'}),
    (fences, {"daemon/api/a.cpp": "#include <boost/beast/http.hpp>\n"},
     {"daemon/http/a.cpp": "#include <boost/beast/http.hpp>\n"}),
    (fences, {"daemon/http/a.hpp": "#include <boost/beast/http.hpp>\n"}, {"tests/x.cpp": "#include <sqlite3.h>\n"}),
    (fences, {"dsl/a.cpp": "#include <libfyaml.h>\n", "dsl/b.cpp": "#include <libfyaml.h>\n"},
     {"dsl/a.cpp": "#include <libfyaml.h>\n"}),
    (fences, {"base/a.hpp": "#include <nlohmann/json.hpp>\n"}, {"base/a.cpp": "#include <nlohmann/json.hpp>\n"}),
    (header_includes, {"base/a.hpp": "#include <vector>\n" * 13}, {"base/a.cpp": "#include <vector>\n" * 13}),
    (sources_listed, {"base/a.cpp": "", "base/meson.build": "'b.cpp',"},
     {"base/a.cpp": "", "base/meson.build": "'a.cpp',"}),
]
CHECKS = [floors, fences, header_includes, sources_listed]
