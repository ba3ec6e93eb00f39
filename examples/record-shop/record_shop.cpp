// SPDX-License-Identifier: Apache-2.0
// record-shop: the two services of the demo on the host's loopback. The shop lists new releases,
// the deploy target takes deployments. POSIX only, one poll loop, no state on disk.
#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <netinet/in.h>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace {

// The demo opens a handful; more than this is a mistake, and the newest is turned away.
constexpr std::size_t kMaxConnections = 64;
// A request head and a deployment's JSON are a few hundred bytes.
constexpr std::size_t kMaxRequest = 16 * 1024;
// Deployments shown by /status.
constexpr std::size_t kMaxDeployments = 100;

constexpr std::string_view kReleases = R"({
  "shop": "Needle & Groove",
  "releases": [
    {"artist": "Glass Harbor", "title": "Tides at Noon", "label": "Slow Lantern",
     "url": "/releases/tides-at-noon", "slug": "tides-at-noon", "date": "2026-11-20", "tracks": 9},
    {"artist": "Mira Okonkwo", "title": "Paper Satellites", "label": "Understory",
     "url": "/releases/paper-satellites", "slug": "paper-satellites", "date": "2026-11-13",
     "tracks": 11},
    {"artist": "The Lower Fields", "title": "Winter Ledger", "label": "Slow Lantern",
     "url": "/releases/winter-ledger", "slug": "winter-ledger", "date": "2026-11-06", "tracks": 7}
  ]
}
)";

struct Connection {
    int fd = -1;
    bool deploy_port = false;
    bool answered = false;  ///< the answer is complete in `output`
    std::string input;
    std::string output;
};

struct Server {
    int shop = -1;
    int deploy = -1;
    std::vector<Connection> connections;
    std::vector<std::string> deployments;
};

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "record-shop: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

/// A listening socket on 127.0.0.1; port 0 picks a free one.
int listen_on(std::uint16_t port) {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) fail("socket");
    const int on = 1;
    (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
        const auto what = "bind 127.0.0.1:" + std::to_string(port);
        fail(what.c_str());
    }
    if (::listen(fd, 16) != 0) fail("listen");
    return fd;
}

unsigned bound_port(int fd) {
    sockaddr_in address{};
    socklen_t size = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) fail("getsockname");
    return ntohs(address.sin_port);
}

std::string answer(int status, std::string_view type, std::string_view body) {
    std::string text = "HTTP/1.1 " + std::to_string(status);
    text += status == 200 ? " OK" : status == 201 ? " Created" : " Not Found";
    text += "\r\nContent-Type: " + std::string(type);
    text += "\r\nContent-Length: " + std::to_string(body.size());
    text += "\r\nConnection: close\r\n\r\n";
    return text + std::string(body);
}

std::string shop_answer(std::string_view line) {
    if (line.starts_with("GET /releases.json ")) return answer(200, "application/json", kReleases);
    if (line.starts_with("GET / "))
        return answer(200, "text/html", "<title>Needle &amp; Groove</title><h1>New records</h1>\n");
    return answer(404, "text/plain", "no such page\n");
}

std::string deploy_answer(Server& server, std::string_view line, std::string_view body) {
    if (line.starts_with("GET /status ")) {
        std::string list;
        for (const auto& each : server.deployments) list += (list.empty() ? "" : ",") + each;
        return answer(200, "application/json", "{\"ready\":true,\"deployments\":[" + list + "]}\n");
    }
    if (line.starts_with("POST /deployments ")) {
        // The body is kept as it came; only what looks like an object is taken.
        if (body.size() < 2 || body.front() != '{' || body.back() != '}')
            return answer(404, "text/plain", "expected a JSON object\n");
        if (server.deployments.size() == kMaxDeployments)
            server.deployments.erase(server.deployments.begin());
        server.deployments.emplace_back(body);
        const auto id = std::to_string(server.deployments.size());
        return answer(201, "application/json", "{\"deployment\":" + id + "}\n");
    }
    return answer(404, "text/plain", "no such page\n");
}

/// Length of the body that the head announces; 0 when it announces none.
std::size_t body_length(std::string_view head) {
    constexpr std::string_view kName = "\r\ncontent-length:";
    std::string lower(head);
    for (auto& c : lower) c = (c >= 'A' && c <= 'Z') ? static_cast<char>(c - 'A' + 'a') : c;
    auto at = lower.find(kName);
    if (at == std::string::npos) return 0;
    at = lower.find_first_not_of(' ', at + kName.size());
    if (at == std::string::npos) return 0;
    std::size_t length = 0;
    std::from_chars(lower.data() + at, lower.data() + lower.size(), length);
    return length;
}

/// Answers once the whole request is there.
void advance(Server& server, Connection& peer) {
    const auto end = peer.input.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string_view head(peer.input.data(), end);
    const auto length = body_length(head);
    const auto body = std::string_view(peer.input).substr(end + 4);
    if (length > kMaxRequest || body.size() < length) return;
    const auto line = head.substr(0, head.find("\r\n"));
    peer.output =
        peer.deploy_port ? deploy_answer(server, line, body.substr(0, length)) : shop_answer(line);
    peer.answered = true;
    std::printf(
        "%s %.*s\n", peer.deploy_port ? "deploy" : "shop", static_cast<int>(line.size()),
        line.data()
    );
}

/// False when the connection is over.
bool serve(Server& server, Connection& peer, short events) {
    if (peer.answered) {
        const auto n = ::send(peer.fd, peer.output.data(), peer.output.size(), MSG_NOSIGNAL);
        if (n < 0) return errno == EAGAIN;
        peer.output.erase(0, static_cast<std::size_t>(n));
        return !peer.output.empty();
    }
    if ((events & (POLLIN | POLLHUP | POLLERR)) == 0) return true;
    std::array<char, 4096> buffer{};
    const auto n = ::recv(peer.fd, buffer.data(), buffer.size(), 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return false;
    peer.input.append(buffer.data(), static_cast<std::size_t>(n));
    if (peer.input.size() > kMaxRequest) return false;
    advance(server, peer);
    return true;
}

void accept_on(Server& server, int listener) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0) return;
    if (server.connections.size() == kMaxConnections) {
        ::close(fd);
        return;
    }
    auto& peer = server.connections.emplace_back();
    peer.fd = fd;
    peer.deploy_port = listener == server.deploy;
}

void run(Server& server) {
    for (;;) {
        std::vector<pollfd> polled{{server.shop, POLLIN, 0}, {server.deploy, POLLIN, 0}};
        for (const auto& peer : server.connections) {
            const short wanted = peer.answered ? POLLOUT : POLLIN;
            polled.push_back({peer.fd, wanted, 0});
        }
        if (::poll(polled.data(), polled.size(), -1) < 0) {
            if (errno == EINTR) continue;
            fail("poll");
        }
        // Newest first, so that erasing one leaves the indices below it right.
        for (auto i = server.connections.size(); i-- > 0;) {
            const auto events = polled[i + 2].revents;
            if (events == 0 || serve(server, server.connections[i], events)) continue;
            ::close(server.connections[i].fd);
            server.connections.erase(server.connections.begin() + static_cast<std::ptrdiff_t>(i));
        }
        if (polled[0].revents != 0) accept_on(server, server.shop);
        if (polled[1].revents != 0) accept_on(server, server.deploy);
    }
}

std::optional<std::uint16_t> parse_port(std::string_view text) {
    std::uint16_t port = 0;
    const auto end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, port);
    if (error != std::errc{} || at != end) return std::nullopt;
    return port;
}

}  // namespace

int main(int argc, char** argv) {
    std::optional<std::uint16_t> shop, deploy;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (std::string_view(argv[i]) == "--shop") shop = parse_port(argv[i + 1]);
        if (std::string_view(argv[i]) == "--deploy") deploy = parse_port(argv[i + 1]);
    }
    if (argc != 5 || !shop || !deploy) {
        std::fputs("usage: record-shop --shop PORT --deploy PORT (0 picks a free one)\n", stderr);
        return 2;
    }
    ::signal(SIGPIPE, SIG_IGN);
    ::setvbuf(stdout, nullptr, _IOLBF, 0);
    Server server;
    server.shop = listen_on(*shop);
    server.deploy = listen_on(*deploy);
    std::printf("ready shop=%u deploy=%u\n", bound_port(server.shop), bound_port(server.deploy));
    run(server);
}
