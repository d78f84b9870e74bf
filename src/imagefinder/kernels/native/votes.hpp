// Votes of a query's binary codes for the images of an inverted file.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

struct InvertedFile {
    const std::int64_t* starts;   // words + 1
    std::size_t words;
    const std::int32_t* owners;   // per posting: row of the image, rising within a word
    const std::uint64_t* codes;   // per posting
    std::size_t postings;
    std::size_t images;
};

struct Ballot {
    const std::int32_t* words;    // of each code of the query, rising
    const std::uint64_t* codes;
    std::size_t size;
    const std::int64_t* weights;  // by Hamming distance, 65
    const std::int64_t* rarities; // by word
};

// Adds to votes[image], for every pair of codes of one word that are each other's nearest within image and query (of
// equals the first), weights[distance] * rarities[word]. What points outside of the file is passed over.
void vote(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes);

// The same by one way of counting bits; the second one only where `cpu_has_avx512popcount` says so.
void vote_plain(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes);
void vote_avx512(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes);

}  // namespace imagefinder
