// The only place where native code starts threads.
#pragma once

#include <functional>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

namespace imagefinder {

// Runs `work` with each worker, in one thread each; this thread is the first. Workers contain all the memory that is
// needed, so that threads cannot fail; the work is shared through an atomic counter.
template <class Worker, class Work>
void run(const std::vector<std::unique_ptr<Worker>>& workers, const Work& work) {
    std::vector<std::thread> others;
    others.reserve(workers.size());
    try {
        for (std::size_t t = 1; t < workers.size(); ++t) others.emplace_back(std::cref(work), std::ref(*workers[t]));
    } catch (const std::system_error&) {
        // No more threads are available: the running ones do all the work.
    }
    work(*workers[0]);
    for (std::thread& other : others) other.join();
}

}  // namespace imagefinder
