// Counting of votes, independent of how bits are counted. Included inside the target region of each instruction set.
//
// The distance of nearly all pairs of codes exceeds the largest one that counts. So eight postings at a time are
// compared with each query code, and only near pairs are examined further. Nearest neighbours are among these, so
// mutual nearest neighbours follow from them alone.

namespace {

// Local types, so that the standard library's templates for them have internal linkage too.
struct Lanes {
    std::uint8_t near;
};

struct Near {
    std::size_t posting;
    std::uint32_t code;
    int distance;
};

// Population count without a CPU instruction, which the x86-64 baseline lacks.
inline int distance(std::uint64_t a, std::uint64_t b) {
    std::uint64_t x = a ^ b;
    x -= (x >> 1) & 0x5555555555555555u;
    x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
    x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
    return static_cast<int>((x * 0x0101010101010101u) >> 56);
}

// Finds the pairs of postings (from `first` to `last`) and query codes (`size`) with a distance of at most `most`, in
// order of postings, then of query codes.
template <class Isa>
void find_near(const std::uint64_t* codes, std::size_t first, std::size_t last, const std::uint64_t* query_codes,
               std::size_t size, int most, std::vector<Lanes>& lanes, std::vector<Near>& found) {
    found.clear();
    for (std::size_t p = first; p < last; p += 8) {
        const std::size_t count = last - p < 8 ? last - p : 8;
        unsigned any = 0;
        for (std::size_t q = 0; q < size; ++q) any |= lanes[q].near = Isa::near(codes + p, count, query_codes[q], most);
        for (std::size_t lane = 0; any >> lane; ++lane) {
            if (!(any >> lane & 1)) continue;
            for (std::size_t q = 0; q < size; ++q)
                if (lanes[q].near >> lane & 1)
                    found.push_back(
                        {p + lane, static_cast<std::uint32_t>(q), distance(codes[p + lane], query_codes[q])});
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

// The sum of the weights of the mutual nearest neighbours among the pairs of one image, from `pair` to `end`.
inline std::int64_t count_mutual(const Near* pair, const Near* end, const std::int64_t* weights,
                                 std::vector<Best>& best_of) {
    if (end - pair == 1) return weights[pair->distance];
    for (const Near* one = pair; one < end; ++one)  // postings ascend, so the first of equals is kept
        if (one->distance < best_of[one->code].distance) best_of[one->code] = {one->distance, one->posting};
    std::int64_t sum = 0;
    for (const Near *one = pair, *next; one < end; one = next) {
        const Near* nearest = one;
        for (next = one + 1; next < end && next->posting == one->posting; ++next)
            if (next->distance < nearest->distance) nearest = next;
        if (best_of[nearest->code].posting == one->posting) sum += weights[nearest->distance];
    }
    for (const Near* one = pair; one < end; ++one) best_of[one->code] = kNone;
    return sum;
}

template <class Isa>
void count_votes(const InvertedFile& file, const VoteQuery& query, std::int64_t* votes) {
    // Number of postings compared before their pairs are counted, which bounds the memory for the pairs.
    constexpr std::size_t kBlock = 1024;
    int most = 64;
    while (most >= 0 && query.weights[most] == 0) --most;
    std::vector<Lanes> lanes;
    std::vector<Near> found;
    std::vector<Best> best_of;
    for (std::size_t begin = 0, end; begin < query.size; begin = end) {
        const std::int32_t word = query.words[begin];
        for (end = begin + 1; end < query.size && query.words[end] == word;) ++end;
        if (word < 0 || static_cast<std::size_t>(word) >= file.words) continue;
        const std::size_t from = within(file.starts[word], file.postings);
        const std::size_t to = within(file.starts[word + 1], file.postings);
        const std::int64_t rarity = query.rarities[word];
        lanes.resize(end - begin);
        best_of.assign(end - begin, kNone);
        for (std::size_t p = from, next; p < to; p = next) {
            next = to - p < kBlock ? to : p + kBlock;
            while (next < to && file.owners[next] == file.owners[next - 1]) ++next;  // do not split an image
            find_near<Isa>(file.codes, p, next, query.codes + begin, end - begin, most, lanes, found);
            const Near* const all = found.data();
            for (std::size_t i = 0, j; i < found.size(); i = j) {
                const std::int32_t owner = file.owners[found[i].posting];
                for (j = i + 1; j < found.size() && file.owners[found[j].posting] == owner;) ++j;
                if (owner < 0 || static_cast<std::size_t>(owner) >= file.images) continue;
                votes[owner] += count_mutual(all + i, all + j, query.weights, best_of) * rarity;
            }
        }
    }
}

}  // namespace
