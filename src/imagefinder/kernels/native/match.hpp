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
    std::size_t element;  // bytes of one element
};

// The descriptors of one image.
struct Descriptors {
    const void* data;
    std::size_t rows;
};

// Also counts the near ones: mutual nearest neighbours of query descriptor i with a product of at least least[i].
// Disabled if `counts` is null.
struct Near {
    const double* least;
    std::int64_t* counts;
};

// Also keeps mutual pairs (query descriptor, row), ascending: those of image b are found[begins[b]] and the following
// ones; begins[b] is -1 if there was no room for all of them. Disabled if `begins` is null.
struct Kept {
    std::int64_t* found;
    std::size_t capacity;  // pairs
    std::int64_t* begins;
};

// Sets counts[b] to the number of mutual nearest neighbours with the rows offsets[b] to offsets[b + 1] of the gallery.
// In addition to the packed query, each thread needs memory for a chunk of rows and one int32 per row of the largest
// image.
void count(const Problem& problem, const void* gallery, const std::int64_t* offsets, std::size_t images,
           std::size_t threads, std::int64_t* counts, const Near& near, const Kept& kept);

// Writes (query descriptor, row) for every mutual pair with each image, ascending, and their number to counts[b].
// `found` has capacity for min(n, rows) pairs of each image; those of image b begin after the capacity of the images
// before it.
void pairs(const Problem& problem, const std::vector<Descriptors>& images, std::size_t threads, std::int64_t* found,
           std::int64_t* counts);

}  // namespace imagefinder
