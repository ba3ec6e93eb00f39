// SPDX-License-Identifier: Apache-2.0
#include "daemon/app/credentials.hpp"

#include "daemon/store/store.hpp"

namespace volary::app {

asio::awaitable<void> StoreCredentials::put_launch_code(
    std::string hash, UnixMillis created_at, UnixMillis expires_at
) {
    store::LaunchCodeRow row{std::move(hash), created_at, expires_at};
    co_await store_.insert_launch_code(std::move(row));
}

asio::awaitable<bool> StoreCredentials::consume_launch_code(std::string hash, UnixMillis) {
    // The store reads the same clock.
    co_return co_await store_.consume_launch_code(std::move(hash));
}

asio::awaitable<void> StoreCredentials::put_device(access::Device device) {
    store::DeviceRow row{device.id,        device.token_hash, device.name,   device.created_at,
                         device.last_seen, device.expires_at, device.revoked};
    co_await store_.insert_device(std::move(row));
}

asio::awaitable<std::optional<access::Device>> StoreCredentials::find_device(std::string token_hash
) {
    const auto row = co_await store_.find_device(std::move(token_hash));
    if (!row) co_return std::nullopt;
    co_return access::Device{row->id,        row->token_hash, row->name,   row->created_at,
                             row->last_seen, row->expires_at, row->revoked};
}

asio::awaitable<void> StoreCredentials::touch_device(DeviceId device, UnixMillis last_seen) {
    co_await store_.touch_device(std::move(device), last_seen);
}

}  // namespace volary::app
