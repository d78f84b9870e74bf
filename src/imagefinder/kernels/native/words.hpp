// The nearest words of byte vectors within cells of a visual vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

constexpr std::size_t kWordLanes = 16, kWordGroup = 4, kMostNearest = 64;
constexpr std::int32_t kNoWord = -2147483647;  // score of a missing word: smaller than that of any other

// Centres of words minus 128, in panels of kWordLanes words: cells x panels x groups x lanes x group.
struct Words {
    const std::int8_t* centres;
    const std::int32_t* halves;  // by cell and word: half of the squared length of the centre
    std::size_t cells, panels, groups;
};

// Vectors to look up: pair i compares row rows[i] with the words of cell cells[i].
struct WordPairs {
    const std::uint8_t* vectors;  // rows x groups x group
    const std::int32_t* rows;
    const std::int32_t* cells;
    std::size_t rows_in_all, size;
};

// For each pair the `many` words with the greatest scores (product with the stored centre minus half), best first, ties
// in order of words; -1 and kNoWord where there are fewer. Fastest if equal cells follow one another.
void nearest_words(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                   std::int32_t* scores);

// Adds each row of vectors to the sum of its owner and counts it. Owners out of range are ignored.
void add_rows(const std::uint8_t* vectors, const std::int32_t* owners, std::size_t rows, std::size_t length,
              std::int32_t* sums, std::int32_t* counts, std::size_t size);

// Implementations; the second requires `cpu_has_avx512vnni`.
void nearest_words_plain(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                         std::int32_t* scores);
void nearest_words_avx512(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                          std::int32_t* scores);

}  // namespace imagefinder
