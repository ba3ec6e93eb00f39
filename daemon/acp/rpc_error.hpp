// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

namespace volary::acp {

/// The line that answers request `id` with what its handler threw.
std::string error_answer(const std::string& id, const std::exception_ptr& error);

}  // namespace volary::acp
