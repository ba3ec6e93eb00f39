// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/agent/builtin/clients.hpp"

#include <chrono>
#include <string>

namespace volary::builtin {

/// The `shell` tool: runs `/bin/sh -c COMMAND` in the session's folder and answers with the JSON
/// text {"exit_code","stdout","stderr"}, and "timed_out": true when it was cut off.
///
/// The command has an own process group, which is killed when the command ends, runs out of time
/// or is cancelled: nothing of it stays behind in the background.
class ShellTool final : public ToolClient {
public:
    static constexpr const char* kName = "shell";
    /// Kept of stdout and of stderr each: the first half and the last half; what lies between
    /// is replaced by a line that says how much.
    static constexpr std::size_t kKeptBytes = std::size_t{128} << 10U;
    static constexpr std::chrono::seconds kDefaultTimeout{120};
    static constexpr std::chrono::seconds kMaxTimeout{3600};

    explicit ShellTool(std::string folder) : folder_(std::move(folder)) {}

    asio::awaitable<std::vector<ToolSpec>> list() override;
    asio::awaitable<ToolOutcome> call(std::string name, std::string input, OnOutput on_output)
        override;

private:
    std::string folder_;
};

/// Keeps the start and the end of a stream that may be endless. Pure.
class CappedText {
public:
    explicit CappedText(std::size_t kept) : half_(kept / 2) {}
    void add(std::string_view bytes);
    /// Valid UTF-8, with "[... N bytes cut ...]" where something is missing.
    std::string text() const;

private:
    std::size_t half_;
    std::string head_;
    std::string tail_;
    std::size_t cut_ = 0;
};

}  // namespace volary::builtin
