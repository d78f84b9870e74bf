// Plain C++ for every processor, and the dispatch to faster code.
#include "votes.hpp"

#include <vector>

#include "cpu.hpp"

namespace imagefinder {
#include "votes_impl.hpp"
namespace {

struct Plain {
    static std::uint8_t near(const std::uint64_t* codes, std::size_t count, std::uint64_t query_code, int most) {
        std::uint8_t found = 0;
        for (std::size_t lane = 0; lane < count; ++lane)
            found |= static_cast<std::uint8_t>((distance(codes[lane], query_code) <= most) << lane);
        return found;
    }
};

}  // namespace

void vote(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes) {
#if defined(__x86_64__) || defined(_M_X64)
    static const bool has_popcount = cpu_has_avx512popcount();
    if (has_popcount) return vote_avx512(file, query, votes);
#endif
    vote_plain(file, query, votes);
}

void vote_plain(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes) {
    count_votes<Plain>(file, query, votes);
}

}  // namespace imagefinder
