// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/transport.hpp"

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>

namespace volary::acp {
namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10U;  // what a pipe holds by default

class FdTransport final : public Transport {
public:
    FdTransport(const asio::any_io_executor& executor, UniqueFd in, UniqueFd out)
        : in_(executor, in.release()), out_(executor, out.release()) {}

    asio::awaitable<std::optional<Received>> read() override {
        const auto [error, size] = co_await in_.async_read_some(asio::buffer(buffer_), as_result);
        if (error) co_return std::nullopt;
        end_ += size;
        co_return Received{buffer_.substr(0, size), end_};
    }

    asio::awaitable<std::string> write(std::deque<OutLine> lines) override {
        std::string all;
        for (const auto& line : lines) all += line.text;
        const auto [error, size] = co_await asio::async_write(out_, asio::buffer(all), as_result);
        co_return error ? error.message() : std::string();
    }

    void stop() override {
        boost::system::error_code ignored;
        in_.cancel(ignored);
    }

    void close() override {
        boost::system::error_code ignored;
        in_.close(ignored);
        out_.close(ignored);
    }

private:
    asio::posix::stream_descriptor in_;
    asio::posix::stream_descriptor out_;
    std::string buffer_ = std::string(kReadBytes, '\0');
    std::uint64_t end_ = 0;
};

}  // namespace

std::unique_ptr<Transport> make_fd_transport(
    const asio::any_io_executor& executor, UniqueFd in, UniqueFd out
) {
    return std::make_unique<FdTransport>(executor, std::move(in), std::move(out));
}

}  // namespace volary::acp
