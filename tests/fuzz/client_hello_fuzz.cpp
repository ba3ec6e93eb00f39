// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/client_hello.hpp"

#include <algorithm>
#include <cstdlib>

using namespace volary::cage;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span bytes(data, size);
    ClientHelloParser whole;
    whole.feed(bytes);
    // However the bytes are cut, the verdict and the name must be the same.
    ClientHelloParser pieces;
    const std::size_t step = size > 0 ? 1 + data[size - 1] % 7U : 1;
    for (std::size_t at = 0; at < size; at += step)
        pieces.feed(bytes.subspan(at, std::min(step, size - at)));
    if (whole.state() != pieces.state()) std::abort();
    if (whole.server_name() != pieces.server_name()) std::abort();
    return 0;
}
