// AVX-512 with VNNI: vpdpbusd sums four products of an unsigned and a signed byte into each int32.
//
// The query is stored as q - 128, which is signed, and the sum starts at 128 * sum(row), so the result is sum(row * q).
// No step can overflow: after any number of elements the sum lies between 0 and 255 * sum(row).
//
// For signed bytes, the query is stored as q + 128, which is unsigned, and the sum starts at -128 * sum(row). No sum
// exceeds 128^2 times the number of elements.
#include "kernel.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <cstring>
#include <limits>
#include <utility>

#include "cpu.hpp"

IMAGEFINDER_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,bmi,bmi2")

namespace imagefinder {
#include "engine.hpp"
namespace {

struct Lanes16 {
    using Index = __m512i;
    static constexpr std::size_t kLanes = 16;
    static constexpr int kRows = 6, kVectors = 4;
    static Index load_index(const std::int32_t* from) { return _mm512_loadu_si512(from); }
    static void store_index(std::int32_t* to, Index index) { _mm512_storeu_si512(to, index); }
    static Index splat_index(std::int32_t number) { return _mm512_set1_epi32(number); }
    static Index rising_index(std::int32_t first) {
        return _mm512_add_epi32(_mm512_set1_epi32(first),
                                _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
    }
};

struct Integers16 : Lanes16 {
    using Value = std::int32_t;
    using Vector = __m512i;
    using Query = __m512i;
    static constexpr std::size_t kGroup = 4;
    static constexpr Value kLeast = std::numeric_limits<Value>::min();

    // The sum of bytes; 128 is added to signed ones, which makes them unsigned.
    template <bool kSigned>
    static long long sum(const void* bytes, std::size_t length) {
        __m512i sums = _mm512_setzero_si512();
        for (std::size_t k = 0; k < length; k += 64) {
            const __mmask64 inside = length - k < 64 ? _bzhi_u64(~0ULL, static_cast<unsigned>(length - k)) : ~0ULL;
            __m512i part = _mm512_maskz_loadu_epi8(inside, static_cast<const char*>(bytes) + k);
            if (kSigned) part = _mm512_mask_add_epi8(part, inside, part, _mm512_set1_epi8(-128));
            sums = _mm512_add_epi64(sums, _mm512_sad_epu8(part, _mm512_setzero_si512()));
        }
        return _mm512_reduce_add_epi64(sums);
    }
    static Vector splat(Value value) { return _mm512_set1_epi32(value); }
    static Vector load(const Value* from) { return _mm512_loadu_si512(from); }
    static void store(Value* to, Vector vector) { _mm512_storeu_si512(to, vector); }
    static Query query(const void* from) { return _mm512_load_si512(from); }
    static __m512i row(const void* from) {
        std::int32_t group;
        std::memcpy(&group, from, sizeof group);
        return _mm512_set1_epi32(group);
    }
    static Vector add_products(Vector sum, __m512i of_unsigned, __m512i of_signed) {
#if defined(__GNUC__) && !defined(__clang__)
        // GCC 12 copies the sum before each intrinsic, which spills half of the tile and halves the speed.
        __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(of_unsigned), "v"(of_signed));
        return sum;
#else
        return _mm512_dpbusd_epi32(sum, of_unsigned, of_signed);
#endif
    }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const __mmask16 greater = _mm512_cmpgt_epi32_mask(value, best);
        best = _mm512_max_epi32(value, best);
        at = _mm512_mask_mov_epi32(at, greater, index);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        const __m512i values = load(best);
        const __mmask16 equal = _mm512_cmpeq_epi32_mask(values, splat(_mm512_reduce_max_epi32(values)));
        return _mm512_mask_reduce_min_epi32(equal, load_index(at));
    }
};

struct Bytes : Integers16 {
    using Element = std::uint8_t;
    using Packed = std::int8_t;
    using Row = std::uint8_t;

    static Packed packed(Element element) { return static_cast<Packed>(element - 128); }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        for (std::size_t r = 0; r < count; ++r) start[r] = static_cast<Value>(128 * sum<false>(rows + r * length, length));
        stride = length;
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Vector multiply_add(Vector sum, __m512i row, Query query) { return add_products(sum, row, query); }
};

struct SignedBytes : Integers16 {
    using Element = std::int8_t;
    using Packed = std::uint8_t;
    using Row = std::int8_t;

    static Packed packed(Element element) { return static_cast<Packed>(element + 128); }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row* copy, Value* start,
                              std::size_t& stride) {
        const long long bias = 128 * static_cast<long long>(length);
        for (std::size_t r = 0; r < count; ++r)
            start[r] = static_cast<Value>(-128 * (sum<true>(rows + r * length, length) - bias));
        stride = length;
        return length % kGroup ? rows_copied<kGroup>(rows, count, length, copy, stride) : rows;
    }
    static Vector multiply_add(Vector sum, __m512i row, Query query) { return add_products(sum, query, row); }
};

struct Floats : Lanes16 {
    using Element = float;
    using Packed = float;
    using Row = float;
    using Value = float;
    using Vector = __m512;
    using Query = __m512;
    static constexpr std::size_t kGroup = 1;
    static constexpr Value kLeast = -std::numeric_limits<Value>::infinity();

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    static Vector splat(Value value) { return _mm512_set1_ps(value); }
    static Vector load(const Value* from) { return _mm512_loadu_ps(from); }
    static void store(Value* to, Vector vector) { _mm512_storeu_ps(to, vector); }
    static Query query(const Packed* from) { return _mm512_load_ps(from); }
    static Vector row(const Row* from) { return _mm512_set1_ps(*from); }
    static Vector multiply_add(Vector sum, Vector row, Query query) { return _mm512_fmadd_ps(row, query, sum); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const __mmask16 greater = _mm512_cmp_ps_mask(value, best, _CMP_GT_OQ);
        best = _mm512_mask_mov_ps(best, greater, value);
        at = _mm512_mask_mov_epi32(at, greater, index);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        const __m512 values = load(best);
        const __mmask16 equal = _mm512_cmp_ps_mask(values, splat(_mm512_reduce_max_ps(values)), _CMP_EQ_OQ);
        return _mm512_mask_reduce_min_epi32(equal, load_index(at));
    }
};

}  // namespace

constexpr InstructionSet kAvx512Vnni = {"avx512vnni", &cpu_has_avx512vnni, Engine<Bytes>::kernel(),
                                        Engine<SignedBytes>::kernel(), Engine<Floats>::kernel()};

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
