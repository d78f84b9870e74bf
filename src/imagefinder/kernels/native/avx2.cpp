// AVX2 with fused multiply-add.
//
// The usual instruction for bytes (vpmaddubsw) saturates at 32767, which two products of 255 x 255 exceed. So both
// sides are widened to int16, and vpmaddwd sums two products, at most 130050, into an int32: exact. The same applies to
// signed bytes.
#include "kernel.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <cstring>
#include <limits>
#include <utility>

#include "cpu.hpp"

IMAGEFINDER_TARGET_BEGIN("avx2,fma")

namespace imagefinder {
#include "engine.hpp"
#include "lanes8.hpp"
namespace {

template <class Number>
struct Widened : Integers8 {
    using Element = Number;
    using Packed = std::int16_t;
    using Row = std::int16_t;
    static constexpr std::size_t kGroup = 2;
    static constexpr int kRows = 4;  // the two products before their sum need registers too

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        for (std::size_t r = 0; r < count; ++r) start[r] = 0;
        return rows_copied<kGroup>(rows, count, length, copy, stride);
    }
    static Vector multiply_add(Vector sum, __m256i row, Query query) {
        return _mm256_add_epi32(sum, _mm256_madd_epi16(row, query));
    }
};

}  // namespace

constexpr InstructionSet kAvx2 = {"avx2", &cpu_has_avx2, Engine<Widened<std::uint8_t>>::kernel(),
                                  Engine<Widened<std::int8_t>>::kernel(), Engine<Floats8>::kernel()};

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
