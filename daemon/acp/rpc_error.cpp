// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/rpc_error.hpp"

#include "base/task_scope.hpp"
#include "daemon/acp/connection.hpp"
#include "daemon/acp/message.hpp"

#include <utility>

namespace volary::acp {
namespace {

Errc errc_of(int rpc_code) {
    if (rpc_code == rpc::kInvalidParams) return Errc::invalid;
    if (rpc_code == rpc::kNotFound) return Errc::not_found;
    if (rpc_code == rpc::kMethodNotFound) return Errc::unavailable;
    if (rpc_code == rpc::kAuthRequired) return Errc::denied;
    return Errc::internal;
}

}  // namespace

RpcError::RpcError(int rpc_code, std::string message)
    : Error(errc_of(rpc_code), std::move(message)), rpc_code_(rpc_code) {}

std::string error_answer(const std::string& id, const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const RpcError& e) {
        return error_line(id, e.rpc_code(), e.what());
    } catch (const Error& e) {
        const int code = e.code() == Errc::invalid     ? rpc::kInvalidParams
                         : e.code() == Errc::not_found ? rpc::kNotFound
                                                       : rpc::kInternalError;
        return error_line(id, code, e.what());
    } catch (...) {
        if (is_cancellation(error)) return error_line(id, rpc::kRequestCancelled, "cancelled");
        return error_line(id, rpc::kInternalError, describe(error));
    }
}

}  // namespace volary::acp
