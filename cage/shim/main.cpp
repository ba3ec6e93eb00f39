// SPDX-License-Identifier: Apache-2.0
#include "base/unique_fd.hpp"
#include "cage/shim/shim.hpp"

#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

/// The daemon gives the control socket this number.
constexpr int kControl = 3;

bool is_control_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1 && std::strcmp(argv[1], "--version") == 0) {
        std::puts("volary-shim " VOLARY_VERSION);
        return 0;
    }
    if (!is_control_socket(kControl)) {
        std::fputs(
            "volary-shim: started by volary, with its control socket as descriptor 3\n", stderr
        );
        return 2;
    }
    ::signal(SIGPIPE, SIG_IGN);
    (void)::fcntl(kControl, F_SETFD, FD_CLOEXEC);
    using volary::cage::Shim;
    const bool on_host = argc > 1 && std::strcmp(argv[1], "--on-host") == 0;
    const auto place = on_host ? Shim::Place::host : Shim::Place::namespaces;
    return Shim(volary::UniqueFd(kControl), place).run();
}
