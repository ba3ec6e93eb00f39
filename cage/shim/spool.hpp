// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace volary::cage {

/// The bytes of one stream that nobody has confirmed yet: [base, end), counted since the stream's
/// start. The newest are in memory, older ones in an unnamed file, at most `most` in all.
class Spool {
public:
    /// What stays in memory; a small part of what the shim may take (1.5 MB).
    static constexpr std::size_t kMemory = std::size_t{64} * 1024;

    Spool() = default;
    /// `folder` is where the file is made, once it is needed; it must stay open.
    Spool(int folder, std::uint64_t most) : folder_(folder), most_(most) {}

    std::uint64_t base() const noexcept { return base_; }
    std::uint64_t end() const noexcept { return memory_base_ + memory_.size(); }
    /// How many bytes more it takes. Without its file (no space, no folder) that is memory alone.
    std::uint64_t room() const noexcept;

    /// `bytes` must fit into room().
    void append(std::string_view bytes);

    /// Up to `most` bytes from `from` on, which is in [base, end]. Empty before the end: the file
    /// was cut, and next_whole() says where bytes are again.
    std::string read(std::uint64_t from, std::size_t most) const;
    std::uint64_t next_whole() const noexcept { return memory_base_; }

    /// Forgets what lies before `offset`.
    void forget(std::uint64_t offset);

private:
    bool spill();

    int folder_ = -1;
    std::uint64_t most_ = kMemory;
    std::uint64_t base_ = 0;
    std::uint64_t memory_base_ = 0;
    std::string memory_;
    UniqueFd file_;
    std::uint64_t origin_ = 0;   ///< offset of the file's first byte
    std::uint64_t punched_ = 0;  ///< bytes of the file whose space was given back
    bool failed_ = false;        ///< the file cannot be written
};

}  // namespace volary::cage
