// The best partner of every descriptor of two images, for one query against many images.
//
// Two descriptors are compared by their dot product; among equal products the lowest index is the best. uint8 and
// int8 products are exact int32 numbers, float32 products are sums of fused multiply-adds (portable: of products) in the
// order of the elements. Both directions read one and the same number for a pair (i, j).
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

// The longest uint8 (or int8) descriptor whose product, at most length * 255^2, an int32 holds.
constexpr std::size_t kLongestBytes = 33025;
static_assert(kLongestBytes * 255 * 255 <= INT32_MAX && (kLongestBytes + 1) * 255 * 255 > INT32_MAX);

// No vector of any instruction set has more lanes; what is indexed by query descriptors is rounded up to this.
constexpr std::size_t kMostLanes = 16;

constexpr std::size_t round_up(std::size_t number, std::size_t step) { return (number + step - 1) / step * step; }

// One element type on one instruction set.
struct Kernel {
    // Bytes of a query of n descriptors once packed, and of what `best_partners` needs besides.
    std::size_t (*packed_bytes)(std::size_t n, std::size_t length);
    std::size_t (*scratch_bytes)(std::size_t n, std::size_t length);

    // Lays a query out for the kernel; done once for all images. `packed` is aligned to 64 bytes.
    void (*pack)(const void* query, std::size_t n, std::size_t length, void* packed);

    // For n > 0 packed query descriptors and m > 0 rows of one image: the best row of each query descriptor
    // (room for n rounded up to kMostLanes) and the best query descriptor of each row (m).
    void (*best_partners)(const void* packed, std::size_t n, std::size_t length, const void* rows, std::size_t m,
                          void* scratch, std::int32_t* row_of_query, std::int32_t* query_of_row);

    // The product of query descriptor i with its best row, of the last call that had this scratch.
    double (*best_product)(const void* scratch, std::size_t i);
};

struct InstructionSet {
    const char* name;
    bool (*supported)();
    Kernel bytes;         // uint8
    Kernel signed_bytes;  // int8
    Kernel floats;        // float32
};

// Constants, so that nothing compiled for one of them runs before it is known to be supported.
extern const InstructionSet kAvx512Vnni, kAvxVnni, kAvx2, kNeonDot, kNeon, kPortable;

}  // namespace imagefinder
