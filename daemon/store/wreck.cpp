// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/wreck.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <string_view>
#include <sys/stat.h>
#include <tuple>
#include <unistd.h>

#include <fmt/format.h>

namespace volary::store {
namespace {

using Row = std::vector<Value>;

constexpr std::size_t kHashSize = 32;
/// More than anybody has written to one session: what an index beyond it says is damage.
constexpr std::int64_t kMostEvents = 100'000'000;

/// True when the columns are of these types: i integer, t text, n null, o text or null, b blob.
bool is_like(const Row& row, std::string_view types) {
    if (row.size() != types.size()) return false;
    for (std::size_t i = 0; i < row.size(); ++i) {
        const auto type = row[i].type;
        const bool fits = types[i] == 'i'   ? type == Value::Type::integer && row[i].is_whole
                          : types[i] == 't' ? type == Value::Type::text
                          : types[i] == 'b' ? type == Value::Type::blob
                          : types[i] == 'n'
                              ? type == Value::Type::null
                              : type == Value::Type::text || type == Value::Type::null;
        if (!fits) return false;
    }
    return true;
}

bool is_session_id(const Value& value) {
    return value.type == Value::Type::text && value.is_whole && value.bytes.starts_with("ses_");
}

std::string text(const Value& value) { return std::string(value.bytes); }

UniqueFd open_file(const std::string& path) {
    UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd)
        throw Error(
            Errc::unavailable, fmt::format("cannot read \"{}\": {}", path, std::strerror(errno))
        );
    return fd;
}

std::uint64_t pages_of(const UniqueFd& fd, const std::string& path) {
    struct stat info{};
    if (::fstat(fd.get(), &info) != 0) throw_errno("stat", path);
    if (!S_ISREG(info.st_mode) || info.st_size == 0)
        throw Error(Errc::unavailable, fmt::format("\"{}\" is empty", path));
    // A last page that is cut short counts: its first rows may be there.
    return (static_cast<std::uint64_t>(info.st_size) + kPageSize - 1) / kPageSize;
}

}  // namespace

Wreck::Wreck(const std::string& path)
    : file_(open_file(path)),
      log_(::open((path + "-wal").c_str(), O_RDONLY | O_CLOEXEC)),
      wal_(log_ ? read_wal(path) : WalReading()),
      pages_(pages_of(file_, path)) {
    for (const auto& frame : wal_.frames) {
        last_[frame.page] = frame.at;
        if (!frame.is_committed) continue;
        newest_[frame.page] = frame.at;
        pages_ = std::max<std::uint64_t>(pages_, frame.page);
    }
    scan();
    std::ranges::sort(candidates_, {}, [](const Candidate& one) {
        return std::tuple(one.session, one.seq, one.order);
    });
    for (const auto& candidate : candidates_) {
        auto& known = known_[candidate.session];
        known.last_seq = std::max(known.last_seq, candidate.seq);
    }
    for (const auto& [no, known] : known_) {
        SessionWreck session;
        session.no = no;
        session.known = known.last_seq;
        follow(session);
        find_gaps(session);
        // An entry of an index that names a session of which nothing is there is damage itself.
        if (!session.id.empty() || !session.loose.empty()) sessions_.push_back(std::move(session));
    }
}

std::optional<std::string> Wreck::read_place(Place place) const {
    std::string page(kPageSize, '\0');
    const auto& fd = place.in_wal ? log_ : file_;
    std::size_t got = 0;
    while (got < kPageSize) {
        const auto now = ::pread(
            fd.get(), page.data() + got, kPageSize - got, static_cast<off_t>(place.at + got)
        );
        if (now < 0 && errno == EINTR) continue;
        if (now < 0) return std::nullopt;
        // Cut short: zeros stand for what is missing.
        if (now == 0) break;
        got += static_cast<std::size_t>(now);
    }
    if (got == 0) return std::nullopt;
    return page;
}

std::optional<std::string> Wreck::read_page(std::uint32_t number, Copy copy) const {
    if (number == 0) return std::nullopt;
    const auto& in_log = copy == Copy::last ? last_ : newest_;
    const auto newer = in_log.find(number);
    if (newer != in_log.end()) return read_place({true, newer->second});
    return read_place({false, (std::uint64_t{number} - 1) * kPageSize});
}

ReadPage Wreck::reader(Copy copy) const {
    return [this, copy](std::uint32_t number) { return read_page(number, copy); };
}

void Wreck::scan() {
    const auto in_file = [](std::uint32_t number) {
        return Place{false, (std::uint64_t{number} - 1) * kPageSize};
    };
    for (std::uint32_t number = 1; number <= pages_; ++number) {
        const auto newer = newest_.find(number);
        const auto place = newer == newest_.end() ? in_file(number) : Place{true, newer->second};
        const auto page = read_place(place);
        if (page)
            scan_page(*page, number, place, true);
        else
            ++unreadable_;
    }
    // What was there before, and what stands behind a break of the log.
    for (const auto& [number, newer] : newest_) {
        const auto page = read_place(in_file(number));
        if (page) scan_page(*page, number, in_file(number), false);
    }
    for (const auto& frame : wal_.frames) {
        const auto newest = newest_.find(frame.page);
        if (newest != newest_.end() && newest->second == frame.at) continue;
        const Place place{true, frame.at};
        if (const auto page = read_place(place)) scan_page(*page, frame.page, place, false);
    }
}

void Wreck::scan_page(std::string_view page, std::uint32_t number, Place place, bool is_current) {
    const auto cells = cells_of(page, number);
    for (std::size_t i = 0; i < cells.size(); ++i) {
        Candidate candidate;
        candidate.place = place;
        candidate.page = number;
        candidate.cell = static_cast<std::uint16_t>(i);
        if (!take_event(cells[i], candidate)) take_row(cells[i], is_current);
    }
}

bool Wreck::take_event(const Cell& cell, const Candidate& candidate) {
    if (!cell.is_table) return false;
    const auto row = columns_of(cell.local, cell.size);
    if (!row || !is_like(*row, "iiittotb")) return false;
    auto found = candidate;
    found.session = row->at(0).integer;
    found.seq = row->at(1).integer;
    if (found.session < 1 || found.seq < 1 || found.seq > kMostEvents) return false;
    found.order = candidates_.size();
    candidates_.push_back(found);
    return true;
}

void Wreck::take_row(const Cell& cell, bool is_current) {
    const auto row = columns_of(cell.local, cell.size);
    if (!row) return;
    // Which row is of which session is all that the others are needed for.
    for (const auto& value : *row)
        if (is_session_id(value)) ids_.insert(text(value));
    if (cell.is_table)
        take_table(cell, *row, is_current);
    else
        take_index(*row);
    if (!cell.is_table) take_long(cell, *row);
}

void Wreck::take_long(const Cell& cell, const Row& head) {
    const bool is_answer = is_like(head, "tttiit");
    const bool is_checkpoint = is_like(head, "ttt") && is_session_id(head[0]);
    if (!is_answer && !is_checkpoint) return;
    const auto whole = record_of(cell, reader(Copy::committed));
    const auto all = whole ? columns_of(*whole, whole->size()) : std::nullopt;
    if (!all) return;
    // Both have their key in front; the copy of the page that counts comes first.
    const auto& row = *all;
    if (!seen_.insert(text(row[0]) + "\n" + text(row[1])).second) return;
    if (is_answer)
        answers_.push_back(
            {text(row[1]), text(row[0]), text(row[2]), static_cast<int>(row[3].integer),
             text(row[5]), row[4].integer}
        );
    else
        checkpoints_.push_back({SessionId(text(row[0])), ItemId(text(row[1])), text(row[2])});
}

void Wreck::take_table(const Cell& cell, const Row& row, bool is_current) {
    if (is_like(row, "nttttiiit") && is_session_id(row[1])) {
        auto& known = known_[cell.rowid];
        known.ids.insert(text(row[1]));
        if (row[7].integer <= kMostEvents)
            known.last_seq = std::max(known.last_seq, row[7].integer);
    } else if (is_current && is_like(row, "nttitiiiit") && is_session_id(row[1]) &&
               cell.overflow == 0) {
        connections_.push_back(
            {SessionId(text(row[1])), CageId(text(row[2])), row[3].integer, text(row[4]),
             row[5].integer, row[6].integer, row[7].integer, row[8].integer, text(row[9])}
        );
    }
}

void Wreck::take_index(const Row& row) {
    if (is_like(row, "iii")) {  // event_by_seq
        auto& known = known_[row[0].integer];
        if (row[1].integer <= kMostEvents)
            known.last_seq = std::max(known.last_seq, row[1].integer);
    } else if (is_like(row, "ti") && is_session_id(row[0])) {  // of session.id
        known_[row[1].integer].ids.insert(text(row[0]));
    } else if (is_like(row, "itti") && is_session_id(row[1])) {  // session_by_activity
        known_[row[3].integer].ids.insert(text(row[1]));
    } else if (is_like(row, "iti") && is_session_id(row[1])) {  // session_unfinished
        known_[row[2].integer].ids.insert(text(row[1]));
    } else if (is_like(row, "tti") && row[1].is_whole && row[1].bytes.starts_with('/')) {
        const auto name = text(row[0]);
        const auto same = [&](const ProjectRow& project) { return project.name == name; };
        if (std::ranges::none_of(projects_, same))
            projects_.push_back({name, text(row[1]), row[2].integer});
    }
}

std::optional<Wreck::Read> Wreck::read_event(
    const Candidate& candidate, const std::string& id, Copy copy
) const {
    const auto page = read_place(candidate.place);
    if (!page) return std::nullopt;
    const auto cells = cells_of(*page, candidate.page);
    if (candidate.cell >= cells.size()) return std::nullopt;
    const auto record = record_of(cells[candidate.cell], reader(copy));
    const auto row = record ? columns_of(*record, record->size()) : std::nullopt;
    if (!row || !is_like(*row, "iiittotb") || row->at(7).bytes.size() != kHashSize)
        return std::nullopt;
    Read read;
    read.event.session = SessionId(id);
    read.event.seq = row->at(1).integer;
    read.event.at = row->at(2).integer;
    read.event.kind = text(row->at(3));
    read.event.actor = text(row->at(4));
    read.event.run = RunId(text(row->at(5)));
    read.event.body = text(row->at(6));
    read.hash = text(row->at(7));
    return read;
}

std::optional<Wreck::Read> Wreck::read_any(const Candidate& candidate, const std::string& id)
    const {
    auto read = read_event(candidate, id, Copy::committed);
    return read ? std::move(read) : read_event(candidate, id, Copy::last);
}

bool Wreck::proves(const SessionWreck& session, const Read& read, EventHash& hash) {
    hash = hash_after(session.head, view_of(read.event));
    return bytes_of(hash) == read.hash;
}

std::vector<Wreck::Candidate>::const_iterator Wreck::first_of(std::int64_t no, std::int64_t seq)
    const {
    const auto key = [](const Candidate& one) { return std::pair(one.session, one.seq); };
    return std::ranges::lower_bound(candidates_, std::pair(no, seq), {}, key);
}

void Wreck::follow(SessionWreck& session) {
    const auto& likely = known_.at(session.no).ids;
    for (const auto& id : likely) follow_as(session, id);
    // Its own row and every entry of it may be gone, and another row name it.
    for (const auto& id : ids_) {
        if (session.verified > 0) return;
        follow_as(session, id);
    }
    if (session.verified == 0 && likely.size() == 1) session.id = SessionId(*likely.begin());
}

void Wreck::follow_as(SessionWreck& session, const std::string& id) {
    if (session.verified > 0) return;
    auto at = static_cast<std::size_t>(first_of(session.no, 1) - candidates_.cbegin());
    for (; at < candidates_.size() && candidates_[at].session == session.no; ++at) {
        auto& candidate = candidates_[at];
        // Of several readings of one event the one counts that its hash proves.
        if (candidate.seq <= session.verified) continue;
        if (candidate.seq > session.verified + 1) break;
        EventHash hash{};
        auto read = read_event(candidate, id, Copy::committed);
        candidate.proven = read && proves(session, *read, hash);
        if (!candidate.proven && !last_.empty()) {
            read = read_event(candidate, id, Copy::last);
            candidate.proven = read && proves(session, *read, hash);
            candidate.copy = Copy::last;
        }
        if (!candidate.proven) continue;
        session.head = hash;
        ++session.verified;
        session.id = SessionId(id);
    }
}

void Wreck::find_gaps(SessionWreck& session) const {
    auto next = session.verified + 1;
    auto at = first_of(session.no, next);
    const auto loose = [&](std::int64_t seq) {
        auto& all = session.loose;
        if (!all.empty() && all.back().last + 1 == seq)
            all.back().last = seq;
        else
            all.push_back({seq, seq});
    };
    for (; at != candidates_.end() && at->session == session.no; ++at) {
        if (at->seq < next || !read_any(*at, session.id.str())) continue;
        if (at->seq > next) session.lost.push_back({next, at->seq - 1});
        loose(at->seq);
        next = at->seq + 1;
    }
    if (next <= session.known) session.lost.push_back({next, session.known});
}

std::vector<Event> Wreck::events(const SessionWreck& session, SeqRange range) const {
    std::vector<Event> out;
    for (auto at = first_of(session.no, range.first);
         at != candidates_.end() && at->session == session.no && at->seq <= range.last; ++at) {
        if (at->seq <= session.verified && !at->proven) continue;
        if (!out.empty() && out.back().seq == at->seq) continue;
        auto read = at->proven ? read_event(*at, session.id.str(), at->copy)
                               : read_any(*at, session.id.str());
        if (read) out.push_back(std::move(read->event));
    }
    return out;
}

}  // namespace volary::store
