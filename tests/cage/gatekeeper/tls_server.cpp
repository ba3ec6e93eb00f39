// SPDX-License-Identifier: Apache-2.0
#include "tests/cage/gatekeeper/tls_server.hpp"

#include "cage/gatekeeper/net_io.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <netinet/in.h>
#include <stdexcept>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace volary::cage::test {
namespace {

constexpr long kHour = 3600;

void require(bool fine, const char* what) {
    if (!fine) throw std::runtime_error(what);
}

EVP_PKEY* make_key() {
    auto* key = EVP_EC_gen("P-256");
    require(key != nullptr, "make a key");
    return key;
}

void add_extension(X509* certificate, int kind, const std::string& value) {
    auto* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    require(extension != nullptr, value.c_str());
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
}

struct Made {
    X509* certificate = nullptr;
    EVP_PKEY* key = nullptr;
    ~Made() {
        X509_free(certificate);
        EVP_PKEY_free(key);
    }
    Made() = default;
    Made(const Made&) = delete;
    Made& operator=(const Made&) = delete;
};

/// `issuer` null: signed by itself.
void make_certificate(Made& out, const std::string& name, const Made* issuer, long ends, bool ca) {
    out.key = make_key();
    out.certificate = X509_new();
    auto* made = out.certificate;
    X509_set_version(made, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(made), ca ? 1 : 2);
    X509_gmtime_adj(X509_getm_notBefore(made), -2 * kHour);
    X509_gmtime_adj(X509_getm_notAfter(made), ends);
    const auto* text = reinterpret_cast<const unsigned char*>(name.c_str());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8, text, -1, -1, 0);
    X509_set_issuer_name(
        made, X509_get_subject_name(issuer == nullptr ? made : issuer->certificate)
    );
    X509_set_pubkey(made, out.key);
    if (ca) add_extension(made, NID_basic_constraints, "critical,CA:TRUE");
    if (!ca) add_extension(made, NID_subject_alt_name, "DNS:" + name);
    auto* key = issuer == nullptr ? out.key : issuer->key;
    require(X509_sign(made, key, EVP_sha256()) > 0, "sign");
}

std::string write_ca(X509* certificate) {
    std::string path = "/tmp/volary-test-ca-XXXXXX";
    const UniqueFd fd(::mkstemp(path.data()));
    auto* file = ::fdopen(::dup(fd.get()), "w");
    require(file != nullptr, "write the root");
    PEM_write_X509(file, certificate);
    std::fclose(file);
    return path;
}

int choose(SSL*, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned length, void*) {
    if (length < 1) return SSL_TLSEXT_ERR_NOACK;
    *out = in + 1;
    *size = in[0];
    return SSL_TLSEXT_ERR_OK;
}

}  // namespace

struct TlsServer::Impl {
    Made root, leaf;
    std::string ca;
    SSL_CTX* context = nullptr;
    UniqueFd listener;
    std::uint16_t port = 0;
    mutable std::mutex mutex;
    std::string received, protocol;  // guarded by mutex
    std::thread thread;

    void serve();
    void talk(int socket);
    void answer(SSL* ssl, const std::string& head);
};

TlsServer::TlsServer(const std::string& name, Certificate certificate)
    : impl_(std::make_unique<Impl>()) {
    // OpenSSL's own socket writes raise it when the peer is gone, which is what some tests do.
    (void)std::signal(SIGPIPE, SIG_IGN);
    auto& impl = *impl_;
    Made untrusted;
    make_certificate(impl.root, "volary test root", nullptr, kHour, true);
    make_certificate(untrusted, "volary test root", nullptr, kHour, true);
    impl.ca = write_ca(impl.root.certificate);
    const Made* issuer = certificate == Certificate::other_root ? &untrusted : &impl.root;
    if (certificate == Certificate::self_signed) issuer = nullptr;
    auto shown = name;
    if (certificate == Certificate::wrong_name) shown = "elsewhere.example";
    if (certificate == Certificate::wildcard) shown = "*" + name.substr(name.find('.'));
    const long ends = certificate == Certificate::expired ? -kHour : kHour;
    make_certificate(impl.leaf, shown, issuer, ends, false);
    impl.context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate(impl.context, impl.leaf.certificate);
    SSL_CTX_use_PrivateKey(impl.context, impl.leaf.key);
    SSL_CTX_set_alpn_select_cb(impl.context, choose, nullptr);
    impl.listener.reset(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const auto* address = reinterpret_cast<sockaddr*>(&to);
    require(::bind(impl.listener.get(), address, sizeof to) == 0, "bind");
    require(::listen(impl.listener.get(), 16) == 0, "listen");
    impl.port = local_endpoint(impl.listener.get())->port;
    impl.thread = std::thread([&impl] { impl.serve(); });
}

TlsServer::~TlsServer() {
    (void)::shutdown(impl_->listener.get(), SHUT_RDWR);
    impl_->thread.join();
    SSL_CTX_free(impl_->context);
    ::unlink(impl_->ca.c_str());
}

void TlsServer::Impl::serve() {
    for (;;) {
        const UniqueFd socket(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!socket) return;
        // A peer that says nothing must not hold the test.
        const timeval patience{3, 0};
        (void)::setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        talk(socket.get());
    }
}

void TlsServer::Impl::talk(int socket) {
    auto* ssl = SSL_new(context);
    SSL_set_fd(ssl, socket);
    if (SSL_accept(ssl) == 1) {
        const unsigned char* chosen = nullptr;
        unsigned size = 0;
        SSL_get0_alpn_selected(ssl, &chosen, &size);
        {
            const std::lock_guard lock(mutex);
            protocol.assign(reinterpret_cast<const char*>(chosen), size);
        }
        std::string pending;
        bool echo = false;
        char buffer[4096];
        for (int got = 0; (got = SSL_read(ssl, buffer, sizeof buffer)) > 0;) {
            const std::string text(buffer, static_cast<std::size_t>(got));
            {
                const std::lock_guard lock(mutex);
                received += text;
            }
            if (echo) SSL_write(ssl, text.data(), got);
            pending += text;
            for (auto end = pending.find("\r\n\r\n"); !echo && end != std::string::npos;
                 end = pending.find("\r\n\r\n")) {
                const auto head = pending.substr(0, end + 4);
                pending.erase(0, end + 4);
                echo = head.find("Upgrade:") != std::string::npos;
                answer(ssl, head);
            }
        }
        SSL_shutdown(ssl);
    }
    SSL_free(ssl);
}

void TlsServer::Impl::answer(SSL* ssl, const std::string& head) {
    std::string text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    if (head.find("Upgrade:") != std::string::npos)
        text = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
    if (head.starts_with("GET /bulk")) {
        text = "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(kBulk) + "\r\n\r\n" +
               std::string(kBulk, 'b');
    }
    SSL_write(ssl, text.data(), static_cast<int>(text.size()));
}

std::uint16_t TlsServer::port() const { return impl_->port; }

const std::string& TlsServer::ca_file() const { return impl_->ca; }

std::string TlsServer::received() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->received;
}

std::string TlsServer::protocol() const {
    const std::lock_guard lock(impl_->mutex);
    return impl_->protocol;
}

}  // namespace volary::cage::test
