// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/unique_fd.hpp"

#include <memory>
#include <string>
#include <vector>

namespace volary::cage::test {

/// What the server shows, and who vouches for it.
enum class Certificate {
    good,         ///< for the name, signed by the test's own root
    wildcard,     ///< the same, for "*.<the name's domain>"
    wrong_name,   ///< signed, but for somebody else
    expired,      ///< ended an hour ago
    self_signed,  ///< for the name, by nobody
    other_root    ///< for the name, signed by a root that nobody trusts
};

/// A TLS server on loopback with a thread of its own: answers each request head and keeps what it
/// was sent. A request for "/bulk" is answered with kBulk bytes, one with "Upgrade:" by a switch to
/// an echo. Ends with the object.
class TlsServer {
public:
    static constexpr std::size_t kBulk = 3'000'000;

    TlsServer(const std::string& name, Certificate certificate);
    ~TlsServer();
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;

    std::uint16_t port() const;
    /// Path of a file with the root that signed `good`, PEM.
    const std::string& ca_file() const;
    /// Everything that was decrypted so far.
    std::string received() const;
    /// The protocol that ALPN asked for, once somebody connected.
    std::string protocol() const;

private:
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::cage::test
