// SPDX-License-Identifier: Apache-2.0
#include "daemon/agent/builtin/live_output.hpp"

#include "base/bytes.hpp"

#include <utility>

namespace volary::builtin {

void LiveOutput::add(std::string_view bytes) {
    if (!show_ || taken_ == kMost) return;
    const auto part = bytes.substr(0, kMost - taken_);
    taken_ += part.size();
    waiting_.append(part);
    if (taken_ == kMost) waiting_.append("\n[... the rest is not shown live ...]\n");
    if (waiting_.size() >= kPiece)
        show_whole_characters();
    else
        arm();
}

void LiveOutput::arm() {
    if (armed_) return;
    armed_ = true;
    timer_.expires_after(kLongest);
    auto due = [self = weak_from_this()](const boost::system::error_code& error) {
        const auto alive = self.lock();
        if (error || !alive) return;
        alive->armed_ = false;
        alive->show_whole_characters();
    };
    timer_.async_wait(std::move(due));
}

void LiveOutput::show_whole_characters() {
    if (!show_) return;
    const auto size = waiting_.size() - utf8_unfinished_tail(waiting_);
    if (size == 0) return;
    const auto piece = to_valid_utf8(std::string_view(waiting_).substr(0, size));
    waiting_.erase(0, size);
    show_(piece);
}

void LiveOutput::finish() {
    timer_.cancel();
    const auto show = std::exchange(show_, nullptr);
    if (show && !waiting_.empty()) show(to_valid_utf8(std::exchange(waiting_, {})));
}

}  // namespace volary::builtin
