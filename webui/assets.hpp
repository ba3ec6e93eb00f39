// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace volary::webui {

/// One file of the page, in the program's own read-only memory: every view lives as long as the
/// program does.
struct Asset {
    std::string_view path;          ///< As asked for: "/index.html", "/assets/index-Bx1.js".
    std::string_view content_type;  ///< With its charset.
    std::string_view etag;          ///< Quoted, from the hash of the bytes.
    std::span<const std::byte> identity;
    std::span<const std::byte> gzip;  ///< Empty when gzip would not make it smaller.
    bool immutable;  ///< The name holds a hash of the content: may be cached for ever.
};

/// The file at `path`; "/" is "/index.html". nullptr when the page has no such file, and always
/// when the program was built without the page (`-Dpage=false`). Any thread.
const Asset* find_asset(std::string_view path);

}  // namespace volary::webui
