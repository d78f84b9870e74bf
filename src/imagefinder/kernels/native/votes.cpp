// Plain C++ for every processor, and the choice between it and what is faster.
#include "votes.hpp"

#include <vector>

#include "cpu.hpp"

namespace imagefinder {
#include "ballot.hpp"
namespace {

struct Plain {
    static std::uint8_t near(const std::uint64_t* codes, std::size_t count, std::uint64_t asked, int most) {
        std::uint8_t found = 0;
        for (std::size_t lane = 0; lane < count; ++lane)
            found |= static_cast<std::uint8_t>((distance(codes[lane], asked) <= most) << lane);
        return found;
    }
};

}  // namespace

void vote(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes) {
#if defined(__x86_64__) || defined(_M_X64)
    static const bool has_popcount = cpu_has_avx512popcount();
    if (has_popcount) return vote_avx512(file, ballot, votes);
#endif
    vote_plain(file, ballot, votes);
}

void vote_plain(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes) {
    count_votes<Plain>(file, ballot, votes);
}

}  // namespace imagefinder
