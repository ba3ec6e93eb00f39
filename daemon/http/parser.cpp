// SPDX-License-Identifier: Apache-2.0
#include "daemon/http/parser.hpp"

#include "daemon/http/target.hpp"

#include <limits>
#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace volary::http {
namespace {

namespace beast_http = boost::beast::http;
using BeastText = boost::beast::string_view;
using ErrorCode = boost::system::error_code;

std::string_view view(BeastText text) { return {text.data(), text.size()}; }

/// Folded lines are legal no more (RFC 9112, 5.2) and read differently by different parsers.
bool has_folded_line(std::string_view header) {
    for (auto at = header.find('\n'); at != std::string_view::npos && at + 1 < header.size();
         at = header.find('\n', at + 1)) {
        if (header[at + 1] == ' ' || header[at + 1] == '\t') return true;
    }
    return false;
}

ParseFailure failure_of(const ErrorCode& error) {
    if (error == beast_http::error::header_limit)
        return {431, Errc::too_large, "the header is too large"};
    if (error == beast_http::error::bad_version)
        return {505, Errc::invalid, "only HTTP/1.0 and HTTP/1.1 are spoken here"};
    return {400, Errc::invalid, "malformed request: " + error.message()};
}

class BeastRequest final : public beast_http::basic_parser<true> {
public:
    BeastRequest(Request& request, ParseFailure& failure) : request_(request), failure_(failure) {}

    std::size_t max_body = 0;
    bool in_body = false;

    /// What Beast leaves to us once the header is complete; false: refused.
    bool check_header() {
        const auto& headers = request_.headers;
        if (headers.count("Host") != 1 && (request_.version == 11 || headers.count("Host") > 1))
            return refuse(400, "exactly one Host header is required");
        const auto codings = headers.count("Transfer-Encoding");
        const auto lengths = headers.count("Content-Length");
        if (codings + lengths > 1) return refuse(400, "more than one length of the body");
        if (codings == 1) {
            if (request_.version == 10) return refuse(400, "Transfer-Encoding in HTTP/1.0");
            if (!equal_ignoring_case(headers.find("Transfer-Encoding").value_or(""), "chunked"))
                return refuse(501, "no transfer coding but chunked is spoken here");
        }
        if (lengths == 1 &&
            headers.find("Content-Length")->find_first_not_of("0123456789") != std::string::npos)
            return refuse(400, "malformed Content-Length");
        return true;
    }

    bool refuse(int status, std::string message) {
        failure_ = {status, Errc::invalid, std::move(message)};
        return false;
    }

private:
    void on_request_impl(
        beast_http::verb, BeastText method, BeastText target, int version, ErrorCode& ec
    ) override {
        request_.method = view(method);
        request_.target = view(target);
        request_.version = version;
        if (version != 10 && version != 11) {
            ec = beast_http::error::bad_version;
            return;
        }
        if (!is_target(request_.target)) {
            ec = beast_http::error::bad_target;
            return;
        }
        const auto question = request_.target.find('?');
        request_.path.assign(request_.target, 0, question);
        if (question != std::string::npos) request_.query.assign(request_.target, question + 1);
    }

    void on_field_impl(beast_http::field, BeastText name, BeastText value, ErrorCode& ec) override {
        // Trailers come this way too: nobody may add an identity after it was judged.
        if (in_body) return;
        try {
            request_.headers.add(view(name), view(value));
        } catch (const Error&) {
            ec = beast_http::error::bad_value;
        }
    }

    std::size_t append(BeastText body, ErrorCode& ec) {
        if (request_.body.size() + body.size() > max_body) {
            ec = beast_http::error::body_limit;
            return 0;
        }
        request_.body.append(body.data(), body.size());
        return body.size();
    }

    void on_response_impl(int, BeastText, int, ErrorCode&) override {}
    void on_header_impl(ErrorCode&) override { in_body = true; }
    void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
    std::size_t on_body_impl(BeastText body, ErrorCode& ec) override { return append(body, ec); }
    void on_chunk_header_impl(std::uint64_t, BeastText, ErrorCode&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, BeastText body, ErrorCode& ec) override {
        return append(body, ec);
    }
    void on_finish_impl(ErrorCode&) override {}

    Request& request_;
    ParseFailure& failure_;
};

class BeastResponse final : public beast_http::basic_parser<false> {
public:
    BeastResponse(Response& response, std::function<bool(std::string_view)>& on_body)
        : response_(response), on_body_(on_body) {}

private:
    void on_request_impl(beast_http::verb, BeastText, BeastText, int, ErrorCode&) override {}
    void on_response_impl(int code, BeastText, int, ErrorCode&) override {
        response_.status = code;
    }
    void on_field_impl(beast_http::field, BeastText name, BeastText value, ErrorCode& ec) override {
        if (in_body_) return;
        try {
            response_.headers.add(view(name), view(value));
        } catch (const Error&) {
            ec = beast_http::error::bad_value;
        }
    }
    std::size_t give(BeastText body, ErrorCode& ec) {
        if (!on_body_(view(body))) ec = beast_http::error::body_limit;
        return body.size();
    }
    void on_header_impl(ErrorCode&) override { in_body_ = true; }
    void on_body_init_impl(const boost::optional<std::uint64_t>&, ErrorCode&) override {}
    std::size_t on_body_impl(BeastText body, ErrorCode& ec) override { return give(body, ec); }
    void on_chunk_header_impl(std::uint64_t, BeastText, ErrorCode&) override {}
    std::size_t on_chunk_body_impl(std::uint64_t, BeastText body, ErrorCode& ec) override {
        return give(body, ec);
    }
    void on_finish_impl(ErrorCode&) override {}

    Response& response_;
    std::function<bool(std::string_view)>& on_body_;
    bool in_body_ = false;
};

template <class Parser>
void prepare(Parser& parser, std::size_t max_header) {
    parser.header_limit(static_cast<std::uint32_t>(max_header));
    // Ours: it depends on the route, and is checked where bytes are appended.
    parser.body_limit(boost::none);
}

/// One step of Beast's parser; `ec` is clear or a real failure afterwards.
template <class Parser>
ParseStep step(Parser& parser, std::string_view input, std::size_t& consumed, ErrorCode& ec) {
    const bool had_header = parser.is_header_done();
    consumed = parser.put(boost::asio::const_buffer(input.data(), input.size()), ec);
    if (ec == beast_http::error::need_more) {
        ec = {};
        return consumed > 0 ? ParseStep::progress : ParseStep::need_more;
    }
    if (ec) return ParseStep::failed;
    if (!had_header && parser.is_header_done()) return ParseStep::header;
    if (parser.is_done()) return ParseStep::done;
    return ParseStep::progress;
}

}  // namespace

struct RequestParser::Impl {
    std::size_t max_header;
    ParseFailure failure;
    std::optional<BeastRequest> parser;
};

RequestParser::RequestParser(std::size_t max_header) : impl_(std::make_unique<Impl>()) {
    impl_->max_header = max_header;
}
RequestParser::~RequestParser() = default;

void RequestParser::start(Request& request) {
    request.method.clear();
    request.target.clear();
    request.path.clear();
    request.query.clear();
    request.headers.clear();
    request.body.clear();
    request.params.clear();
    request.route = nullptr;
    request.identity.clear();
    request.identity_source.clear();
    impl_->parser.emplace(request, impl_->failure);
    prepare(*impl_->parser, impl_->max_header);
}

ParseStep RequestParser::feed(std::string_view input, std::size_t& consumed) {
    auto& parser = *impl_->parser;
    consumed = 0;
    if (parser.is_done()) return ParseStep::done;
    if (input.empty()) return ParseStep::need_more;
    ErrorCode ec;
    const bool in_header = !parser.is_header_done();
    const auto result = step(parser, input, consumed, ec);
    if (result == ParseStep::failed) {
        impl_->failure = failure_of(ec);
        if (ec == beast_http::error::body_limit)
            impl_->failure = {
                413, Errc::too_large,
                "the body is larger than " + std::to_string(parser.max_body) + " bytes"
            };
    }
    // A folded line is consumed together with the field it belongs to, so no part hides one.
    if (in_header && has_folded_line(input.substr(0, consumed))) {
        parser.refuse(400, "folded header line");
        return ParseStep::failed;
    }
    if (result == ParseStep::header && !parser.check_header()) return ParseStep::failed;
    return result;
}

void RequestParser::limit_body(std::size_t max_body) { impl_->parser->max_body = max_body; }

const ParseFailure& RequestParser::failure() const noexcept { return impl_->failure; }

bool RequestParser::keep_alive() const { return impl_->parser->keep_alive(); }
bool RequestParser::has_body() const { return !impl_->parser->is_done(); }
bool RequestParser::wants_websocket() const { return impl_->parser->upgrade(); }

std::optional<std::uint64_t> RequestParser::content_length() const {
    const auto length = impl_->parser->content_length();
    if (!length) return std::nullopt;
    return *length;
}

struct ResponseParser::Impl {
    std::size_t max_header;
    std::string failure;
    std::function<bool(std::string_view)> on_body;
    std::optional<BeastResponse> parser;
};

ResponseParser::ResponseParser(std::size_t max_header) : impl_(std::make_unique<Impl>()) {
    impl_->max_header = max_header;
}
ResponseParser::~ResponseParser() = default;

void ResponseParser::start(
    Response& response, std::function<bool(std::string_view)> on_body, bool is_head
) {
    impl_->on_body = std::move(on_body);
    impl_->parser.emplace(response, impl_->on_body);
    prepare(*impl_->parser, impl_->max_header);
    impl_->parser->skip(is_head);
}

ParseStep ResponseParser::feed(std::string_view input, std::size_t& consumed) {
    consumed = 0;
    if (impl_->parser->is_done()) return ParseStep::done;
    if (input.empty()) return ParseStep::need_more;
    ErrorCode ec;
    const auto result = step(*impl_->parser, input, consumed, ec);
    if (result == ParseStep::failed) impl_->failure = ec.message();
    return result;
}

ParseStep ResponseParser::feed_end() {
    ErrorCode ec;
    if (impl_->parser->got_some()) impl_->parser->put_eof(ec);
    if (!ec && impl_->parser->is_done()) return ParseStep::done;
    impl_->failure = "the connection ended in the middle of the answer";
    return ParseStep::failed;
}

const std::string& ResponseParser::failure() const noexcept { return impl_->failure; }
bool ResponseParser::keep_alive() const { return impl_->parser->keep_alive(); }
bool ResponseParser::in_body() const { return impl_->parser->is_header_done(); }

}  // namespace volary::http
