// Mutual nearest neighbours between one query and the images of a gallery, on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel.hpp"

namespace imagefinder {

// The instruction sets supported by this processor, fastest first; never empty.
const std::vector<const InstructionSet*>& supported();

struct Problem {
    const Kernel& kernel;
    const void* query;
    std::size_t n, length;
    const void* gallery;
    std::size_t element;  // bytes of one element
};

// Also counts the near ones: mutual nearest neighbours of query descriptor i with a product of at least least[i].
// Disabled if `counts` is null.
struct Near {
    const double* least;
    std::int64_t* counts;
};

// Sets counts[b] to the number of mutual nearest neighbours with the rows offsets[b] to offsets[b + 1]. In addition to
// the packed query, each thread needs memory for a chunk of rows and one int32 per row of the largest image.
void count(const Problem& problem, const std::int64_t* offsets, std::size_t images, std::size_t threads,
           std::int64_t* counts, const Near& near);

// Writes (query descriptor, row) for every mutual pair with the first `rows` of the gallery, ascending, and returns
// their number. `found` must have capacity for min(n, rows) pairs.
std::size_t pairs(const Problem& problem, std::size_t rows, std::int64_t* found);

}  // namespace imagefinder
