// SPDX-License-Identifier: Apache-2.0
#include "base/unique_fd.hpp"

#include <unistd.h>

namespace volary {

void UniqueFd::reset(int fd) noexcept {
    // EINTR is not retried: on Linux the descriptor is gone either way, and a retry
    // could close one that another thread has just been given.
    if (fd_ >= 0) ::close(fd_);
    fd_ = fd;
}

}  // namespace volary
