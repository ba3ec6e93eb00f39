// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/agent.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

constexpr int kUsage = 2;

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--version") == 0) {
        std::puts("volary-agent " VOLARY_VERSION);
        return 0;
    }
    if (argc > 1) {
        std::fputs(
            "usage: volary-agent [--version]\n"
            "Speaks the Agent Client Protocol on standard input and output.\n",
            stderr
        );
        return kUsage;
    }
    const char* home = std::getenv("HOME");
    return volary::builtin::run_agent(
        std::string(home != nullptr && *home != '\0' ? home : "/tmp") + "/.volary-agent"
    );
}
