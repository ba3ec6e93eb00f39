// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "daemon/access/access.hpp"

namespace volary::store {
class Store;
}

namespace volary::app {

/// Launch codes and devices of the front door, kept in the store.
class StoreCredentials final : public access::CredentialStore {
public:
    explicit StoreCredentials(store::Store& store) : store_(store) {}

    asio::awaitable<void> put_launch_code(
        std::string hash, UnixMillis created_at, UnixMillis expires_at
    ) override;
    asio::awaitable<bool> consume_launch_code(std::string hash, UnixMillis now) override;
    asio::awaitable<void> put_device(access::Device device) override;
    asio::awaitable<std::optional<access::Device>> find_device(std::string token_hash) override;
    asio::awaitable<void> touch_device(DeviceId device, UnixMillis last_seen) override;

private:
    store::Store& store_;
};

}  // namespace volary::app
