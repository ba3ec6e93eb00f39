// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/tls.hpp"

#include "base/error.hpp"
#include "cage/gatekeeper/address.hpp"

#include <algorithm>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace volary::cage {
namespace {

struct Free {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    void operator()(BIO_METHOD* method) const noexcept { BIO_meth_free(method); }
};

/// The stream below as OpenSSL sees it. Not its own socket BIO: that one would raise SIGPIPE, and
/// knows no TLS below TLS (a proxy that is itself spoken to by TLS).
struct Below {
    std::unique_ptr<Stream> stream;
    Stream::State waiting = Stream::State::failed;
};

int settle(BIO* bio, Below& below, Stream::Moved moved, int retry) {
    below.waiting = moved.state;
    if (moved.state == Stream::State::some) return static_cast<int>(moved.bytes);
    if (moved.state == Stream::State::end) return 0;
    if (moved.state != Stream::State::failed) BIO_set_flags(bio, retry | BIO_FLAGS_SHOULD_RETRY);
    return -1;
}

int bio_read(BIO* bio, char* into, int size) {
    auto& below = *static_cast<Below*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const auto moved = below.stream->read({into, static_cast<std::size_t>(std::max(size, 0))});
    return settle(bio, below, moved, BIO_FLAGS_READ);
}

int bio_write(BIO* bio, const char* from, int size) {
    auto& below = *static_cast<Below*>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const auto moved = below.stream->write({from, static_cast<std::size_t>(std::max(size, 0))});
    return settle(bio, below, moved, BIO_FLAGS_WRITE);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

/// The reason of the newest entry of OpenSSL's queue, which is emptied.
std::string last_problem() {
    const auto code = ERR_peek_last_error();
    ERR_clear_error();
    const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
    return reason == nullptr ? "the connection ended" : reason;
}

}  // namespace

struct TlsContext::Impl {
    std::unique_ptr<SSL_CTX, Free> context{SSL_CTX_new(TLS_client_method())};
    std::unique_ptr<BIO_METHOD, Free> method{
        BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream")
    };
};

TlsContext::TlsContext(const std::string& ca_file) : impl_(std::make_unique<Impl>()) {
    auto* context = impl_->context.get();
    auto* method = impl_->method.get();
    if (context == nullptr || method == nullptr) throw Error(Errc::internal, "OpenSSL: no context");
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(
        context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                     SSL_MODE_RELEASE_BUFFERS
    );
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    constexpr unsigned char kProtocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};
    SSL_CTX_set_alpn_protos(context, kProtocols, sizeof kProtocols);
    SSL_CTX_set_default_verify_paths(context);
    if (!ca_file.empty() && SSL_CTX_load_verify_file(context, ca_file.c_str()) != 1)
        throw Error(Errc::invalid, "read certificates of \"" + ca_file + "\": " + last_problem());
    ERR_clear_error();
}

TlsContext::~TlsContext() = default;

struct TlsStream::Impl {
    Below below;
    std::unique_ptr<SSL, Free> ssl;
    bool shaken = false;
};

TlsStream::TlsStream(
    const TlsContext& context, std::unique_ptr<Stream> below, const std::string& name
)
    : impl_(std::make_unique<Impl>()) {
    impl_->below.stream = std::move(below);
    impl_->ssl.reset(SSL_new(context.impl_->context.get()));
    auto* ssl = impl_->ssl.get();
    auto* bio = BIO_new(context.impl_->method.get());
    if (ssl == nullptr || bio == nullptr) throw Error(Errc::internal, "OpenSSL: no connection");
    BIO_set_data(bio, &impl_->below);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    auto* parameters = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const bool numeric = parse_address(name).has_value();  // a proxy may be given as an address
    const int named = numeric ? X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str())
                              : SSL_set1_host(ssl, name.c_str());
    if (named != 1) throw Error(Errc::invalid, "OpenSSL: \"" + name + "\" is no server name");
    if (!numeric) SSL_set_tlsext_host_name(ssl, name.c_str());
    SSL_set_connect_state(ssl);
}

TlsStream::~TlsStream() = default;

Stream::Moved TlsStream::outcome(int result) {
    const int error = SSL_get_error(impl_->ssl.get(), result);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        ERR_clear_error();
        // What the bottom waits for: TLS below TLS may have to write before it can read.
        const bool stalled =
            impl_->below.waiting == State::wait_read || impl_->below.waiting == State::wait_write;
        const auto wanted = error == SSL_ERROR_WANT_READ ? State::wait_read : State::wait_write;
        return {stalled ? impl_->below.waiting : wanted, 0};
    }
    if (error == SSL_ERROR_ZERO_RETURN) return {State::end, 0};
    const auto verdict = SSL_get_verify_result(impl_->ssl.get());
    problem_ = last_problem();
    if (verdict != X509_V_OK) problem_ = X509_verify_cert_error_string(verdict);
    return {State::failed, 0};
}

Stream::Moved TlsStream::handshake() {
    ERR_clear_error();
    const int result = SSL_do_handshake(impl_->ssl.get());
    if (result != 1) return outcome(result);
    impl_->shaken = true;
    return {State::some, 0};
}

Stream::Moved TlsStream::read(std::span<char> into) {
    ERR_clear_error();
    std::size_t got = 0;
    const int result = SSL_read_ex(impl_->ssl.get(), into.data(), into.size(), &got);
    if (result == 1) return {State::some, got};
    return outcome(result);
}

Stream::Moved TlsStream::write(std::string_view bytes) {
    // Belt and braces: a write would otherwise run the handshake on its own.
    if (!impl_->shaken) return {State::failed, 0};
    ERR_clear_error();
    std::size_t put = 0;
    const int result = SSL_write_ex(impl_->ssl.get(), bytes.data(), bytes.size(), &put);
    if (result == 1) return {State::some, put};
    return outcome(result);
}

void TlsStream::finish() {
    ERR_clear_error();
    if (impl_->shaken) (void)SSL_shutdown(impl_->ssl.get());
    ERR_clear_error();
}

}  // namespace volary::cage
