// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cage/gatekeeper/stream.hpp"

#include <memory>
#include <string>

namespace volary::cage {

class TlsContext;

/// The client's side of one TLS connection over another stream. The peer's certificate must be
/// valid now, lead to a trusted root and name `name`; nothing is sent before that was seen.
class TlsStream final : public Stream {
public:
    TlsStream(const TlsContext& context, std::unique_ptr<Stream> below, const std::string& name);
    ~TlsStream() override;
    TlsStream(const TlsStream&) = delete;
    TlsStream& operator=(const TlsStream&) = delete;

    /// Goes on with the handshake: `some` when it is done.
    Moved handshake();
    Moved read(std::span<char> into) override;
    Moved write(std::string_view bytes) override;
    void finish() override;
    bool plain() const noexcept override { return false; }

    /// Why the handshake failed, e.g. "certificate has expired"; never bytes of the connection.
    const std::string& problem() const noexcept { return problem_; }

private:
    struct Impl;
    Moved outcome(int result);
    std::unique_ptr<Impl> impl_;
    std::string problem_;
};

/// What all TLS connections outward share: trusted roots (the system's and the operator's file),
/// TLS 1.2 or newer, no renegotiation, no compression, ALPN http/1.1. Reads the roots once, about
/// 20 ms.
class TlsContext {
public:
    /// `ca_file`: more trusted roots, PEM; empty: none. Throws Error{invalid} naming it when it
    /// cannot be read.
    explicit TlsContext(const std::string& ca_file);
    ~TlsContext();
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

private:
    friend class TlsStream;
    struct Impl;
    std::unique_ptr<Impl> impl_;
};

}  // namespace volary::cage
