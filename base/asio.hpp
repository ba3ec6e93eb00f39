// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace volary {

namespace asio = boost::asio;

/// Completion token for awaits whose failure is an expected outcome (peer gone, cancelled):
/// gives a tuple whose first element is the error_code.
constexpr auto as_result = asio::as_tuple(asio::use_awaitable);

}  // namespace volary
