// The nearest neighbour of every descriptor of two images, for one query against many images.
//
// Two descriptors are compared by their dot product; ties are resolved to the lowest index. uint8 and int8 products are
// exact int32 numbers, float32 products are sums of fused multiply-adds (portable: of products) in the order of the
// elements. Both directions use the same number for a pair (i, j).
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

// The longest uint8 (or int8) descriptor whose product, at most length * 255^2, fits into an int32.
constexpr std::size_t kLongestBytes = 33025;
static_assert(kLongestBytes * 255 * 255 <= INT32_MAX && (kLongestBytes + 1) * 255 * 255 > INT32_MAX);

// Maximum number of lanes of any instruction set; arrays indexed by query descriptors are rounded up to this.
constexpr std::size_t kMostLanes = 16;

constexpr std::size_t round_up(std::size_t number, std::size_t step) { return (number + step - 1) / step * step; }

// One element type on one instruction set.
struct Kernel {
    // Bytes of a packed query of n descriptors, and of the scratch memory of `nearest_neighbours`.
    std::size_t (*packed_bytes)(std::size_t n, std::size_t length);
    std::size_t (*scratch_bytes)(std::size_t n, std::size_t length);

    // Packs a query for the kernel, once for all images. `packed` is aligned to 64 bytes.
    void (*pack)(const void* query, std::size_t n, std::size_t length, void* packed);

    // For n > 0 packed query descriptors and m > 0 rows of one image: the best row of each query descriptor
    // (capacity n, rounded up to kMostLanes) and the best query descriptor of each row (m).
    void (*nearest_neighbours)(const void* packed, std::size_t n, std::size_t length, const void* rows, std::size_t m,
                               void* scratch, std::int32_t* row_of_query, std::int32_t* query_of_row);

    // The product of query descriptor i with its best row, from the last call with this scratch memory.
    double (*best_product)(const void* scratch, std::size_t i);
};

struct InstructionSet {
    const char* name;
    bool (*supported)();
    Kernel bytes;         // uint8
    Kernel signed_bytes;  // int8
    Kernel floats;        // float32
};

// Constants, so that no code for an instruction set runs before it is known to be supported.
extern const InstructionSet kAvx512Vnni, kAvxVnni, kAvx2, kNeonDot, kNeon, kPortable;

}  // namespace imagefinder
