// AVX-VNNI: as AVX-512 VNNI (see there), in vectors of eight, for processors without AVX-512.
#include "kernel.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <cstring>
#include <limits>
#include <utility>

#include "cpu.hpp"

IMAGEFINDER_TARGET_BEGIN("avx2,fma,avxvnni")

namespace imagefinder {
#include "engine.hpp"
#include "lanes8.hpp"
namespace {

struct Bytes : Integers8 {
    using Packed = std::int8_t;
    using Row = std::uint8_t;
    static constexpr std::size_t kGroup = 4;

    static Packed packed(Element element) { return static_cast<Packed>(element - 128); }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        for (std::size_t r = 0; r < count; ++r) {
            Value sum = 0;
            for (std::size_t k = 0; k < length; ++k) sum += rows[r * length + k];
            start[r] = 128 * sum;
        }
        stride = length;
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Query query(const Packed* from) { return _mm256_load_si256(reinterpret_cast<const __m256i*>(from)); }
    static Vector multiply_add(Vector sum, __m256i row, Query query) {
#if defined(__GNUC__) && !defined(__clang__)
        __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(row), "x"(query));
        return sum;
#else
        return _mm256_dpbusd_avx_epi32(sum, row, query);
#endif
    }
};

}  // namespace

constexpr InstructionSet kAvxVnni = {"avxvnni", &cpu_has_avxvnni, Engine<Bytes>::kernel(),
                                     Engine<Floats8>::kernel()};

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
