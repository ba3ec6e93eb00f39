// SPDX-License-Identifier: Apache-2.0
// The one place where Asio's sources are compiled (BOOST_ASIO_SEPARATE_COMPILATION).
#include <boost/asio/impl/src.hpp>
