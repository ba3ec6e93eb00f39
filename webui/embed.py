#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Turns webui/dist into an assembler file with the bytes and a C++ table of them.

usage: embed.py DIST OUT.S OUT.cpp OUT.d     (DIST "-" makes an empty table)

The output depends on the bytes of DIST alone: gzip headers carry no time and no name.
"""

import gzip
import hashlib
import pathlib
import sys

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}

COMMAND = "npm --prefix webui ci && npm --prefix webui run build"

HEAD = """// SPDX-License-Identifier: Apache-2.0
// Made by webui/embed.py from webui/dist.
#include "webui/assets.hpp"

#include <array>

"""

FIND = """
const Asset* find_asset(std::string_view path) {
    if (path == "/") path = "/index.html";
    for (const auto& asset : kAssets) {
        if (asset.path == path) return &asset;
    }
    return nullptr;
}

}  // namespace volary::webui
"""


def fail(message):
    sys.exit(f"embed.py: {message}")


def read_files(dist):
    if not (dist / "index.html").is_file():
        fail(f'"{dist}/index.html" is missing: build the page first with "{COMMAND}"')
    files = []
    for path in sorted(dist.rglob("*")):
        if not path.is_file():
            continue
        if path.suffix not in TYPES:
            fail(f'"{path}": no content type is known for "{path.suffix}"; add it to TYPES')
        name = "/" + path.relative_to(dist).as_posix()
        data = path.read_bytes()
        packed = gzip.compress(data, compresslevel=9, mtime=0)
        files.append((name, path, data, packed if len(packed) < len(data) else b""))
    return files


def blob(label, source):
    return (
        f'    .global {label}\n    .global {label}_end\n    .balign 16\n{label}:\n'
        f'    .incbin "{source}"\n{label}_end:\n    .byte 0\n'
    )


def main():
    if len(sys.argv) != 5:
        fail("usage: embed.py DIST OUT.S OUT.cpp OUT.d")
    out_s, out_cpp, out_d = (pathlib.Path(arg).resolve() for arg in sys.argv[2:])
    dist = None if sys.argv[1] == "-" else pathlib.Path(sys.argv[1]).resolve()
    files = read_files(dist) if dist else []
    packs = out_s.parent / (out_s.name + ".gz")
    packs.mkdir(exist_ok=True)

    asm = ['    .section .rodata.volary_page,"a"\n']
    externs, rows = [], []
    for i, (name, path, data, packed) in enumerate(files):
        spans = []
        for kind, content, source in (("raw", data, path), ("gz", packed, packs / f"{i}.gz")):
            if not content:
                spans.append("std::span<const std::byte>{}")
                continue
            if kind == "gz":
                source.write_bytes(content)
            label = f"volary_page_{i}_{kind}"
            asm.append(blob(label, source))
            externs.append(f"extern const std::byte {label}[];\n")
            spans.append(f"std::span<const std::byte>{{{label}, {len(content)}}}")
        etag = hashlib.sha256(data).hexdigest()[:24]
        immutable = "true" if name.startswith("/assets/") else "false"
        rows.append(
            f'    Asset{{"{name}", "{TYPES[path.suffix]}", "\\"{etag}\\"",\n'
            f"          {spans[0]},\n          {spans[1]}, {immutable}}},\n"
        )
    asm.append('    .section .note.GNU-stack,"",%progbits\n')
    out_s.write_text("".join(asm))
    out_cpp.write_text(
        HEAD
        + ('extern "C" {\n' + "".join(externs) + "}\n\n" if externs else "")
        + "namespace volary::webui {\n\nnamespace {\n\n"
        + f"const std::array<Asset, {len(rows)}> kAssets{{{{\n"
        + "".join(rows)
        + "}};\n\n}  // namespace\n"
        + FIND
    )
    depends = " ".join(str(path).replace(" ", "\\ ") for _, path, _, _ in files)
    out_d.write_text(f"{out_s} {out_cpp}: {depends}\n")


main()
