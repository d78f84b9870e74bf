// AVX-VNNI: like AVX-512 VNNI (see avx512vnni.cpp), with vectors of eight, for processors without AVX-512.
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

template <class Number, class Other, int kBias>
struct Vnni : Integers8 {
    using Element = Number;
    using Packed = Other;
    using Row = Number;
    static constexpr std::size_t kGroup = 4;

    static Packed packed(Element element) { return static_cast<Packed>(element - kBias); }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        for (std::size_t r = 0; r < count; ++r) {
            Value sum = 0;
            for (std::size_t k = 0; k < length; ++k) sum += rows[r * length + k];
            start[r] = kBias * sum;
        }
        stride = length;
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Vector add_products(Vector sum, __m256i of_unsigned, __m256i of_signed) {
#if defined(__GNUC__) && !defined(__clang__)
        __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(of_unsigned), "x"(of_signed));
        return sum;
#else
        return _mm256_dpbusd_avx_epi32(sum, of_unsigned, of_signed);
#endif
    }
};

struct Bytes : Vnni<std::uint8_t, std::int8_t, 128> {
    static Vector multiply_add(Vector sum, __m256i row, Query query) { return add_products(sum, row, query); }
};

struct SignedBytes : Vnni<std::int8_t, std::uint8_t, -128> {
    static Vector multiply_add(Vector sum, __m256i row, Query query) { return add_products(sum, query, row); }
};

}  // namespace

constexpr InstructionSet kAvxVnni = {"avxvnni", &cpu_has_avxvnni, Engine<Bytes>::kernel(),
                                     Engine<SignedBytes>::kernel(), Engine<Floats8>::kernel()};

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
