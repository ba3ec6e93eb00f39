// SPDX-License-Identifier: Apache-2.0
#include "daemon/store/worker.hpp"

#include "base/error.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <mutex>
#include <pthread.h>
#include <thread>
#include <utility>

namespace volary::store {
namespace {

// Each waiting request is a suspended coroutine of a client: beyond this the disk is far behind
// and more waiting helps nobody.
constexpr std::size_t kMaxWaiting = 65'536;

// Bounds how long the first of a group waits for the last: about ten milliseconds of work.
constexpr std::size_t kMaxGroup = 1024;

// Writers that were in one commit come back together, the first of them before the others: it is
// worth waiting this long for half of them, because a commit of its own costs the disk a flush.
constexpr std::chrono::microseconds kGather{200};
constexpr std::size_t kWorthGathering = 4;

// A burst leaves megabytes in the page cache; after this long without work they go back.
constexpr std::chrono::seconds kIdle{5};

/// Runs one task of a group. Gives its error when it alone failed; throws when the whole
/// transaction is lost.
std::exception_ptr run_isolated(Database& db, Task& task) {
    Savepoint savepoint(db);
    std::exception_ptr failed;
    try {
        task.run(db);
        savepoint.release();
        return nullptr;
    } catch (const Error& error) {
        // No disk, no group: what is left of it would not fit either.
        if (error.code() == Errc::unavailable || !db.in_transaction()) throw;
        failed = std::current_exception();
    } catch (...) {
        failed = std::current_exception();
    }
    savepoint.rollback();
    return failed;
}

}  // namespace

void commit_group(Database& db, std::vector<std::unique_ptr<Task>>& group) {
    std::vector<std::exception_ptr> errors(group.size());
    try {
        Transaction transaction(db);
        // One alone needs no savepoint: its failure is the transaction's.
        if (group.size() == 1) {
            group.front()->run(db);
        } else {
            for (std::size_t i = 0; i < group.size(); ++i) errors[i] = run_isolated(db, *group[i]);
        }
        transaction.commit();
    } catch (...) {
        // Also those that had failed alone: they may have failed against rows that are undone.
        errors.assign(group.size(), std::current_exception());
    }
    for (std::size_t i = 0; i < group.size(); ++i) group[i]->finish(std::move(errors[i]));
    group.clear();
}

struct Worker::Shared {
    std::string name;
    Batching batching;
    std::unique_ptr<Database> db;  // the thread's; the pointer itself is guarded by mutex

    mutable std::mutex mutex;
    std::condition_variable wake;
    std::deque<std::unique_ptr<Task>> waiting;  // guarded by mutex, as are the next four
    std::size_t wanted = 1;                     // so many are worth a wake-up
    std::size_t running = 0;
    bool closing = false;
    std::vector<std::unique_ptr<Task>> close_waiters;
    bool closed = false;

    std::thread thread;
};

Worker::Worker(std::string name, std::unique_ptr<Database> db, Batching batching)
    : shared_(std::make_unique<Shared>()) {
    shared_->name = std::move(name);
    shared_->batching = batching;
    shared_->db = std::move(db);
    // Signals are the control thread's: the new thread inherits a mask that blocks them all.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    shared_->thread = std::thread([this] { loop(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    (void)pthread_setname_np(shared_->thread.native_handle(), shared_->name.c_str());
}

Worker::~Worker() {
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->closing = true;
    }
    shared_->wake.notify_one();
    shared_->thread.join();
}

void Worker::submit(std::unique_ptr<Task> task) {
    std::exception_ptr refused;
    bool enough = false;
    {
        const std::lock_guard lock(shared_->mutex);
        if (shared_->closing) {
            refused = std::make_exception_ptr(Error(Errc::unavailable, "the store is closed"));
        } else if (shared_->waiting.size() >= kMaxWaiting) {
            refused =
                std::make_exception_ptr(Error(Errc::busy, "too many requests wait for the database")
                );
        } else {
            shared_->waiting.push_back(std::move(task));
            enough = shared_->waiting.size() >= shared_->wanted;
        }
    }
    if (refused)
        task->finish(std::move(refused));
    else if (enough)
        shared_->wake.notify_one();
}

void Worker::submit_close(std::unique_ptr<Task> task) {
    {
        const std::lock_guard lock(shared_->mutex);
        shared_->closing = true;
        if (!shared_->closed) shared_->close_waiters.push_back(std::move(task));
    }
    if (task)
        task->finish(nullptr);
    else
        shared_->wake.notify_one();
}

asio::awaitable<void> Worker::close() {
    auto nothing = [](Database&) {};
    auto start = [this](auto handler, auto job) {
        using Made = HandlerTask<decltype(handler), decltype(job)>;
        submit_close(std::make_unique<Made>(std::move(handler), std::move(job)));
    };
    return asio::async_initiate<const asio::use_awaitable_t<>, void(std::exception_ptr)>(
        std::move(start), asio::use_awaitable, std::move(nothing)
    );
}

void Worker::interrupt() {
    const std::lock_guard lock(shared_->mutex);
    if (shared_->db) shared_->db->interrupt();
}

std::size_t Worker::load() const {
    const std::lock_guard lock(shared_->mutex);
    return shared_->waiting.size() + shared_->running;
}

void Worker::wait_for_work(std::unique_lock<std::mutex>& lock) {
    const auto ready = [this] { return shared_->closing || !shared_->waiting.empty(); };
    if (shared_->wake.wait_for(lock, kIdle, ready)) return;
    shared_->db->release_memory();
    shared_->wake.wait(lock, ready);
}

void Worker::gather(std::unique_lock<std::mutex>& lock, std::size_t last_group) {
    if (last_group < kWorthGathering) return;
    shared_->wanted = std::min(last_group / 2, kMaxGroup);
    shared_->wake.wait_for(lock, kGather, [this] {
        return shared_->closing || shared_->waiting.size() >= shared_->wanted;
    });
    shared_->wanted = 1;
}

void Worker::loop() {
    Shared& shared = *shared_;
    const std::size_t take = shared.batching == Batching::group_commit ? kMaxGroup : 1;
    std::vector<std::unique_ptr<Task>> group;
    std::unique_lock lock(shared.mutex);
    while (true) {
        const auto last_group = std::exchange(shared.running, 0);
        wait_for_work(lock);
        if (shared.waiting.empty()) break;
        if (shared.batching == Batching::group_commit) gather(lock, last_group);
        while (!shared.waiting.empty() && group.size() < take) {
            group.push_back(std::move(shared.waiting.front()));
            shared.waiting.pop_front();
        }
        shared.running = group.size();
        lock.unlock();
        if (shared.batching == Batching::group_commit) {
            commit_group(*shared.db, group);
        } else {
            std::exception_ptr error;
            try {
                group.front()->run(*shared.db);
            } catch (...) {
                error = std::current_exception();
            }
            group.front()->finish(std::move(error));
            group.clear();
        }
        lock.lock();
    }
    auto db = std::move(shared.db);  // from here on nobody interrupts it
    lock.unlock();
    db.reset();
    lock.lock();
    shared.closed = true;
    for (auto& waiter : shared.close_waiters) waiter->finish(nullptr);
    shared.close_waiters.clear();
}

}  // namespace volary::store
