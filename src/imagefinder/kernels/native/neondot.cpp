// NEON with the byte dot product (udot, sdot): both sides are unsigned or both signed, and four products are summed
// into each 32-bit number. Exact without a bias.
#include "kernel.hpp"

#if defined(__aarch64__) && defined(__GNUC__)

#include <arm_neon.h>

#include <cstring>
#include <limits>
#include <utility>

#include "cpu.hpp"

#if defined(__clang__)
IMAGEFINDER_TARGET_BEGIN("dotprod")
#else
IMAGEFINDER_TARGET_BEGIN("arch=armv8.2-a+dotprod")
#endif

namespace imagefinder {
#include "engine.hpp"
#include "lanes4.hpp"
namespace {

struct Bytes : Unsigned4 {
    using Packed = std::uint8_t;
    using Query = uint8x16_t;
    static constexpr std::size_t kGroup = 4;

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        rows_in_place(rows, count, length, start, stride);
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Query query(const Packed* from) { return vld1q_u8(from); }
    static uint8x16_t row(const Row* from) {
        std::uint32_t group;
        std::memcpy(&group, from, sizeof group);
        return vreinterpretq_u8_u32(vdupq_n_u32(group));
    }
    static Vector multiply_add(Vector sum, uint8x16_t row, Query query) { return vdotq_u32(sum, row, query); }
};

struct SignedBytes : Signed4 {
    using Packed = std::int8_t;
    using Query = int8x16_t;
    static constexpr std::size_t kGroup = 4;

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        rows_in_place(rows, count, length, start, stride);
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Query query(const Packed* from) { return vld1q_s8(from); }
    static int8x16_t row(const Row* from) {
        std::int32_t group;
        std::memcpy(&group, from, sizeof group);
        return vreinterpretq_s8_s32(vdupq_n_s32(group));
    }
    static Vector multiply_add(Vector sum, int8x16_t row, Query query) { return vdotq_s32(sum, row, query); }
};

}  // namespace

constexpr InstructionSet kNeonDot = {"neon-dot", &cpu_has_neon_dot, Engine<Bytes>::kernel(),
                                     Engine<SignedBytes>::kernel(), Engine<Floats4>::kernel()};

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
