#include "match.hpp"

#include <algorithm>
#include <atomic>
#include <memory>
#include <system_error>
#include <thread>

namespace imagefinder {
namespace {

// Starting a thread takes about ten microseconds, so each gets at least this many multiplications.
constexpr std::size_t kWorthAThread = 4'000'000;

// Memory aligned to the widest vectors.
class Aligned {
public:
    explicit Aligned(std::size_t bytes) : memory_(new unsigned char[bytes + 64]) {}
    void* get() const {
        return reinterpret_cast<void*>(round_up(reinterpret_cast<std::uintptr_t>(memory_.get()), 64));
    }

private:
    std::unique_ptr<unsigned char[]> memory_;
};

class Query {
public:
    explicit Query(const Problem& problem)
        : problem_(problem), packed_(problem.kernel.packed_bytes(problem.n, problem.length)) {
        problem.kernel.pack(problem.query, problem.n, problem.length, packed_.get());
    }
    const Problem& problem() const { return problem_; }
    const void* packed() const { return packed_.get(); }

private:
    Problem problem_;
    Aligned packed_;
};

// The memory that one thread needs to match images of up to `most` rows.
class Worker {
public:
    Worker(const Query& query, std::size_t most)
        : query_(query),
          scratch_(query.problem().kernel.scratch_bytes(query.problem().n, query.problem().length)),
          row_of_query_(round_up(query.problem().n, kMostLanes)),
          query_of_row_(most) {}

    void match(std::size_t first, std::size_t rows) {
        const Problem& p = query_.problem();
        p.kernel.nearest_neighbours(query_.packed(), p.n, p.length,
                               static_cast<const unsigned char*>(p.gallery) + first * p.length * p.element, rows,
                               scratch_.get(), row_of_query_.data(), query_of_row_.data());
    }
    std::size_t row_of(std::size_t i) const { return static_cast<std::size_t>(row_of_query_[i]); }
    bool mutual(std::size_t i) const { return static_cast<std::size_t>(query_of_row_[row_of(i)]) == i; }
    double product(std::size_t i) const { return query_.problem().kernel.best_product(scratch_.get(), i); }

private:
    const Query& query_;
    Aligned scratch_;
    std::vector<std::int32_t> row_of_query_, query_of_row_;
};

}  // namespace

const std::vector<const InstructionSet*>& supported() {
    static const std::vector<const InstructionSet*> found = [] {
        std::vector<const InstructionSet*> sets;
        for (const InstructionSet* set : {
#if defined(__x86_64__) || defined(_M_X64)
                 &kAvx512Vnni, &kAvxVnni, &kAvx2,
#elif defined(__aarch64__) && defined(__GNUC__)
                 &kNeonDot, &kNeon,
#endif
                 &kPortable})
            if (set->supported()) sets.push_back(set);
        return sets;
    }();
    return found;
}

void count(const Problem& problem, const std::int64_t* offsets, std::size_t images, std::size_t threads,
           std::int64_t* counts, const Near& near) {
    std::fill(counts, counts + images, 0);
    if (near.counts) std::fill(near.counts, near.counts + images, 0);
    if (problem.n == 0 || images == 0) return;
    const Query query(problem);
    std::size_t most = 0;
    for (std::size_t b = 0; b < images; ++b)
        most = std::max(most, static_cast<std::size_t>(offsets[b + 1] - offsets[b]));

    std::atomic<std::size_t> next{0};
    const auto work = [&](Worker& worker) {
        for (std::size_t b = next++; b < images; b = next++) {
            const auto rows = static_cast<std::size_t>(offsets[b + 1] - offsets[b]);
            if (rows == 0) continue;
            worker.match(static_cast<std::size_t>(offsets[b]), rows);
            for (std::size_t i = 0; i < problem.n; ++i) {
                if (!worker.mutual(i)) continue;
                ++counts[b];
                if (near.counts) near.counts[b] += worker.product(i) >= near.least[i];
            }
        }
    };
    const double multiplications =
        static_cast<double>(offsets[images] - offsets[0]) * static_cast<double>(problem.n * problem.length);
    threads = std::min({threads, images, 1 + static_cast<std::size_t>(multiplications / kWorthAThread)});

    // All memory is allocated before any thread starts, so that threads cannot fail.
    std::vector<std::unique_ptr<Worker>> workers;
    for (std::size_t t = 0; t < threads; ++t) workers.push_back(std::make_unique<Worker>(query, most));
    std::vector<std::thread> others;
    others.reserve(threads);
    try {
        for (std::size_t t = 1; t < threads; ++t) others.emplace_back(work, std::ref(*workers[t]));
    } catch (const std::system_error&) {
        // No more threads are available: the running ones do all the work.
    }
    work(*workers[0]);
    for (std::thread& other : others) other.join();
}

std::size_t pairs(const Problem& problem, std::size_t rows, std::int64_t* found) {
    if (problem.n == 0 || rows == 0) return 0;
    const Query query(problem);
    Worker worker(query, rows);
    worker.match(0, rows);
    std::size_t count = 0;
    for (std::size_t i = 0; i < problem.n; ++i) {
        if (!worker.mutual(i)) continue;
        found[2 * count] = static_cast<std::int64_t>(i);
        found[2 * count + 1] = static_cast<std::int64_t>(worker.row_of(i));
        ++count;
    }
    return count;
}

}  // namespace imagefinder
