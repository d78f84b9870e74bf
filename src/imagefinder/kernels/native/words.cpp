// Plain C++ for every processor, and the dispatch to faster code.
#include "words.hpp"

#include "cpu.hpp"

namespace imagefinder {
#include "words_impl.hpp"
namespace {

struct Plain {
    template <int N>
    static void scores(const std::uint8_t* const* vectors, const std::int8_t* centres, std::size_t groups,
                       const std::int32_t* halves, std::int32_t (*scores)[2 * kWordLanes]) {
        for (int n = 0; n < N; ++n) {
            for (std::size_t half = 0; half < 2; ++half) {
                std::int32_t sums[kWordLanes] = {};
                const std::int8_t* panel = centres + half * groups * kWordLanes * kWordGroup;
                for (std::size_t g = 0; g < groups; ++g, panel += kWordLanes * kWordGroup) {
                    const std::uint8_t* const v = vectors[n] + g * kWordGroup;
                    for (std::size_t lane = 0; lane < kWordLanes; ++lane) {
                        const std::int8_t* const c = panel + lane * kWordGroup;
                        sums[lane] += v[0] * c[0] + v[1] * c[1] + v[2] * c[2] + v[3] * c[3];
                    }
                }
                for (std::size_t lane = 0; lane < kWordLanes; ++lane)
                    scores[n][half * kWordLanes + lane] = sums[lane] - halves[half * kWordLanes + lane];
            }
        }
    }
    static std::uint32_t above(const std::int32_t* scores, std::int32_t least) {
        std::uint32_t found = 0;
        for (std::size_t lane = 0; lane < 2 * kWordLanes; ++lane)
            found |= static_cast<std::uint32_t>(scores[lane] > least) << lane;
        return found;
    }
};

}  // namespace

void nearest_words(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                   std::int32_t* scores) {
#if defined(__x86_64__) || defined(_M_X64)
    static const bool has_vnni = cpu_has_avx512vnni();
    if (has_vnni) return nearest_words_avx512(words, pairs, many, found, scores);
#endif
    nearest_words_plain(words, pairs, many, found, scores);
}

void nearest_words_plain(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                         std::int32_t* scores) {
    search_words<Plain>(words, pairs, many, found, scores);
}

void add_rows(const std::uint8_t* vectors, const std::int32_t* owners, std::size_t rows, std::size_t length,
              std::int32_t* sums, std::int32_t* counts, std::size_t size) {
    for (std::size_t row = 0; row < rows; ++row, vectors += length) {
        if (owners[row] < 0 || static_cast<std::size_t>(owners[row]) >= size) continue;
        const auto owner = static_cast<std::size_t>(owners[row]);
        std::int32_t* const sum = sums + owner * length;
        for (std::size_t i = 0; i < length; ++i) sum[i] += vectors[i];
        ++counts[owner];
    }
}

}  // namespace imagefinder
