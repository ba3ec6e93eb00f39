// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/page.hpp"

#include "webui/assets.hpp"

namespace volary::app {
namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::optional<http::StaticFile> find(std::string_view path) {
    const auto* asset = webui::find_asset(path);
    // "/sessions/ses_..." is a place in the page; "/assets/gone.js" is a file that is not there.
    const bool is_place = path.find('.') == std::string_view::npos;
    if (asset == nullptr && is_place) asset = webui::find_asset("/");
    if (asset == nullptr) return std::nullopt;
    http::StaticFile file;
    file.content_type = asset->content_type;
    file.bytes = text_of(asset->identity);
    file.gzip = text_of(asset->gzip);
    file.etag = asset->etag;
    file.cache_control = asset->immutable ? "public, max-age=31536000, immutable" : "no-cache";
    return file;
}

}  // namespace

http::StaticFiles page_files() { return find; }

}  // namespace volary::app
