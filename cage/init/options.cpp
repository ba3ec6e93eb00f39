// SPDX-License-Identifier: Apache-2.0
#include "cage/init/options.hpp"

#include <cstdlib>
#include <cstring>
#include <string_view>
#include <sys/stat.h>
#include <unistd.h>

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
    if (name == "--held") return out.held = number, true;
    if (name == "--environment") return out.environment = number, true;
    if (name == "--cgroup") return out.cgroups.push_back(number), true;
    return false;
}

bool take(std::string_view name, char* value, InitOptions& out) {
    std::uint64_t number = 0;
    if (name == "--folder") return out.folder = value, true;
    if (name == "--readable") return out.readable.emplace_back(value), true;
    if (name == "--same") return out.same.emplace_back(out.held, value), out.held >= 0;
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

/// argv[0], then pointers into `text`.
bool read_words(const char* number, std::string& text, std::vector<char*>& words) {
    std::uint64_t file = 0;
    struct stat info{};
    if (!to_number(number, file) || ::fstat(static_cast<int>(file), &info) < 0) return false;
    text.resize(static_cast<std::size_t>(info.st_size));
    if (::pread(static_cast<int>(file), text.data(), text.size(), 0) != info.st_size) return false;
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\0', at);
        if (end == std::string::npos) return false;
        words.push_back(text.data() + at);
        at = end + 1;
    }
    return true;
}

bool parse(int argc, char** argv, InitOptions& out, std::string& problem) {
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

}  // namespace

bool parse_init_options(int argc, char** argv, InitOptions& out, std::string& problem) {
    if (argc != 3 || std::strcmp(argv[1], "--words") != 0) return parse(argc, argv, out, problem);
    std::vector<char*> words{argv[0]};
    problem = "--words";
    if (!read_words(argv[2], out.words, words)) return false;
    return parse(static_cast<int>(words.size()), words.data(), out, problem);
}

}  // namespace volary::cage
