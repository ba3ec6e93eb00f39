// SPDX-License-Identifier: Apache-2.0
#include "base/secret.hpp"

#include "base/bytes.hpp"

#include <cstring>

namespace volary {

Secret& Secret::operator=(Secret&& other) noexcept {
    if (this != &other) {
        wipe();
        value_ = std::move(other.value_);
        other.wipe();
    }
    return *this;
}

bool Secret::matches(const std::string& candidate) const noexcept {
    return equal_constant_time(value_, candidate);
}

void Secret::wipe() noexcept {
    // The whole capacity: a short string's bytes live in the object itself.
    ::explicit_bzero(value_.data(), value_.capacity());
    value_.clear();
}

}  // namespace volary
