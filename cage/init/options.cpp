// SPDX-License-Identifier: Apache-2.0
#include "cage/init/options.hpp"

#include <cstdlib>
#include <cstring>
#include <string_view>

namespace volary::cage {
namespace {

bool to_number(const char* text, std::uint64_t& out) {
    char* end = nullptr;
    out = std::strtoull(text, &end, 10);
    return end != text && *end == '\0' && *text != '-';
}

/// Descriptors that come with --first.
bool take_descriptor(std::string_view name, int number, InitOptions& out) {
    if (name == "--first") return out.lifeline = number, true;
    if (name == "--in") return out.stdio[0] = number, true;
    if (name == "--out") return out.stdio[1] = number, true;
    if (name == "--err") return out.stdio[2] = number, true;
    if (name == "--outer") return out.outer = number, true;
    if (name == "--environment") return out.environment = number, true;
    if (name == "--cgroup") return out.cgroups.push_back(number), true;
    return false;
}

bool take(std::string_view name, char* value, InitOptions& out) {
    std::uint64_t number = 0;
    if (name == "--folder") return out.folder = value, true;
    if (name == "--writable") return out.writable.emplace_back(value), true;
    if (name == "--sealed") return out.sealed.emplace_back(value), true;
    if (name == "--mounted") return out.mounted.emplace_back(value), true;
    if (name == "--landlock") {
        out.landlock = std::strcmp(value, "off") != 0;
        return out.landlock ? std::strcmp(value, "auto") == 0 : true;
    }
    if (!to_number(value, number)) return false;
    if (name == "--sync") return out.sync = static_cast<int>(number), true;
    if (name == "--signals") return out.signals = static_cast<int>(number), true;
    if (name == "--seccomp") return out.seccomp = static_cast<int>(number), true;
    if (name == "--listener") return out.listener = number != 0, number <= 1;
    if (name == "--files") return out.files = number, true;
    if (name == "--processes") return out.processes = number, true;
    if (name == "--data") return out.data = number, true;
    return take_descriptor(name, static_cast<int>(number), out);
}

}  // namespace

bool parse_init_options(int argc, char** argv, InitOptions& out, std::string& problem) {
    int at = 1;
    for (; at < argc && std::strcmp(argv[at], "--") != 0; at += 2) {
        problem = argv[at];
        if (at + 1 >= argc || !take(argv[at], argv[at + 1], out)) return false;
    }
    problem = "no command after --";
    for (++at; at < argc; ++at) out.command.push_back(argv[at]);
    if (out.command.empty()) return false;
    out.command.push_back(nullptr);
    problem = "--sync is missing";
    return out.sync >= 0;
}

}  // namespace volary::cage
