// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/wal.hpp"

#include "base/error.hpp"
#include "daemon/store/page.hpp"

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <map>
#include <optional>
#include <string_view>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

constexpr std::size_t kHead = 32;
constexpr std::size_t kFrameHead = 24;
constexpr std::size_t kFrame = kFrameHead + kPageSize;
constexpr std::uint32_t kLittleEndian = 0x377f'0682;
constexpr std::uint32_t kBigEndian = 0x377f'0683;

std::uint32_t number_at(std::string_view bytes, std::size_t at, bool big = true) {
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < 4; ++i)
        value = value << 8U | static_cast<unsigned char>(bytes[at + (big ? i : 3 - i)]);
    return value;
}

struct Sum {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    bool operator==(const Sum&) const = default;
};

Sum sum_at(std::string_view bytes, std::size_t at) {
    return {number_at(bytes, at), number_at(bytes, at + 4)};
}

/// "Checksum Algorithm" of the format.
Sum sum_of(Sum sum, std::string_view bytes, bool big) {
    for (std::size_t at = 0; at + 8 <= bytes.size(); at += 8) {
        sum.a += number_at(bytes, at, big) + sum.b;
        sum.b += number_at(bytes, at + 4, big) + sum.a;
    }
    return sum;
}

std::string read_at(
    const UniqueFd& fd, std::uint64_t at, std::size_t size, const std::string& path
) {
    std::string out(size, '\0');
    const auto got = ::pread(fd.get(), out.data(), size, static_cast<off_t>(at));
    if (got < 0) throw_errno("read", path);
    out.resize(static_cast<std::size_t>(got));
    return out;
}

class Reader {
public:
    Reader(const UniqueFd& fd, const std::string& path) : fd_(fd), path_(path) {}

    WalReading read() {
        const auto head = read_at(fd_, 0, kHead, path_);
        // Made and not begun, or emptied.
        if (head.size() < kHead) return std::move(out_);
        const auto magic = number_at(head, 0);
        big_ = magic == kBigEndian;
        const auto sum = sum_of({}, std::string_view(head).substr(0, 24), big_);
        headless_ = (magic != kLittleEndian && !big_) || sum != sum_at(head, 24) ||
                    number_at(head, 8) != kPageSize;
        if (!headless_) salt_ = sum_at(head, 16);
        read_frames(sum);
        return std::move(out_);
    }
    bool is_headless() const noexcept { return headless_; }

private:
    void read_frames(Sum sum) {
        for (std::uint64_t at = kHead;; at += kFrame) {
            const auto frame = read_at(fd_, at, kFrame, path_);
            if (frame.size() < kFrame) break;
            take(frame, at, sum);
        }
        // One commit behind the break may be one that was being written when the power went, or
        // that failed; two that follow each other were synced.
        if (most_commits_ > 1 && out_.problem.empty())
            out_.problem = fmt::format(
                "page {} of \"{}\" is damaged, and {} commits follow it", break_at_, path_,
                most_commits_
            );
        for (std::size_t i = committed_; i < out_.frames.size(); ++i)
            out_.frames[i].is_committed = false;
    }

    void take(std::string_view frame, std::uint64_t at, Sum& sum) {
        const auto page = number_at(frame, 0);
        const auto pages = number_at(frame, 4);
        // Without a head, the first page says which life of the log this is.
        const bool is_guessed = !salt_;
        if (is_guessed) salt_ = sum_at(frame, 8);
        const bool of_this_life = sum_at(frame, 8) == *salt_;
        sum = sum_of(sum, frame.substr(0, 8), big_);
        sum = sum_of(sum, frame.substr(kFrameHead), big_);
        const auto stored = sum_at(frame, 16);
        const bool holds = of_this_life && page != 0 && (is_guessed || sum == stored);
        if (!broken_ && !holds) {
            broken_ = true;
            break_at_ = (at - kHead) / kFrame + 1;
        }
        // Each frame goes on from the sum that stands in the one before it.
        sum = stored;
        if (!holds) commits_behind_ = 0;
        if (page == 0 || !of_this_life) return;
        out_.frames.push_back({page, at + kFrameHead, !broken_, holds && pages != 0});
        if (pages == 0) return;
        if (broken_) {
            if (holds) most_commits_ = std::max(most_commits_, ++commits_behind_);
            return;
        }
        committed_ = out_.frames.size();
        out_.pages = pages;
    }

    const UniqueFd& fd_;
    const std::string& path_;
    WalReading out_;
    bool big_ = false;
    bool headless_ = false;
    std::optional<Sum> salt_;  ///< of this life of the log; absent: nobody knows
    bool broken_ = false;
    std::uint64_t break_at_ = 0;
    std::uint64_t commits_behind_ = 0;  ///< the break, each following from the one before
    std::uint64_t most_commits_ = 0;
    std::size_t committed_ = 0;  ///< frames up to the last commit
};

/// True when the newest committed copy of every page is what the database has.
bool is_folded_in(const UniqueFd& log, const WalReading& wal, const std::string& database) {
    const UniqueFd file(::open(database.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return false;
    std::size_t end = 0;
    for (std::size_t i = 0; i < wal.frames.size(); ++i)
        if (wal.frames[i].ends_commit) end = i + 1;
    std::map<std::uint32_t, std::uint64_t> newest;
    for (std::size_t i = 0; i < end; ++i) newest[wal.frames[i].page] = wal.frames[i].at;
    return std::ranges::all_of(newest, [&](const auto& one) {
        const auto at = (std::uint64_t{one.first} - 1) * kPageSize;
        return read_at(log, one.second, kPageSize, database + "-wal") ==
               read_at(file, at, kPageSize, database);
    });
}

}  // namespace

WalReading read_wal(const std::string& database) {
    const auto path = database + "-wal";
    const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd && errno == ENOENT) return {};
    if (!fd) throw_errno("open", path);
    Reader reader(fd, path);
    auto wal = reader.read();
    if (!reader.is_headless()) return wal;
    wal.problem.clear();
    wal.pages = 0;
    if (!is_folded_in(fd, wal, database))
        wal.problem = fmt::format("the head of \"{}\" is damaged", path);
    // SQLite takes none of it.
    for (auto& frame : wal.frames) frame.is_committed = false;
    return wal;
}

}  // namespace volary::store
