// NEON, which all 64-bit ARM processors have. Bytes are widened to uint16 or int16, and umlal or smlal adds one product
// to each 32-bit sum: exact.
#include "kernel.hpp"

#if defined(__aarch64__) && defined(__GNUC__)

#include <arm_neon.h>

#include <cstring>
#include <limits>
#include <utility>

#include "cpu.hpp"

namespace imagefinder {
#include "engine.hpp"
#include "lanes4.hpp"
namespace {

struct Bytes : Unsigned4 {
    using Packed = std::uint16_t;
    using Query = uint16x4_t;
    static constexpr std::size_t kGroup = 1;

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    static Query query(const Packed* from) { return vld1_u16(from); }
    static uint16x4_t row(const Row* from) { return vdup_n_u16(*from); }
    static Vector multiply_add(Vector sum, uint16x4_t row, Query query) { return vmlal_u16(sum, row, query); }
};

struct SignedBytes : Signed4 {
    using Packed = std::int16_t;
    using Query = int16x4_t;
    static constexpr std::size_t kGroup = 1;

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    static Query query(const Packed* from) { return vld1_s16(from); }
    static int16x4_t row(const Row* from) { return vdup_n_s16(*from); }
    static Vector multiply_add(Vector sum, int16x4_t row, Query query) { return vmlal_s16(sum, row, query); }
};

bool always() { return true; }

}  // namespace

constexpr InstructionSet kNeon = {"neon", &always, Engine<Bytes>::kernel(), Engine<SignedBytes>::kernel(),
                                  Engine<Floats4>::kernel()};

}  // namespace imagefinder

#endif
