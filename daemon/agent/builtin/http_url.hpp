// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>

namespace volary::builtin {

/// "http://host:port/path" in two parts: what http::Endpoint::parse takes, and the path ("/" when
/// there is none, without a trailing slash otherwise).
struct HttpUrl {
    std::string origin;
    std::string path;

    /// Throws Error{invalid} for anything that is not http.
    static HttpUrl parse(std::string_view url);
};

}  // namespace volary::builtin
