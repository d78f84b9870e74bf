// How votes are counted, whatever counts the bits. Each file that includes this does so inside its own target region.
//
// Nearly all pairs of codes are farther apart than what counts at all: eight postings at a time are compared with
// each code of the query, and only the pairs that are near are looked at again. The nearest pair of two codes is
// among them, so who is whose nearest can be told from these alone.

namespace {

// Types of this file's own, so that what the library makes of them has internal linkage, too.
struct Lanes {
    std::uint8_t near;
};

struct Near {
    std::size_t posting;
    std::uint32_t asked;
    int distance;
};

// Population count without an instruction for it: the baseline of x86-64 has none.
inline int distance(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a ^ b;
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return static_cast<int>((x * 0x0101010101010101u) >> 56);
}

// The pairs of the postings from `first` to `last` with `size` codes of the query that are not farther apart than
// `most`, in order of postings, then of codes.
template <class Isa>
void find_near(const std::uint64_t* codes, std::size_t first, std::size_t last, const std::uint64_t* asked,
               std::size_t size, int most, std::vector<Lanes>& lanes, std::vector<Near>& found) {
    found.clear();
    for (std::size_t p = first; p < last; p += 8) {
        const std::size_t count = last - p < 8 ? last - p : 8;
        unsigned any = 0;
        for (std::size_t q = 0; q < size; ++q) any |= lanes[q].near = Isa::near(codes + p, count, asked[q], most);
        for (std::size_t lane = 0; any >> lane; ++lane) {
            if (!(any >> lane & 1)) continue;
            for (std::size_t q = 0; q < size; ++q)
                if (lanes[q].near >> lane & 1)
                    found.push_back({p + lane, static_cast<std::uint32_t>(q), distance(codes[p + lane], asked[q])});
        }
    }
}

inline std::size_t within(std::int64_t number, std::size_t most) {
    return number < 0 ? 0 : static_cast<std::size_t>(number) < most ? static_cast<std::size_t>(number) : most;
}

struct Best {
    int distance;
    std::size_t posting;
};
constexpr Best kNone = {65, 0};

// What one image gets for its pairs, one after the other from `pair` to `end`.
inline std::int64_t count_mutual(const Near* pair, const Near* end, const std::int64_t* weights,
                                 std::vector<Best>& of_asked) {
    if (end - pair == 1) return weights[pair->distance];
    for (const Near* one = pair; one < end; ++one)  // postings rise: the first of equals stays
        if (one->distance < of_asked[one->asked].distance) of_asked[one->asked] = {one->distance, one->posting};
    std::int64_t sum = 0;
    for (const Near *one = pair, *next; one < end; one = next) {
        const Near* nearest = one;
        for (next = one + 1; next < end && next->posting == one->posting; ++next)
            if (next->distance < nearest->distance) nearest = next;
        if (of_asked[nearest->asked].posting == one->posting) sum += weights[nearest->distance];
    }
    for (const Near* one = pair; one < end; ++one) of_asked[one->asked] = kNone;
    return sum;
}

template <class Isa>
void count_votes(const InvertedFile& file, const Ballot& ballot, std::int64_t* votes) {
    // So many postings are compared before their pairs are counted, which bounds the memory for these.
    constexpr std::size_t kBlock = 1024;
    int most = 64;
    while (most >= 0 && ballot.weights[most] == 0) --most;
    std::vector<Lanes> lanes;
    std::vector<Near> found;
    std::vector<Best> of_asked;
    for (std::size_t begin = 0, end; begin < ballot.size; begin = end) {
        const std::int32_t word = ballot.words[begin];
        for (end = begin + 1; end < ballot.size && ballot.words[end] == word;) ++end;
        if (word < 0 || static_cast<std::size_t>(word) >= file.words) continue;
        const std::size_t from = within(file.starts[word], file.postings);
        const std::size_t to = within(file.starts[word + 1], file.postings);
        const std::int64_t rarity = ballot.rarities[word];
        lanes.resize(end - begin);
        of_asked.assign(end - begin, kNone);
        for (std::size_t p = from, next; p < to; p = next) {
            next = to - p < kBlock ? to : p + kBlock;
            while (next < to && file.owners[next] == file.owners[next - 1]) ++next;  // an image stays whole
            find_near<Isa>(file.codes, p, next, ballot.codes + begin, end - begin, most, lanes, found);
            const Near* const all = found.data();
            for (std::size_t i = 0, j; i < found.size(); i = j) {
                const std::int32_t owner = file.owners[found[i].posting];
                for (j = i + 1; j < found.size() && file.owners[found[j].posting] == owner;) ++j;
                if (owner < 0 || static_cast<std::size_t>(owner) >= file.images) continue;
                votes[owner] += count_mutual(all + i, all + j, ballot.weights, of_asked) * rarity;
            }
        }
    }
}

}  // namespace
