// Mutual nearest neighbours of one query with the images of a gallery, on several threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernel.hpp"

namespace imagefinder {

// The instruction sets that this processor supports, the fastest first; never empty.
const std::vector<const InstructionSet*>& supported();

struct Problem {
    const Kernel& kernel;
    const void* query;
    std::size_t n, length;
    const void* gallery;
    std::size_t element;  // bytes of one element
};

// Which mutual nearest neighbours are counted once more: those of query descriptor i whose product is at least
// least[i]. Without counts none are.
struct Near {
    const double* least;
    std::int64_t* counts;
};

// counts[b] becomes the number of mutual nearest neighbours with the rows offsets[b] to offsets[b + 1]. Beside the
// packed query each thread holds a chunk of rows and one int32 per row of the largest image.
void count(const Problem& problem, const std::int64_t* offsets, std::size_t images, std::size_t threads,
           std::int64_t* counts, const Near& near);

// Writes (query descriptor, row) for every mutual pair with the first `rows` of the gallery, rising, and returns
// how many. Room for min(n, rows) pairs.
std::size_t pairs(const Problem& problem, std::size_t rows, std::int64_t* found);

}  // namespace imagefinder
