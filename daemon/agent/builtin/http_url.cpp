// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/http_url.hpp"

#include "base/error.hpp"

#include <fmt/format.h>

namespace volary::builtin {

HttpUrl HttpUrl::parse(std::string_view url) {
    constexpr std::string_view kScheme = "http://";
    if (!url.starts_with(kScheme) || url.size() == kScheme.size())
        throw Error(Errc::invalid, fmt::format("\"{}\" is no http:// address", url));
    const auto slash = url.find('/', kScheme.size());
    HttpUrl parts{std::string(url.substr(0, slash)), "/"};
    if (slash != std::string_view::npos) parts.path = url.substr(slash);
    while (parts.path.size() > 1 && parts.path.back() == '/') parts.path.pop_back();
    return parts;
}

}  // namespace volary::builtin
