// SPDX-License-Identifier: Apache-2.0
#include "daemon/acp/message.hpp"

#include "daemon/acp/connection.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace volary;
using namespace volary::acp;
using Kind = Message::Kind;

namespace {

std::vector<std::string> lines_of(LineBuffer& buffer) {
    std::vector<std::string> out;
    while (auto line = buffer.next()) out.push_back(*line);
    return out;
}

Message parse(std::string_view line) { return parse_message(line, {}); }

}  // namespace

TEST_CASE("lines come out whole however the bytes were cut", "[acp]") {
    const std::string text = "one\ntwo\r\n\n\nthree\nrest";
    const auto cut = GENERATE(range(1, 12));
    LineBuffer buffer(100);
    std::vector<std::string> out;
    for (std::size_t i = 0; i < text.size(); i += static_cast<std::size_t>(cut)) {
        buffer.feed(text.substr(i, static_cast<std::size_t>(cut)));
        for (auto& line : lines_of(buffer)) out.push_back(line);
    }
    CHECK(out == std::vector<std::string>{"one", "two", "three"});
    buffer.feed("\n");
    CHECK(lines_of(buffer) == std::vector<std::string>{"rest"});
}

TEST_CASE("a line beyond the limit ends the stream, one at the limit does not", "[acp]") {
    LineBuffer buffer(4);
    buffer.feed("1234\n");
    CHECK(lines_of(buffer) == std::vector<std::string>{"1234"});
    SECTION("without its newline") { buffer.feed("12345"); }
    SECTION("with it") { buffer.feed("12345\nok\n"); }
    CHECK(lines_of(buffer).empty());
    CHECK(buffer.overflowed());
    buffer.feed("ok\n");
    CHECK(lines_of(buffer).empty());
}

TEST_CASE("requests, notifications and answers are told apart", "[acp]") {
    auto m = parse(R"({"jsonrpc":"2.0","id":7,"method":"a/b","params":{"x":1}})");
    CHECK(m.kind == Kind::request);
    CHECK(m.id == "7");
    CHECK(m.method == "a/b");
    CHECK((*m.body)["x"] == 1);

    m = parse(R"({"jsonrpc":"2.0","id":"7","method":"a"})");
    CHECK(m.kind == Kind::request);
    CHECK(m.id == "\"7\"");
    CHECK(m.body->is_object());

    CHECK(parse(R"({"jsonrpc":"2.0","method":"n","params":null})").kind == Kind::notification);

    m = parse(R"({"jsonrpc":"2.0","id":3,"result":null})");
    CHECK(m.kind == Kind::result);
    CHECK(m.body->is_null());

    m = parse(R"({"jsonrpc":"2.0","id":3,"error":{"code":-32601,"message":"no"}})");
    CHECK(m.kind == Kind::error);
    CHECK(m.code == -32601);
    CHECK(m.problem == "no");
    CHECK(parse(R"({"jsonrpc":"2.0","id":3,"error":"odd"})").code == rpc::kInternalError);
}

TEST_CASE("what agents print beside the protocol is stray", "[acp]") {
    const auto line = GENERATE(
        "hello", "[info] started", "[1, 2", "  ", "42", "null", R"({"level":30,"msg":"pino"})",
        R"({"jsonrpc":"1.0","id":1,"method":"old"})"
    );
    CHECK(parse(line).kind == Kind::stray);
}

TEST_CASE("what claims to be a message and is none gets the right error", "[acp]") {
    CHECK(parse("{oops").code == rpc::kParseError);
    CHECK(parse("{oops").kind == Kind::invalid);
    CHECK(parse(R"([{"jsonrpc":"2.0","method":"x"}])").code == rpc::kInvalidRequest);
    CHECK(parse(R"({"jsonrpc":"2.0"})").code == rpc::kInvalidRequest);
    CHECK(parse(R"({"jsonrpc":"2.0","id":4})").id == "4");
    CHECK(parse(R"({"jsonrpc":"2.0","id":{},"method":"x"})").code == rpc::kInvalidRequest);
    CHECK(parse(R"({"jsonrpc":"2.0","id":1,"method":5})").code == rpc::kInvalidRequest);
    const std::string deep = R"({"jsonrpc":"2.0","method":"x","params":)" + std::string(200, '[') +
                             std::string(200, ']') + "}";
    CHECK(parse(deep).code == rpc::kParseError);
    CHECK(parse("{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}").kind == Kind::invalid);
}

TEST_CASE("a line that is written is one line and reads back", "[acp]") {
    const auto line = request_line(5, "m", Json{{"text", "two\nlines \xff"}});
    CHECK(line.find('\n') == line.size() - 1);
    const auto m = parse(line);
    CHECK(m.kind == Kind::request);
    CHECK((*m.body)["text"] == "two\nlines \xef\xbf\xbd");
    CHECK(parse(notification_line("n", Json::object())).kind == Kind::notification);
    CHECK(parse(result_line("\"a\"", Json(1))).id == "\"a\"");
    CHECK(parse(error_line("1", -32603, "why")).problem == "why");
}
