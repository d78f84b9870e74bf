#include "votes.hpp"

#include <algorithm>
#include <vector>

namespace imagefinder {
namespace {

// Population count without an instruction for it: the baseline of x86-64 has none.
inline int distance(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a ^ b;
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return static_cast<int>((x * 0x0101010101010101u) >> 56);
}

}  // namespace

void vote(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes) {
    std::vector<int> best_of_query;
    std::vector<std::size_t> posting_of_query;
    const std::int64_t last = static_cast<std::int64_t>(file.postings);
    for (std::size_t begin = 0, end; begin < ballot.size; begin = end) {
        const std::int32_t word = ballot.words[begin];
        for (end = begin + 1; end < ballot.size && ballot.words[end] == word;) ++end;
        if (word < 0 || static_cast<std::size_t>(word) >= file.words) continue;
        const std::int64_t rarity = ballot.rarities[word];
        const std::int64_t from = std::clamp<std::int64_t>(file.starts[word], 0, last);
        const std::int64_t to = std::clamp<std::int64_t>(file.starts[word + 1], from, last);
        const std::size_t asked = end - begin;
        for (std::int64_t p = from, next; p < to; p = next) {
            const std::int32_t owner = file.owners[p];
            for (next = p + 1; next < to && file.owners[next] == owner;) ++next;
            if (owner < 0 || static_cast<std::size_t>(owner) >= file.images) continue;
            if (asked == 1 && next == p + 1) {
                votes[owner] += ballot.weights[distance(file.codes[p], ballot.codes[begin])] * rarity;
                continue;
            }
            best_of_query.assign(asked, 65);
            posting_of_query.assign(asked, 0);
            for (std::int64_t r = p; r < next; ++r)
                for (std::size_t q = 0; q < asked; ++q) {
                    const int d = distance(file.codes[r], ballot.codes[begin + q]);
                    if (d < best_of_query[q]) {
                        best_of_query[q] = d;
                        posting_of_query[q] = static_cast<std::size_t>(r);
                    }
                }
            for (std::size_t q = 0; q < asked; ++q) {
                // Mutual unless another code of the query is nearer to this posting, or as near and earlier.
                const std::uint64_t code = file.codes[posting_of_query[q]];
                bool mutual = true;
                for (std::size_t other = 0; other < asked && mutual; ++other) {
                    const int d = distance(code, ballot.codes[begin + other]);
                    mutual = d > best_of_query[q] || (d == best_of_query[q] && other >= q);
                }
                if (mutual) votes[owner] += ballot.weights[best_of_query[q]] * rarity;
            }
        }
    }
}

}  // namespace imagefinder
