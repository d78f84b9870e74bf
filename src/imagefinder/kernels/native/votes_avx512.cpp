// AVX-512 with VPOPCNTDQ, which counts the bits of eight codes at once.
#include "votes.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

#include <vector>

#include "cpu.hpp"

IMAGEFINDER_TARGET_BEGIN("avx512f,avx512vpopcntdq")

namespace imagefinder {
#include "votes_impl.hpp"
namespace {

struct Avx512 {
    static std::uint8_t near(const std::uint64_t* codes, std::size_t count, std::uint64_t query_code, int most) {
        const auto inside = static_cast<__mmask8>(0xffu >> (8 - count));
        const __m512i differing = _mm512_xor_si512(_mm512_maskz_loadu_epi64(inside, codes),
                                                   _mm512_set1_epi64(static_cast<long long>(query_code)));
        return static_cast<std::uint8_t>(
            _mm512_mask_cmple_epu64_mask(inside, _mm512_popcnt_epi64(differing), _mm512_set1_epi64(most)));
    }
};

}  // namespace

void vote_avx512(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes) {
    count_votes<Avx512>(file, query, votes);
}

}  // namespace imagefinder

IMAGEFINDER_TARGET_END

#endif
