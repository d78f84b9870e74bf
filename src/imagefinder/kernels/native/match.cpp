#include "match.hpp"

#include <algorithm>
#include <atomic>
#include <memory>

#include "parallel.hpp"

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

    void match(const void* descriptors, std::size_t rows) {
        const Problem& p = query_.problem();
        p.kernel.nearest_neighbours(query_.packed(), p.n, p.length, descriptors, rows, scratch_.get(),
                                    row_of_query_.data(), query_of_row_.data());
    }
    std::size_t row_of(std::size_t i) const { return static_cast<std::size_t>(row_of_query_[i]); }
    bool mutual(std::size_t i) const { return static_cast<std::size_t>(query_of_row_[row_of(i)]) == i; }
    double product(std::size_t i) const { return query_.problem().kernel.best_product(scratch_.get(), i); }
    // Writes all mutual pairs, ascending; returns the end of what is written.
    std::int64_t* write(std::int64_t* to) const {
        for (std::size_t i = 0; i < query_.problem().n; ++i) {
            if (!mutual(i)) continue;
            *to++ = static_cast<std::int64_t>(i);
            *to++ = static_cast<std::int64_t>(row_of(i));
        }
        return to;
    }

private:
    const Query& query_;
    Aligned scratch_;
    std::vector<std::int32_t> row_of_query_, query_of_row_;
};

// At most `threads` workers, each with work that is worth a thread, for `rows` in images of up to `most`.
std::vector<std::unique_ptr<Worker>> workers_for(const Query& query, std::size_t threads, std::size_t rows,
                                                 std::size_t most) {
    const double multiplications = static_cast<double>(rows) * static_cast<double>(query.problem().n) *
                                   static_cast<double>(query.problem().length);
    threads = std::min(threads, 1 + static_cast<std::size_t>(multiplications / kWorthAThread));
    std::vector<std::unique_ptr<Worker>> workers;
    for (std::size_t t = 0; t < threads; ++t) workers.push_back(std::make_unique<Worker>(query, most));
    return workers;
}

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

void count(const Problem& problem, const void* gallery, const std::int64_t* offsets, std::size_t images,
           std::size_t threads, std::int64_t* counts, const Near& near, const Kept& kept) {
    std::fill(counts, counts + images, 0);
    if (near.counts) std::fill(near.counts, near.counts + images, 0);
    if (kept.begins) std::fill(kept.begins, kept.begins + images, 0);
    if (problem.n == 0 || images == 0) return;
    const Query query(problem);
    std::size_t most = 0;
    for (std::size_t b = 0; b < images; ++b)
        most = std::max(most, static_cast<std::size_t>(offsets[b + 1] - offsets[b]));

    const auto* const descriptors = static_cast<const unsigned char*>(gallery);
    std::atomic<std::size_t> next{0}, used{0};
    const auto work = [&](Worker& worker) {
        for (std::size_t b = next++; b < images; b = next++) {
            const auto rows = static_cast<std::size_t>(offsets[b + 1] - offsets[b]);
            if (rows == 0) continue;
            worker.match(descriptors + static_cast<std::size_t>(offsets[b]) * problem.length * problem.element, rows);
            for (std::size_t i = 0; i < problem.n; ++i) {
                if (!worker.mutual(i)) continue;
                ++counts[b];
                if (near.counts) near.counts[b] += worker.product(i) >= near.least[i];
            }
            if (!kept.begins) continue;
            const std::size_t at = used.fetch_add(static_cast<std::size_t>(counts[b]));
            const bool fits = at + static_cast<std::size_t>(counts[b]) <= kept.capacity;
            kept.begins[b] = fits ? static_cast<std::int64_t>(at) : -1;
            if (fits) worker.write(kept.found + 2 * at);
        }
    };
    const auto rows = static_cast<std::size_t>(offsets[images] - offsets[0]);
    run(workers_for(query, std::min(threads, images), rows, most), work);
}

void pairs(const Problem& problem, const std::vector<Descriptors>& images, std::size_t threads, std::int64_t* found,
           std::int64_t* counts) {
    std::vector<std::int64_t*> at;  // where the pairs of each image begin
    std::size_t most = 0, total = 0;
    for (const Descriptors& image : images) {
        at.push_back(found);
        found += 2 * std::min(problem.n, image.rows);
        most = std::max(most, image.rows);
        total += image.rows;
    }
    std::fill(counts, counts + images.size(), 0);
    if (problem.n == 0 || total == 0) return;
    const Query query(problem);
    std::atomic<std::size_t> next{0};
    const auto work = [&](Worker& worker) {
        for (std::size_t b = next++; b < images.size(); b = next++) {
            if (images[b].rows == 0) continue;
            worker.match(images[b].data, images[b].rows);
            counts[b] = (worker.write(at[b]) - at[b]) / 2;
        }
    };
    run(workers_for(query, std::min(threads, images.size()), total, most), work);
}

}  // namespace imagefinder
