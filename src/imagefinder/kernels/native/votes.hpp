// Voting of a query's binary codes for the images of an inverted file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

struct InvertedFile {
    const std::int64_t* starts;   // words + 1
    std::size_t words;
    const std::int32_t* owners;   // per posting: row of the image, ascending within a word
    const std::uint64_t* codes;   // per posting
    std::size_t postings;
    std::size_t images;
};

struct VoteQuery {
    const std::int32_t* words;    // word of each query code, ascending
    const std::uint64_t* codes;   // query codes
    std::size_t size;
    const std::int64_t* weights;  // by Hamming distance, 65
    const std::int64_t* rarities; // by word
};

// Adds weights[distance] * rarities[word] to votes[image] for every pair of codes of one word that are mutual nearest
// neighbours within image and query (ties: the first). Indices out of range are ignored.
void vote(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes);

// Implementations for one way of counting bits; the second requires `cpu_has_avx512popcount`.
void vote_plain(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes);
void vote_avx512(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes);

}  // namespace imagefinder
