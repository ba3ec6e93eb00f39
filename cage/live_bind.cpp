// SPDX-License-Identifier: Apache-2.0
#include "base/error.hpp"
#include "cage/cage.hpp"

#include <fmt/format.h>

namespace volary::cage {

asio::awaitable<void> Cage::add_bind(FsRule rule) {
    throw Error(
        Errc::unavailable, fmt::format("bind \"{}\": possible at the next start", rule.source)
    );
    co_return;
}

}  // namespace volary::cage
