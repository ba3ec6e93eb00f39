// SPDX-License-Identifier: Apache-2.0
#include "cage/gatekeeper/data_plane.hpp"

#include "base/error.hpp"
#include "base/schedule.hpp"
#include "cage/gatekeeper/net_io.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <fcntl.h>
#include <map>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

namespace volary::cage {
namespace {

// What one way moves before the others get their turn.
constexpr std::size_t kTurn = 1024U * 1024U;
constexpr std::size_t kPipeSize = 1024U * 1024U;
// A way holds a pipe only while a slow receiver leaves bytes in it. Beyond so many, bytes wait in
// the sender's socket and are copied instead: two descriptors and up to 1 MiB each are worth
// bounding, and the kernel gives an ordinary user 64 MiB of pipes (pipe-user-pages-soft).
constexpr std::size_t kMaxPipes = 64;
constexpr std::size_t kCopySize = 64U * 1024U;
constexpr int kMaxEvents = 256;
constexpr unsigned kSpliceFlags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

bool would_block() { return errno == EAGAIN || errno == EWOULDBLOCK; }

struct Pipe {
    UniqueFd out, in;
};

}  // namespace

void DataPlane::Pair::abort() noexcept {
    if (aborted_.exchange(true)) return;
    for (const int fd : {request_.client.get(), request_.peer.get()}) {
        reset_on_close(fd);
        // Wakes the thread: it sees an end where it has not seen one, and looks at `aborted_`.
        (void)::shutdown(fd, SHUT_RDWR);
    }
}

/// One way of a pair, as the thread sees it.
struct DataPlane::Pair::Way {
    int from = -1, to = -1;
    std::atomic<std::uint64_t>* moved = nullptr;
    bool open = false;
    bool end_seen = false;
    Pipe pipe;
    std::size_t held = 0;  ///< bytes in the pipe
};

class DataPlane::Thread {
public:
    explicit Thread(asio::any_io_executor control);
    ~Thread();
    void add(std::shared_ptr<Pair> pair);

private:
    enum class Step { blocked, again, over, failed, paced };
    struct Arrival {
        std::shared_ptr<Pair> pair;
        Arrival* next = nullptr;
    };
    struct Entry {
        std::shared_ptr<Pair> pair;
        Pair::Way up, down;
        bool ready = false;
        bool paced = false;  ///< waits until its cage may move bytes again
    };

    void loop();
    void take_new();
    void adopt(std::shared_ptr<Pair> pair);
    void make_ready(Entry& entry);
    void run_ready();
    bool pump(Entry& entry);
    Step move(Entry& entry, Pair::Way& way);
    int pause();
    Step splice_some(Pair::Way& way, std::size_t most, std::size_t& moved);
    Step copy_some(Pair::Way& way, std::size_t most, std::size_t& moved);
    bool take_pipe(Pair::Way& way);
    void give_pipe(Pair::Way& way);
    void finish(Entry& entry, Outcome outcome);

    asio::any_io_executor control_;
    UniqueFd epoll_, wake_;
    std::atomic<Arrival*> incoming_{nullptr};  ///< the newest first
    std::atomic<bool> closing_{false};
    std::map<Pair*, std::unique_ptr<Entry>> entries_;
    std::vector<Entry*> ready_;
    std::vector<Entry*> paced_;
    std::vector<Pipe> pipes_;
    std::size_t pipes_made_ = 0;
    std::array<char, kCopySize> copy_;
    std::thread thread_;
};

DataPlane::Thread::Thread(asio::any_io_executor control) : control_(std::move(control)) {
    epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_) throw_errno("epoll_create1");
    wake_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!wake_) throw_errno("eventfd");
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.ptr = nullptr;
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0)
        throw_errno("epoll_ctl");
    // Signals are the control thread's: the new thread inherits a mask that blocks them all.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { loop(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    (void)pthread_setname_np(thread_.native_handle(), "volary-data");
}

DataPlane::Thread::~Thread() {
    closing_.store(true, std::memory_order_release);
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
    thread_.join();
    for (auto* arrival = incoming_.exchange(nullptr); arrival != nullptr;)
        delete std::exchange(arrival, arrival->next);
}

void DataPlane::Thread::add(std::shared_ptr<Pair> pair) {
    auto* arrival = new Arrival{std::move(pair), incoming_.load(std::memory_order_relaxed)};
    while (!incoming_.compare_exchange_weak(
        arrival->next, arrival, std::memory_order_release, std::memory_order_relaxed
    )) {
    }
    const std::uint64_t one = 1;
    (void)!::write(wake_.get(), &one, sizeof one);
}

void DataPlane::Thread::loop() {
    prefer_bulk();
    std::array<epoll_event, kMaxEvents> events{};
    while (!closing_.load(std::memory_order_acquire)) {
        const int count = ::epoll_wait(epoll_.get(), events.data(), kMaxEvents, pause());
        for (int i = 0; i < count; ++i) {
            auto* entry = static_cast<Entry*>(events[static_cast<std::size_t>(i)].data.ptr);
            if (entry == nullptr) {
                take_new();
            } else {
                make_ready(*entry);
            }
        }
        run_ready();
    }
}

/// Milliseconds until there is something to do without an event; -1: never. Who waited long enough
/// is ready.
int DataPlane::Thread::pause() {
    const auto now = std::chrono::steady_clock::now();
    BytePace::Wait shortest = BytePace::Wait::max();
    std::erase_if(paced_, [&](Entry* entry) {
        const auto wait = entry->pair->request_.budget->pace.wait(now);
        shortest = std::min(shortest, wait);
        if (wait.count() > 0) return false;
        entry->paced = false;
        make_ready(*entry);
        return true;
    });
    if (!ready_.empty()) return 0;
    if (paced_.empty()) return -1;
    return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(shortest).count());
}

void DataPlane::Thread::take_new() {
    std::uint64_t count = 0;
    (void)!::read(wake_.get(), &count, sizeof count);
    for (auto* next = incoming_.exchange(nullptr, std::memory_order_acquire); next != nullptr;) {
        const std::unique_ptr<Arrival> arrival(std::exchange(next, next->next));
        adopt(std::move(arrival->pair));
    }
}

void DataPlane::Thread::adopt(std::shared_ptr<Pair> pair) {
    auto made = std::make_unique<Entry>();
    auto& entry = *made;
    const int client = pair->request_.client.get();
    const int peer = pair->request_.peer.get();
    entry.up = {client, peer, &pair->up_, pair->request_.up, false, {}, 0};
    entry.down = {peer, client, &pair->down_, pair->request_.down, false, {}, 0};
    entry.pair = std::move(pair);
    auto* key = entry.pair.get();
    entries_.emplace(key, std::move(made));
    epoll_event event{};
    // Edges: what a turn left over is remembered in `ready_`, not asked for again.
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = &entry;
    for (const int fd : {client, peer}) {
        if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0)
            return finish(entry, Outcome::failed);
    }
    make_ready(entry);
}

void DataPlane::Thread::make_ready(Entry& entry) {
    if (std::exchange(entry.ready, true)) return;
    ready_.push_back(&entry);
}

void DataPlane::Thread::run_ready() {
    // Those that are not through with this turn get their next after the events of the others.
    const auto now = std::exchange(ready_, {});
    for (auto* entry : now) {
        entry->ready = false;
        if (pump(*entry)) make_ready(*entry);
    }
}

/// True when there is more to do at once. The entry may be gone afterwards, when false.
bool DataPlane::Thread::pump(Entry& entry) {
    bool again = false;
    for (auto* way : {&entry.up, &entry.down}) {
        if (!way->open) continue;
        const auto step = move(entry, *way);
        if (step == Step::failed) {
            const auto& budget = entry.pair->request_.budget;
            const bool spent = budget && budget->limited && budget->left.load() < 0;
            finish(entry, spent ? Outcome::over_budget : Outcome::failed);
            return false;
        }
        again = again || step == Step::again;
        if (step == Step::paced && !std::exchange(entry.paced, true)) paced_.push_back(&entry);
    }
    if (entry.up.open || entry.down.open) return again;
    finish(entry, Outcome::ended);
    return false;
}

DataPlane::Thread::Step DataPlane::Thread::move(Entry& entry, Pair::Way& way) {
    for (std::size_t turn = 0; turn < kTurn;) {
        if (entry.pair->aborted_.load(std::memory_order_relaxed)) return Step::failed;
        auto& budget = entry.pair->request_.budget;
        const auto now = std::chrono::steady_clock::now();
        const auto most = budget ? budget->pace.allowed(now) : kPipeSize;
        if (most == 0) return Step::paced;
        std::size_t moved = 0;
        const auto step =
            take_pipe(way) ? splice_some(way, most, moved) : copy_some(way, most, moved);
        turn += moved;
        way.moved->fetch_add(moved, std::memory_order_relaxed);
        if (moved > 0 && budget) budget->pace.charge(moved, now);
        if (moved > 0 && budget && budget->spend(moved)) return Step::failed;
        if (way.held == 0) give_pipe(way);
        if (step == Step::over) {
            (void)::shutdown(way.to, SHUT_WR);
            way.open = false;
        }
        if (step != Step::again) return step;
    }
    return Step::again;
}

DataPlane::Thread::Step DataPlane::Thread::splice_some(
    Pair::Way& way, std::size_t most, std::size_t& moved
) {
    if (way.held == 0) {
        const auto size = std::min(most, kPipeSize);
        const auto got =
            ::splice(way.from, nullptr, way.pipe.in.get(), nullptr, size, kSpliceFlags);
        if (got == 0) return Step::over;
        if (got < 0) return would_block() ? Step::blocked : Step::failed;
        way.held = static_cast<std::size_t>(got);
    }
    const auto size = std::min(most, way.held);
    const auto put = ::splice(way.pipe.out.get(), nullptr, way.to, nullptr, size, kSpliceFlags);
    if (put < 0) return would_block() ? Step::blocked : Step::failed;
    way.held -= static_cast<std::size_t>(put);
    moved = static_cast<std::size_t>(put);
    return put > 0 ? Step::again : Step::failed;
}

/// Without a pipe: what was sent is taken from the sender's socket afterwards.
DataPlane::Thread::Step DataPlane::Thread::copy_some(
    Pair::Way& way, std::size_t most, std::size_t& moved
) {
    const auto got = ::recv(way.from, copy_.data(), std::min(most, copy_.size()), MSG_PEEK);
    if (got == 0) return Step::over;
    if (got < 0) return would_block() ? Step::blocked : Step::failed;
    const auto put = ::send(way.to, copy_.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL);
    if (put < 0) return would_block() ? Step::blocked : Step::failed;
    moved = static_cast<std::size_t>(put);
    const auto dropped = ::recv(way.from, nullptr, moved, MSG_TRUNC);
    return dropped == put ? Step::again : Step::failed;
}

bool DataPlane::Thread::take_pipe(Pair::Way& way) {
    if (way.pipe.in) return true;
    if (!pipes_.empty()) {
        way.pipe = std::move(pipes_.back());
        pipes_.pop_back();
        return true;
    }
    int ends[2] = {-1, -1};
    if (pipes_made_ >= kMaxPipes || ::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return false;
    ++pipes_made_;
    way.pipe.out.reset(ends[0]);
    way.pipe.in.reset(ends[1]);
    // Best effort: beyond the user's share the kernel keeps the default of 64 KiB.
    (void)::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(kPipeSize));
    return true;
}

void DataPlane::Thread::give_pipe(Pair::Way& way) {
    if (way.pipe.in) pipes_.push_back(std::exchange(way.pipe, {}));
}

void DataPlane::Thread::finish(Entry& entry, Outcome outcome) {
    for (auto* way : {&entry.up, &entry.down}) {
        // A pipe that still holds bytes cannot serve another connection.
        if (way->pipe.in) --pipes_made_;
        (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, way->from, nullptr);
    }
    auto pair = std::move(entry.pair);
    if (outcome != Outcome::ended) {
        for (const int fd : {pair->request_.client.get(), pair->request_.peer.get()}) {
            reset_on_close(fd);
            (void)::shutdown(fd, SHUT_RDWR);
        }
    }
    pair->outcome_.store(outcome, std::memory_order_release);
    std::erase(ready_, &entry);
    std::erase(paced_, &entry);
    entries_.erase(pair.get());
    // The last owner closes the sockets, and that shall be the control thread: it may be using
    // their numbers this moment.
    asio::post(control_, [pair = std::move(pair)] {
        const auto told = std::move(pair->request_.ended);
        if (told) told();
    });
}

DataPlane::DataPlane(asio::any_io_executor control) : control_(std::move(control)) {}

DataPlane::~DataPlane() = default;

std::shared_ptr<DataPlane::Pair> DataPlane::start(Request request) {
    if (!thread_) thread_ = std::make_unique<Thread>(control_);
    auto pair = std::make_shared<Pair>(std::move(request));
    thread_->add(pair);
    return pair;
}

}  // namespace volary::cage
