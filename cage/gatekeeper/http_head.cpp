// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/http_head.hpp"

#include <algorithm>
#include <charconv>
#include <iterator>

namespace volary::cage {
namespace {

// A hexadecimal number of 15 digits cannot overflow 64 bits.
constexpr unsigned kMaxSizeDigits = 15;
constexpr std::size_t kMaxSizeLine = 1024;
constexpr std::size_t kMaxMethod = 32;
constexpr std::size_t kMaxHeaders = 200;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

std::string lower(std::string_view text) {
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) { return lower(c); });
    return out;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// tchar of RFC 9110, 5.6.2.
bool is_token_char(char c) {
    if (is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) return true;
    return std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

bool is_token(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, is_token_char);
}

std::string_view trim(std::string_view text) {
    const auto first = text.find_first_not_of(" \t");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

template <class Number>
bool read_number(std::string_view text, Number& out) {
    if (text.empty() || !std::ranges::all_of(text, is_digit)) return false;
    const auto* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, out);
    return error == std::errc{} && stop == end;
}

/// Collects the fields that decide; each refusal is a sentence.
class HeadReader {
public:
    explicit HeadReader(HttpHead& head) : head_(head) {}

    const char* request_line(std::string_view line) {
        const auto first = line.find(' ');
        const auto last = line.rfind(' ');
        if (first == std::string_view::npos || first == last) return "not a request line";
        head_.method = line.substr(0, first);
        head_.target = line.substr(first + 1, last - first - 1);
        const auto version = line.substr(last + 1);
        if (!is_token(head_.method) || head_.method.size() > kMaxMethod) return "bad method";
        if (version.starts_with("HTTP/2")) return "HTTP/2 without TLS";
        if (version != "HTTP/1.1" && version != "HTTP/1.0") return "bad version";
        old_ = version == "HTTP/1.0";
        if (head_.method == "CONNECT") return "CONNECT";
        const bool plain = std::ranges::all_of(head_.target, [](char c) {
            return c > ' ' && c != 0x7F;  // also refuses bytes above 0x7F, negative as char
        });
        if (!plain) return "bad target";
        if (head_.target == "*") return head_.method == "OPTIONS" ? nullptr : "bad target";
        if (!head_.target.starts_with('/')) return "the target is not a path";
        return nullptr;
    }

    const char* field(std::string_view line) {
        if (++fields_ > kMaxHeaders) return "too many header fields";
        const auto colon = line.find(':');
        if (colon == std::string_view::npos) return "a header line without a colon";
        const auto name = lower(line.substr(0, colon));
        // Also refuses folded lines and a space before the colon.
        if (!is_token(name)) return "a malformed header name";
        const auto value = trim(line.substr(colon + 1));
        if (name == "host") return host(value);
        if (name == "content-length") return content_length(value);
        if (name == "transfer-encoding") return transfer_encoding(value);
        if (name == "upgrade") return upgrade(value);
        if (name == "http2-settings") return "an upgrade to HTTP/2";
        note_override(name);
        return nullptr;
    }

    const char* finish() const {
        if (!host_) return "no Host";
        if (length_ && chunked_) return "both Content-Length and Transfer-Encoding";
        if (chunked_ && old_) return "Transfer-Encoding in HTTP/1.0";
        if (head_.websocket && (head_.method != "GET" || length_ || chunked_))
            return "a malformed WebSocket upgrade";
        return nullptr;
    }

private:
    void note_override(std::string name) {
        std::ranges::replace(name, '_', '-');  // as CGI and its heirs do
        constexpr std::string_view methods[] = {
            "x-http-method-override", "x-http-method", "x-method-override"
        };
        constexpr std::string_view paths[] = {"x-original-url", "x-rewrite-url"};
        if (std::ranges::find(methods, name) != std::end(methods)) head_.other_method = true;
        if (std::ranges::find(paths, name) != std::end(paths)) head_.other_path = true;
    }

    const char* host(std::string_view value) {
        if (host_) return "two Hosts";
        host_ = true;
        auto name = value;
        // The colon of a port follows the bracket of an IPv6 address.
        const auto bracket = value.rfind(']');
        const auto colon = value.find(':', bracket == std::string_view::npos ? 0 : bracket);
        if (colon != std::string_view::npos) {
            std::uint16_t port = 0;
            if (!read_number(value.substr(colon + 1), port)) return "a malformed Host";
            head_.port = port;
            name = value.substr(0, colon);
        }
        const bool plain = std::ranges::all_of(name, [](char c) {
            return is_token_char(c) || c == '[' || c == ']' || c == ':';
        });
        if (name.empty() || !plain) return "a malformed Host";
        head_.host = lower(name);
        return nullptr;
    }

    const char* content_length(std::string_view value) {
        if (length_) return "two Content-Lengths";
        length_ = true;
        if (!read_number(value, head_.content_length)) return "a malformed Content-Length";
        head_.framing = head_.content_length > 0 ? BodyFraming::length : BodyFraming::none;
        return nullptr;
    }

    const char* transfer_encoding(std::string_view value) {
        if (chunked_) return "two Transfer-Encodings";
        chunked_ = true;
        if (lower(value) != "chunked") return "a transfer coding other than chunked";
        head_.framing = BodyFraming::chunked;
        return nullptr;
    }

    const char* upgrade(std::string_view value) {
        if (head_.websocket || lower(value) != "websocket") return "an upgrade";
        head_.websocket = true;
        return nullptr;
    }

    HttpHead& head_;
    bool old_ = false;
    bool host_ = false;
    bool length_ = false;
    bool chunked_ = false;
    std::size_t fields_ = 0;
};

HttpHeadResult malformed(const char* problem) {
    HttpHeadResult result;
    result.state = HttpHeadResult::State::malformed;
    result.problem = problem;
    return result;
}

}  // namespace

HttpHeadResult parse_http_head(std::string_view buffer) {
    const auto end = buffer.substr(0, kMaxHttpHead).find("\r\n\r\n");
    if (end == std::string_view::npos) {
        if (buffer.size() >= kMaxHttpHead) return malformed("the head is too large");
        return {};
    }
    const auto text = buffer.substr(0, end + 2);  // each line with its CRLF
    HttpHeadResult result;
    HeadReader reader(result.head);
    bool first = true;
    for (std::size_t at = 0; at < text.size();) {
        const auto stop = text.find("\r\n", at);
        const auto line = text.substr(at, stop - at);
        // Lone CR or LF, NUL and other controls are where two readers disagree.
        const auto control = [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == 0x7F; };
        if (std::ranges::any_of(line, control)) return malformed("a control character");
        const char* problem = first ? reader.request_line(line) : reader.field(line);
        if (problem != nullptr) return malformed(problem);
        first = false;
        at = stop + 2;
    }
    if (const char* problem = reader.finish(); problem != nullptr) return malformed(problem);
    result.head.size = end + 4;
    result.state = HttpHeadResult::State::done;
    return result;
}

bool looks_like_http(std::string_view start) {
    // Lenient servers skip empty lines and blanks before a request; parse_http_head refuses them.
    start.remove_prefix(std::min(start.find_first_not_of(" \t\r\n"), start.size()));
    const auto word_end = std::ranges::find_if_not(start, is_token_char);
    const auto word = static_cast<std::size_t>(word_end - start.begin());
    if (word > kMaxMethod) return false;
    if (word == start.size()) return true;
    if (word == 0 || start[word] != ' ') return false;
    const auto end = start.find('\n');
    if (end == std::string_view::npos) return true;
    // "EHLO host" and "USER name" go on with a name; a request with a path or a URL.
    const auto line = start.substr(word + 1, end - word - 1);
    return line.find("HTTP/") != std::string_view::npos || line.starts_with('/') ||
           line.find("://") != std::string_view::npos;
}

BodyScanner::BodyScanner(BodyFraming framing, std::uint64_t content_length, Trailers trailers)
    : state_(framing == BodyFraming::none ? State::done : State::more),
      trailers_(trailers),
      chunked_(framing == BodyFraming::chunked),
      left_(framing == BodyFraming::length ? content_length : 0) {
    if (framing == BodyFraming::length && left_ == 0) state_ = State::done;
}

std::size_t BodyScanner::feed(std::string_view bytes) {
    std::size_t used = 0;
    while (state_ == State::more && used < bytes.size()) {
        if (left_ > 0) {
            const auto count = std::min<std::uint64_t>(left_, bytes.size() - used);
            left_ -= count;
            used += static_cast<std::size_t>(count);
            if (left_ > 0) break;
            if (!chunked_) state_ = State::done;
            part_ = Part::data_cr;
            continue;
        }
        byte(bytes[used]);
        ++used;
    }
    return used;
}

void BodyScanner::byte(char c) {
    switch (part_) {
        case Part::size:
        case Part::extension:
        case Part::size_lf:
            return size_byte(c);
        case Part::data_cr:
            part_ = Part::data_lf;
            if (c != '\r') state_ = State::malformed;
            return;
        case Part::data_lf:
            part_ = Part::size;
            digits_ = 0;
            line_ = 0;
            if (c != '\n') state_ = State::malformed;
            return;
        case Part::trailer:
        case Part::trailer_lf:
            return trailer_byte(c);
    }
}

void BodyScanner::size_byte(char c) {
    if (++line_ > kMaxSizeLine) {
        state_ = State::malformed;
        return;
    }
    if (part_ == Part::size_lf) {
        if (c != '\n') state_ = State::malformed;
        start_chunk();
        return;
    }
    if (c == '\r' && digits_ > 0) {
        part_ = Part::size_lf;
        return;
    }
    if (part_ == Part::extension) {
        if ((c >= 0 && c < ' ' && c != '\t') || c == 0x7F) state_ = State::malformed;
        return;
    }
    const char d = lower(c);
    if (is_digit(d) || (d >= 'a' && d <= 'f')) {
        const auto value = is_digit(d) ? d - '0' : d - 'a' + 10;
        // Kept apart from left_, which must stay zero until the size line is complete.
        size_ = size_ * 16 + static_cast<std::uint64_t>(value);
        if (++digits_ > kMaxSizeDigits) state_ = State::malformed;
    } else if (digits_ > 0 && c == ';') {
        part_ = Part::extension;
    } else {
        state_ = State::malformed;
    }
}

void BodyScanner::start_chunk() {
    left_ = size_;
    size_ = 0;
    part_ = Part::data_cr;
    if (left_ == 0) {
        part_ = Part::trailer;
        line_ = 0;
        trailer_line_ = 0;
    }
}

void BodyScanner::trailer_byte(char c) {
    if (++line_ > kMaxHttpHead) {
        state_ = State::malformed;
        return;
    }
    if (part_ == Part::trailer_lf) {
        part_ = Part::trailer;
        if (c != '\n') {
            state_ = State::malformed;
        } else if (trailer_line_ == 0) {
            state_ = State::done;
        }
        trailer_line_ = 0;
        return;
    }
    if (c == '\r') {
        part_ = Part::trailer_lf;
    } else if ((c >= 0 && c < ' ' && c != '\t') || c == 0x7F) {
        state_ = State::malformed;
    } else {
        ++trailer_line_;
        if (trailers_ == Trailers::refuse) state_ = State::malformed;
    }
}

}  // namespace volary::cage
