// SPDX-License-Identifier: Apache-2.0
#include "cage/shim/spool.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>

namespace volary::cage {
namespace {

/// Freed space is given back in steps of this many bytes.
constexpr std::uint64_t kPunch = std::uint64_t{1} << 20U;

}  // namespace

std::uint64_t Spool::room() const noexcept {
    const auto most = failed_ || folder_ < 0 ? std::min<std::uint64_t>(kMemory, most_) : most_;
    const auto held = end() - base_;
    const auto left = most > held ? most - held : 0;
    // Without its file the memory alone has to hold what comes next.
    return failed_ || folder_ < 0 ? std::min<std::uint64_t>(left, kMemory - memory_.size()) : left;
}

void Spool::append(std::string_view bytes) {
    if (memory_.size() + bytes.size() > kMemory) (void)spill();
    memory_.append(bytes);
}

bool Spool::spill() {
    if (folder_ < 0) return false;
    if (!file_) {
        // Unnamed: nobody else can open it, and it goes with us.
        file_.reset(::openat(folder_, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
        origin_ = memory_base_;
        punched_ = 0;
    }
    std::size_t done = 0;
    while (file_ && done < memory_.size()) {
        const auto at = static_cast<off_t>(memory_base_ + done - origin_);
        const auto put = ::pwrite(file_.get(), memory_.data() + done, memory_.size() - done, at);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) break;
        done += static_cast<std::size_t>(put);
    }
    memory_base_ += done;
    memory_.erase(0, done);
    failed_ = !memory_.empty();
    return !failed_;
}

std::string Spool::read(std::uint64_t from, std::size_t most) const {
    if (from >= memory_base_)
        return memory_.substr(std::min<std::uint64_t>(from - memory_base_, memory_.size()), most);
    std::string out(std::min<std::uint64_t>(most, memory_base_ - from), '\0');
    ssize_t got = 0;
    do got = ::pread(file_.get(), out.data(), out.size(), static_cast<off_t>(from - origin_));
    while (got < 0 && errno == EINTR);
    out.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    return out;
}

void Spool::forget(std::uint64_t offset) {
    base_ = std::clamp(offset, base_, end());
    if (base_ >= memory_base_) {
        memory_.erase(0, base_ - memory_base_);
        memory_base_ = base_;
        file_.reset();
        failed_ = false;
        if (memory_.empty()) memory_.shrink_to_fit();
        return;
    }
    const auto done = base_ - origin_;
    if (done - punched_ < kPunch) return;
    (void)::fallocate(
        file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(punched_),
        static_cast<off_t>(done - punched_)
    );
    punched_ = done;
}

}  // namespace volary::cage
