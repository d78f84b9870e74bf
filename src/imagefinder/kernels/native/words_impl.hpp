// Search of the nearest words, independent of how scores are computed. Included inside the target region of each
// instruction set.
//
// Up to kTile vectors of one cell are compared with two panels of words at a time. The words of a cell stay in the
// second-level cache while all vectors of the cell pass over them.

namespace {

constexpr std::size_t kTile = 4;

// The best words of a vector so far, in descending order of scores.
struct Nearest {
    std::int32_t* words;
    std::int32_t* scores;

    // Words come in ascending order, and only a greater score moves another one back, so ties stay in order.
    void insert(std::int32_t word, std::int32_t score, std::size_t many) {
        std::size_t at = many - 1;
        for (; at > 0 && scores[at - 1] < score; --at) {
            scores[at] = scores[at - 1];
            words[at] = words[at - 1];
        }
        scores[at] = score;
        words[at] = word;
    }
};

template <class Isa, int N>
void search_cell(const Words& words, std::size_t cell, const std::uint8_t* const* vectors, Nearest* nearest,
                 std::size_t many) {
    const std::size_t bytes = words.groups * kWordLanes * kWordGroup;
    const std::int8_t* centres = words.centres + cell * words.panels * bytes;
    const std::int32_t* halves = words.halves + cell * words.panels * kWordLanes;
    const auto first = static_cast<std::int32_t>(cell * words.panels * kWordLanes);
    alignas(64) std::int32_t scores[N][2 * kWordLanes];
    for (std::size_t panel = 0; panel < words.panels; panel += 2) {
        Isa::template scores<N>(vectors, centres + panel * bytes, words.groups, halves + panel * kWordLanes, scores);
        for (int n = 0; n < N; ++n) {
            std::uint32_t above = Isa::above(scores[n], nearest[n].scores[many - 1]);
            for (std::int32_t lane = 0; above; ++lane, above >>= 1) {
                // The least of the best may have risen since.
                if ((above & 1) && scores[n][lane] > nearest[n].scores[many - 1])
                    nearest[n].insert(first + static_cast<std::int32_t>(panel * kWordLanes) + lane, scores[n][lane],
                                      many);
            }
        }
    }
}

template <class Isa>
void search_words(const Words& words, const WordPairs& pairs, std::size_t many, std::int32_t* found,
                  std::int32_t* scores) {
    const std::size_t length = words.groups * kWordGroup;
    for (std::size_t i = 0; i < pairs.size * many; ++i) {
        found[i] = -1;
        scores[i] = kNoWord;
    }
    for (std::size_t begin = 0, end; begin < pairs.size; begin = end) {
        const std::int32_t cell = pairs.cells[begin];
        const std::uint8_t* vectors[kTile];
        Nearest nearest[kTile];
        for (end = begin; end < pairs.size && end - begin < kTile && pairs.cells[end] == cell; ++end) {
            const auto row = static_cast<std::size_t>(pairs.rows[end]);
            if (pairs.rows[end] < 0 || row >= pairs.rows_in_all) break;
            vectors[end - begin] = pairs.vectors + row * length;
            nearest[end - begin] = {found + end * many, scores + end * many};
        }
        if (end == begin) {  // a row out of range
            ++end;
            continue;
        }
        if (cell < 0 || static_cast<std::size_t>(cell) >= words.cells) continue;
        const auto at = static_cast<std::size_t>(cell);
        switch (end - begin) {
            case 1: search_cell<Isa, 1>(words, at, vectors, nearest, many); break;
            case 2: search_cell<Isa, 2>(words, at, vectors, nearest, many); break;
            case 3: search_cell<Isa, 3>(words, at, vectors, nearest, many); break;
            default: search_cell<Isa, 4>(words, at, vectors, nearest, many);
        }
    }
}

}  // namespace
