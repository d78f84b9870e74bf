#include "dots.hpp"

#include "cpu.hpp"

namespace imagefinder {

std::int32_t plain_dot(const std::int8_t* row, const std::int16_t* vector, std::size_t length) {
    std::int32_t sum = 0;
    for (std::size_t k = 0; k < length; ++k) sum += static_cast<std::int32_t>(row[k]) * vector[k];
    return sum;
}

}  // namespace imagefinder

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

IMAGEFINDER_TARGET_BEGIN("avx2")

namespace imagefinder {
namespace {

std::int32_t avx2_dot(const std::int8_t* row, const std::int16_t* vector, std::size_t length) {
    __m256i sums = _mm256_setzero_si256();
    std::size_t k = 0;
    for (; k + 16 <= length; k += 16) {
        const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(row + k)));
        const __m256i other = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(vector + k));
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(wide, other));
    }
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return _mm_cvtsi128_si32(half) + plain_dot(row + k, vector + k, length - k);
}

}  // namespace
}  // namespace imagefinder

IMAGEFINDER_TARGET_END

imagefinder::Dot imagefinder::fastest_dot() {
    static const Dot dot = cpu_has_avx2() ? avx2_dot : plain_dot;
    return dot;
}

#else

imagefinder::Dot imagefinder::fastest_dot() { return plain_dot; }

#endif
