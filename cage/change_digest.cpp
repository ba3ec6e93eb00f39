// SPDX-License-Identifier: Apache-2.0
#include "cage/change_digest.hpp"

#include "cage/layer_tree.hpp"

#include <array>
#include <cstdint>
#include <sys/stat.h>

#include <sodium.h>

namespace volary::cage {
namespace {

class Hash {
public:
    Hash() noexcept { ::crypto_generichash_init(&state_, nullptr, 0, kBytes); }

    void number(std::uint64_t value) noexcept {
        std::array<unsigned char, sizeof value> bytes{};
        for (auto& byte : bytes) {
            byte = static_cast<unsigned char>(value & 0xffU);
            value >>= 8U;
        }
        ::crypto_generichash_update(&state_, bytes.data(), bytes.size());
    }

    /// With its length, so that no two lists of texts are the same bytes.
    void text(std::string_view value) noexcept {
        number(value.size());
        const auto* bytes = reinterpret_cast<const unsigned char*>(value.data());
        ::crypto_generichash_update(&state_, bytes, value.size());
    }

    void time(const timespec& value) noexcept {
        number(static_cast<std::uint64_t>(value.tv_sec));
        number(static_cast<std::uint64_t>(value.tv_nsec));
    }

    std::string hex() noexcept {
        std::array<unsigned char, kBytes> digest{};
        ::crypto_generichash_final(&state_, digest.data(), digest.size());
        std::string out(2 * kBytes + 1, '\0');
        ::sodium_bin2hex(out.data(), out.size(), digest.data(), digest.size());
        out.resize(2 * kBytes);
        return out;
    }

private:
    static constexpr std::size_t kBytes = 20;
    crypto_generichash_state state_{};
};

void add_identity(Hash& hash, const struct stat& info) {
    hash.text("identity");
    hash.number(info.st_dev);
    hash.number(info.st_ino);
    hash.number(static_cast<std::uint64_t>(info.st_size));
    hash.time(info.st_mtim);
    hash.time(info.st_ctim);
}

void add_file(Hash& hash, int folder, const std::string& name, Whose whose) {
    const auto info = look(folder, name);
    const bool small = info && static_cast<std::uint64_t>(info->st_size) <= kMaxDiffed;
    // One byte more: it may have grown since.
    const auto content =
        small ? read_start(folder, name, kMaxDiffed + 1, whose) : std::optional<std::string>();
    if (content) return hash.text(*content);
    if (info) add_identity(hash, *info);
}

void add_side(Hash& hash, int folder, const std::string& name, Whose whose) {
    const auto info = look(folder, name);
    hash.number(info ? info->st_mode & S_IFMT : 0U);
    if (!info) return;
    if (S_ISREG(info->st_mode)) {
        hash.number(info->st_mode & 0777U);
        return add_file(hash, folder, name, whose);
    }
    if (S_ISLNK(info->st_mode)) return hash.text(link_text(folder, name));
    if (!S_ISDIR(info->st_mode)) return hash.number(info->st_rdev);
    // A folder of the host is here when it is to go: what came into it since must not go unseen.
    if (whose == Whose::host) hash.time(info->st_mtim);
    hash.number((info->st_mode & 0777U) | 0700U);
}

}  // namespace

std::string digest_of(const Change& change, int upper, int lower, const std::string& name) {
    Hash hash;
    hash.text(change.path);
    hash.text(to_string(change.kind));
    add_side(hash, change.kind == Change::Kind::deleted ? -1 : upper, name, Whose::layer);
    add_side(hash, lower, name, Whose::host);
    return hash.hex();
}

}  // namespace volary::cage
