// AVX-512 VNNI, which multiplies and sums four bytes of sixteen words at once.
#include "words.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <cstring>

#include "cpu.hpp"

IMAGEFINDER_TARGET_BEGIN("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")

namespace imagefinder {
#include "words_impl.hpp"
namespace {

struct Vnni {
    template <int N>
    static void scores(const std::uint8_t* const* vectors, const std::int8_t* centres, std::size_t groups,
                       const std::int32_t* halves, std::int32_t (*scores)[2 * kWordLanes]) {
        const std::int8_t* const second = centres + groups * kWordLanes * kWordGroup;
        __m512i low[N], high[N];
        for (int n = 0; n < N; ++n) low[n] = high[n] = _mm512_setzero_si512();
        for (std::size_t g = 0; g < groups; ++g) {
            const __m512i a = _mm512_loadu_si512(centres + g * kWordLanes * kWordGroup);
            const __m512i b = _mm512_loadu_si512(second + g * kWordLanes * kWordGroup);
            for (int n = 0; n < N; ++n) {
                std::int32_t four;
                std::memcpy(&four, vectors[n] + g * kWordGroup, sizeof four);
                const __m512i v = _mm512_set1_epi32(four);
                low[n] = _mm512_dpbusd_epi32(low[n], v, a);
                high[n] = _mm512_dpbusd_epi32(high[n], v, b);
            }
        }
        for (int n = 0; n < N; ++n) {
            _mm512_storeu_si512(scores[n], _mm512_sub_epi32(low[n], _mm512_loadu_si512(halves)));
            _mm512_storeu_si512(scores[n] + kWordLanes,
                                _mm512_sub_epi32(high[n], _mm512_loadu_si512(halves + kWordLanes)));
        }
    }
    static std::uint32_t above(const std::int32_t* scores, std::int32_t least) {
        const __m512i limit = _mm512_set1_epi32(least);
        const auto low = static_cast<std::uint32_t>(_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(scores), limit));
        const auto high =
            static_cast<std::uint32_t>(_mm512_cmpgt_epi32_mask(_mm512_loadu_si512(scores + kWordLanes), limit));
        return low | high << kWordLanes;
    }
};

}  // namespace

void nearest_words_avx512(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                          std::int32_t* scores) {
    search_words<Vnni>(words, pairs, many, found, scores);
}

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
