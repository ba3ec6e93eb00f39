// SPDX-License-Identifier: Apache-2.0
// The only file that knows libfyaml.
#include "dsl/yaml.hpp"

#include "base/bytes.hpp"
#include "base/error.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <optional>

#include <fmt/format.h>
#include <libfyaml.h>

namespace volary::dsl {
namespace {

struct ParserDeleter {
    void operator()(fy_parser* parser) const noexcept { fy_parser_destroy(parser); }
};
struct DiagDeleter {
    void operator()(fy_diag* diag) const noexcept { fy_diag_destroy(diag); }
};

// libfyaml prints to stderr unless it has somewhere else to go.
void discard_output(fy_diag* /*diag*/, void* /*user*/, const char* /*text*/, size_t /*length*/) {}

bool is_digits(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// What `text` is as a plain scalar by the core schema.
void resolve_plain(Node& node) {
    const std::string_view text = node.text;
    node.kind = Node::Kind::text;
    if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") {
        node.kind = Node::Kind::null;
        return;
    }
    if (text == "true" || text == "True" || text == "TRUE" || text == "false" || text == "False" ||
        text == "FALSE") {
        node.kind = Node::Kind::boolean;
        node.boolean = text.front() == 't' || text.front() == 'T';
        return;
    }
    auto body = text;
    if (body.front() == '-' || body.front() == '+') body.remove_prefix(1);
    if (body.empty() || body == "." ||
        !((body.front() >= '0' && body.front() <= '9') || body.front() == '.'))
        return;
    const auto from = text.front() == '+' ? text.substr(1) : text;
    double value = 0;
    const auto [end, error] = std::from_chars(from.data(), from.data() + from.size(), value);
    if (error != std::errc{} || end != from.data() + from.size()) return;
    node.number = value;
    node.kind = is_digits(body) ? Node::Kind::integer : Node::Kind::number;
}

/// Turns bytes into line and column, for the checks that run before the parser.
Mark mark_at(std::string_view text, std::size_t offset, int file) {
    const auto before = text.substr(0, offset);
    const auto newline = before.rfind('\n');
    const auto line_start = newline == std::string_view::npos ? 0 : newline + 1;
    const auto is_start = [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; };
    return {
        file, 1 + static_cast<int>(std::ranges::count(before, '\n')),
        1 + static_cast<int>(std::ranges::count_if(before.substr(line_start), is_start))
    };
}

std::size_t first_malformed(std::string_view text) {
    // Halving finds it in one pass over twice the text: a prefix that ends at a character's
    // start is well-formed up to the first bad byte and never after it.
    std::size_t good = 0;
    std::size_t step = text.size();
    while (step > 0) {
        const auto part = utf8_prefix(text.substr(good), step);
        if (!part.empty() && is_utf8(part)) {
            good += part.size();
        } else {
            step /= 2;
        }
        if (good >= text.size()) break;
    }
    return good;
}

std::optional<YamlProblem> check_bytes(std::string_view text, int file) {
    if (text.size() > kMaxYamlBytes) {
        return YamlProblem{
            {file, 1, 1}, fmt::format("the file is larger than {} KiB", kMaxYamlBytes / 1024), {}
        };
    }
    std::size_t line_start = 0;
    std::size_t lines = 1;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto c = static_cast<unsigned char>(text[i]);
        if (c == '\n') {
            line_start = i + 1;
            if (++lines > kMaxYamlLines) {
                return YamlProblem{
                    mark_at(text, line_start, file),
                    fmt::format("the file has more than {} lines", kMaxYamlLines),
                    {}
                };
            }
        }
        if (i >= line_start + kMaxYamlLineBytes) {
            return YamlProblem{
                mark_at(text, line_start, file),
                fmt::format("the line is longer than {} bytes", kMaxYamlLineBytes), "break it up"
            };
        }
        if ((c >= 0x20 && c != 0x7F) || c == '\t' || c == '\n' || c == '\r') continue;
        return YamlProblem{
            mark_at(text, i, file),
            fmt::format("a control character (byte 0x{:02X}) is not allowed", c),
            c == 0 ? "save the file as UTF-8 text" : "remove it"
        };
    }
    if (!is_utf8(text)) {
        return YamlProblem{
            mark_at(text, first_malformed(text), file), "the text is not UTF-8",
            "save the file as UTF-8"
        };
    }
    return std::nullopt;
}

class Builder {
public:
    Builder(std::string_view text, int file) : text_(text), file_(file) {}

    YamlResult run();

private:
    struct Event {
        fy_parser* parser;
        fy_event* event;
        Event(fy_parser* owner, fy_event* held) : parser(owner), event(held) {}
        Event(const Event&) = delete;
        Event& operator=(const Event&) = delete;
        ~Event() {
            if (event != nullptr) fy_parser_event_free(parser, event);
        }
    };

    bool open();
    /// False ends the parse.
    bool take(fy_event* event);
    bool begin(fy_event* event, Node::Kind kind);
    void end(fy_event* event);
    void set_span(Node& node, fy_event* event, bool is_quoted);
    bool scalar(fy_event* event);
    void place(Node node);
    bool place_key(Node node);
    void refuse_decorations(fy_event* event, const Mark& mark);
    void report_syntax();
    Mark mark_of(fy_event* event);
    Mark mark_of(fy_token* token, const Mark& otherwise) const;
    void problem(const Mark& mark, std::string message, std::string hint = {});

    struct Frame {
        Node node;
        std::map<std::string, Mark, std::less<>> seen;
        std::optional<Member> open;  // A key that waits for its value.
        bool drop = false;           // The open key is refused: its value goes nowhere.
    };

    std::string_view text_;
    int file_;
    std::unique_ptr<fy_diag, DiagDeleter> diag_;
    std::unique_ptr<fy_parser, ParserDeleter> parser_;
    std::vector<Frame> stack_;
    Mark last_mark_;
    std::size_t nodes_ = 0;
    int documents_ = 0;
    YamlResult result_;
};

bool Builder::open() {
    fy_diag_cfg diag_cfg{};
    fy_diag_cfg_default(&diag_cfg);
    diag_cfg.fp = nullptr;
    diag_cfg.output_fn = discard_output;
    diag_cfg.colorize = false;
    diag_.reset(fy_diag_create(&diag_cfg));
    if (!diag_) return false;
    fy_diag_set_collect_errors(diag_.get(), true);
    fy_parse_cfg cfg{};
    cfg.search_path = "";
    cfg.flags = static_cast<fy_parse_cfg_flags>(
        static_cast<unsigned>(FYPCF_COLLECT_DIAG) | static_cast<unsigned>(FYPCF_JSON_NONE) |
        static_cast<unsigned>(FYPCF_DEFAULT_VERSION_1_2)
    );
    cfg.diag = diag_.get();
    parser_.reset(fy_parser_create(&cfg));
    return parser_ && fy_parser_set_string(parser_.get(), text_.data(), text_.size()) == 0;
}

YamlResult Builder::run() {
    if (auto bad = check_bytes(text_, file_)) {
        result_.root.kind = Node::Kind::invalid;
        result_.problems.push_back(std::move(*bad));
        return std::move(result_);
    }
    result_.root.mark = {file_, 1, 1};
    if (!open()) throw Error(Errc::internal, "cannot make a YAML parser");
    bool going_on = true;
    while (going_on) {
        const Event event(parser_.get(), fy_parser_parse(parser_.get()));
        if (event.event == nullptr) {
            // Without a word from the parser this is the plain end of the input.
            if (fy_parser_get_stream_error(parser_.get()) || !stack_.empty()) report_syntax();
            break;
        }
        if (event.event->type == FYET_STREAM_END) {
            result_.complete = true;
            break;
        }
        going_on = take(event.event);
    }
    if (!result_.complete) result_.root.kind = Node::Kind::invalid;
    return std::move(result_);
}

bool Builder::take(fy_event* event) {
    // Told at the first event that has a place: a document without "---" starts nowhere.
    if (documents_ > 1) {
        problem(
            mark_of(event), "a second document starts here: expected one document a file",
            "remove what follows \"---\" or \"...\""
        );
        return false;
    }
    switch (event->type) {
        case FYET_DOCUMENT_START:
            ++documents_;
            return true;
        case FYET_MAPPING_START:
            return begin(event, Node::Kind::mapping);
        case FYET_SEQUENCE_START:
            return begin(event, Node::Kind::sequence);
        case FYET_MAPPING_END:
        case FYET_SEQUENCE_END:
            end(event);
            return true;
        case FYET_SCALAR:
            return scalar(event);
        case FYET_ALIAS: {
            const auto mark = mark_of(event);
            problem(mark, "aliases (*name) are not allowed", "write the value out");
            Node node;
            node.kind = Node::Kind::invalid;
            node.mark = mark;
            place(std::move(node));
            return result_.problems.size() < kMaxYamlProblems;
        }
        default:
            return true;
    }
}

bool Builder::begin(fy_event* event, Node::Kind kind) {
    const auto mark = mark_of(event);
    if (stack_.size() >= kMaxYamlDepth) {
        problem(mark, fmt::format("nested deeper than {} levels", kMaxYamlDepth));
        return false;
    }
    if (++nodes_ > kMaxYamlNodes) {
        problem(mark, fmt::format("more than {} values in one file", kMaxYamlNodes));
        return false;
    }
    refuse_decorations(event, mark);
    Frame frame;
    frame.node.kind = kind;
    frame.node.mark = mark;
    const auto style = fy_event_get_node_style(event);
    frame.node.style = style == FYNS_FLOW ? Node::Style::flow : Node::Style::block;
    if (frame.node.style == Node::Style::flow) set_span(frame.node, event, false);
    stack_.push_back(std::move(frame));
    return true;
}

void Builder::end(fy_event* event) {
    auto node = std::move(stack_.back().node);
    stack_.pop_back();
    const auto* mark = fy_event_end_mark(event);
    if (node.style == Node::Style::flow && mark != nullptr) node.end = mark->input_pos;
    place(std::move(node));
}

bool Builder::scalar(fy_event* event) {
    Node node;
    node.mark = mark_of(event);
    if (++nodes_ > kMaxYamlNodes) {
        problem(node.mark, fmt::format("more than {} values in one file", kMaxYamlNodes));
        return false;
    }
    refuse_decorations(event, node.mark);
    auto* token = fy_event_get_token(event);
    if (token != nullptr) {
        std::size_t length = 0;
        const char* text = fy_token_get_text(token, &length);
        if (text != nullptr) node.text.assign(text, length);
    }
    const auto style = token == nullptr ? FYSS_PLAIN : fy_scalar_token_get_style(token);
    node.kind = Node::Kind::text;
    const bool is_quoted = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
    node.style = is_quoted             ? Node::Style::quoted
                 : style == FYSS_PLAIN ? Node::Style::plain
                                       : Node::Style::lines;
    if (style == FYSS_PLAIN) resolve_plain(node);
    // The parser marks the text behind the quote.
    if (is_quoted) --node.mark.column;
    set_span(node, event, is_quoted);
    // Escapes ("\0", "\xD800") can make what the bytes of the file could not.
    if (node.text.find('\0') != std::string::npos || !is_utf8(node.text)) {
        problem(node.mark, "the text holds a NUL or is not UTF-8 once its escapes are resolved");
        node.kind = Node::Kind::invalid;
        node.text.clear();
    }
    place(std::move(node));
    return result_.problems.size() < kMaxYamlProblems;
}

void Builder::set_span(Node& node, fy_event* event, bool is_quoted) {
    const auto* first = fy_event_start_mark(event);
    const auto* last = fy_event_end_mark(event);
    if (first == nullptr || last == nullptr) return;
    node.begin = first->input_pos;
    node.end = last->input_pos;
    if (is_quoted && node.begin > 0) {
        --node.begin;
        ++node.end;
    }
}

void Builder::place(Node node) {
    if (stack_.empty()) {
        result_.root = std::move(node);
        return;
    }
    auto& frame = stack_.back();
    if (frame.node.kind == Node::Kind::sequence) {
        frame.node.items.push_back(std::move(node));
        return;
    }
    if (!frame.open) {
        frame.drop = !place_key(std::move(node));
        return;
    }
    frame.open->value = std::move(node);
    if (!frame.drop) frame.node.members.push_back(std::move(*frame.open));
    frame.open.reset();
}

bool Builder::place_key(Node node) {
    auto& frame = stack_.back();
    frame.open = Member{node.text, node.mark, {}};
    if (node.kind == Node::Kind::sequence || node.kind == Node::Kind::mapping) {
        problem(node.mark, "a key must be text, found " + std::string(describe(node.kind)));
        return false;
    }
    if (node.kind == Node::Kind::invalid) return false;
    const auto [first, fresh] = frame.seen.try_emplace(node.text, node.mark);
    if (fresh) return true;
    problem(
        node.mark, fmt::format("key \"{}\" appears twice", utf8_prefix(node.text, 80)),
        fmt::format("it is first set in line {}", first->second.line)
    );
    return false;
}

void Builder::refuse_decorations(fy_event* event, const Mark& mark) {
    if (auto* anchor = fy_event_get_anchor_token(event)) {
        problem(mark_of(anchor, mark), "anchors (&name) are not allowed", "write the value out");
    }
    if (auto* tag = fy_event_get_tag_token(event)) {
        problem(mark_of(tag, mark), "tags (!name) are not allowed", "remove the tag");
    }
}

Mark Builder::mark_of(fy_event* event) {
    // An event without a token (an empty value) stands where the one before it did.
    if (const auto* mark = fy_event_start_mark(event)) {
        last_mark_ = {file_, mark->line + 1, mark->column + 1};
    }
    return last_mark_.line == 0 ? Mark{file_, 1, 1} : last_mark_;
}

Mark Builder::mark_of(fy_token* token, const Mark& otherwise) const {
    const auto* mark = fy_token_start_mark(token);
    return mark == nullptr ? otherwise : Mark{file_, mark->line + 1, mark->column + 1};
}

void Builder::report_syntax() {
    void* state = nullptr;
    bool told = false;
    while (const auto* error = fy_diag_errors_iterate(diag_.get(), &state)) {
        // The parser repeats itself on the way out; its first word is the cause.
        if (told || error->msg == nullptr) continue;
        const auto line = std::max(error->line, 1);
        const auto column = std::max(error->column, 1);
        problem({file_, line, column}, fmt::format("not YAML: {}", to_valid_utf8(error->msg)));
        told = true;
    }
    if (!told) problem(last_mark_, "not YAML: the document ends here unexpectedly");
}

void Builder::problem(const Mark& mark, std::string message, std::string hint) {
    if (result_.problems.size() >= kMaxYamlProblems) return;
    result_.problems.push_back({mark, std::move(message), std::move(hint)});
}

}  // namespace

const Node* Node::find(std::string_view key) const {
    const auto found = std::ranges::find(members, key, &Member::key);
    return found == members.end() ? nullptr : &found->value;
}

Node* Node::find(std::string_view key) {
    const auto found = std::ranges::find(members, key, &Member::key);
    return found == members.end() ? nullptr : &found->value;
}

std::string_view describe(Node::Kind kind) noexcept {
    switch (kind) {
        case Node::Kind::invalid:
        case Node::Kind::null:
            return "nothing";
        case Node::Kind::boolean:
            return "true or false";
        case Node::Kind::integer:
            return "a whole number";
        case Node::Kind::number:
            return "a number";
        case Node::Kind::text:
            return "text";
        case Node::Kind::sequence:
            return "a list";
        case Node::Kind::mapping:
            return "a map";
    }
    return "nothing";
}

YamlResult parse_yaml(std::string_view text, int file) {
    // A byte order mark is legal at the start of a YAML stream (section 5.2) and says nothing here.
    constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";
    if (text.starts_with(byte_order_mark)) text.remove_prefix(byte_order_mark.size());
    return Builder(text, file).run();
}

}  // namespace volary::dsl
