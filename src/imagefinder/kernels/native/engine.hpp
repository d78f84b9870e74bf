// One loop for all instruction sets, included inside the target region of each. Everything here has internal linkage,
// so that a function compiled for AVX-512 is never linked in place of its namesake for another instruction set.
//
// The query is packed once into panels of up to kVectors vectors, element groups outermost: a vector contains one group
// of kGroup elements of kLanes query descriptors. Rows of the gallery are read in place, one group at a time, and
// broadcast to all lanes. A tile of kRows rows x kVectors vectors of products stays in registers; when its sums are
// complete, they are compared with the best of each row and of each query descriptor so far.
//
// Rows and query descriptors come in ascending order, and only a greater product replaces the best, so the lowest index
// wins ties. The bests start at the smallest possible value with the first index. The lanes beyond the last query
// descriptor repeat it: they have its products and a higher index, so they never win.

#ifndef IMAGEFINDER_ENGINE
#define IMAGEFINDER_ENGINE

#if defined(__clang__)
#define IMAGEFINDER_UNROLL _Pragma("unroll")
#elif defined(__GNUC__)
#define IMAGEFINDER_UNROLL _Pragma("GCC unroll 32")
#else
#define IMAGEFINDER_UNROLL
#endif

#if defined(__GNUC__)
#define IMAGEFINDER_PREFETCH(address) __builtin_prefetch(address)
#else
#define IMAGEFINDER_PREFETCH(address) static_cast<void>(address)
#endif

#endif

namespace {

template <class Isa>
struct Engine {
    using Element = typename Isa::Element;  // as given: uint8_t or float
    using Packed = typename Isa::Packed;    // of the packed query
    using Row = typename Isa::Row;          // of the gallery as the tile reads it
    using Value = typename Isa::Value;      // of a product
    using Vector = typename Isa::Vector;    // kLanes products
    using Index = typename Isa::Index;      // kLanes int32 numbers

    static constexpr std::size_t kLanes = Isa::kLanes, kGroup = Isa::kGroup;
    static constexpr int kRows = Isa::kRows, kVectors = Isa::kVectors;
    // A chunk of rows stays in the first-level cache while all panels of the query pass over it.
    static constexpr std::size_t kChunkBytes = 16384, kChunkMost = 16 * kRows;

    // The arguments of a tile.
    struct Tile {
        const Row* rows;
        std::size_t stride;
        const Packed* panel;
        std::size_t groups;
        const Value* start;  // initial sums, one per row
        std::int32_t first_row, first_query;
        Value* best_of_query;
        std::int32_t* row_of_query;
        Value* best_of_row;  // kLanes per row: the best of the query descriptors seen in that lane
        std::int32_t* query_of_row;
    };

    template <int M, int W>
    static void multiply(const Tile& tile) {
        Vector sums[M][W];
        IMAGEFINDER_UNROLL
        for (int m = 0; m < M; ++m) {
            IMAGEFINDER_UNROLL
            for (int w = 0; w < W; ++w) sums[m][w] = Isa::splat(tile.start[m]);
        }
        const Packed* panel = tile.panel;
        const Row* rows = tile.rows;
        const std::size_t stride = tile.stride;
        for (std::size_t group = 0; group < tile.groups; ++group) {
            typename Isa::Query query[W];
            IMAGEFINDER_UNROLL
            for (int w = 0; w < W; ++w) query[w] = Isa::query(panel + w * kLanes * kGroup);
            IMAGEFINDER_UNROLL
            for (int m = 0; m < M; ++m) {
                const auto row = Isa::row(rows + m * stride);
                IMAGEFINDER_UNROLL
                for (int w = 0; w < W; ++w) sums[m][w] = Isa::multiply_add(sums[m][w], row, query[w]);
            }
            panel += W * kLanes * kGroup;
            rows += kGroup;
        }
        IMAGEFINDER_UNROLL
        for (int w = 0; w < W; ++w) {
            Vector best = Isa::load(tile.best_of_query + w * kLanes);
            Index at = Isa::load_index(tile.row_of_query + w * kLanes);
            IMAGEFINDER_UNROLL
            for (int m = 0; m < M; ++m) Isa::keep(sums[m][w], Isa::splat_index(tile.first_row + m), best, at);
            Isa::store(tile.best_of_query + w * kLanes, best);
            Isa::store_index(tile.row_of_query + w * kLanes, at);
        }
        IMAGEFINDER_UNROLL
        for (int m = 0; m < M; ++m) {
            Vector best = Isa::load(tile.best_of_row + m * kLanes);
            Index at = Isa::load_index(tile.query_of_row + m * kLanes);
            IMAGEFINDER_UNROLL
            for (int w = 0; w < W; ++w)
                Isa::keep(sums[m][w], Isa::rising_index(tile.first_query + w * static_cast<int>(kLanes)), best, at);
            Isa::store(tile.best_of_row + m * kLanes, best);
            Isa::store_index(tile.query_of_row + m * kLanes, at);
        }
    }

    using Multiply = void (*)(const Tile&);
    struct Heights {
        Multiply of[kRows * kVectors];
    };
    template <int... I>
    static constexpr Heights heights(std::integer_sequence<int, I...>) {
        return {{&multiply<I / kVectors + 1, I % kVectors + 1>...}};
    }

    // Division of n query descriptors into panels of nearly equal width.
    struct Layout {
        std::size_t groups, vectors, panels;
        Layout(std::size_t n, std::size_t length)
            : groups((length + kGroup - 1) / kGroup),
              vectors((n + kLanes - 1) / kLanes),
              panels((vectors + kVectors - 1) / kVectors) {}
        std::size_t first(std::size_t panel) const {
            const std::size_t extra = vectors % panels;
            return panel * (vectors / panels) + (panel < extra ? panel : extra);
        }
    };

    static std::size_t packed_bytes(std::size_t n, std::size_t length) {
        const Layout layout(n, length);
        return layout.vectors * layout.groups * kLanes * kGroup * sizeof(Packed);
    }

    static void pack(const void* query, std::size_t n, std::size_t length, void* packed) {
        const Layout layout(n, length);
        const Element* from = static_cast<const Element*>(query);
        Packed* to = static_cast<Packed*>(packed);
        for (std::size_t panel = 0; panel < layout.panels; ++panel) {
            const std::size_t first = layout.first(panel) * kLanes, last = layout.first(panel + 1) * kLanes;
            for (std::size_t group = 0; group < layout.groups; ++group) {
                for (std::size_t i = first; i < last; ++i) {
                    const Element* row = from + (i < n ? i : n - 1) * length;
                    for (std::size_t k = group * kGroup; k < (group + 1) * kGroup; ++k)
                        *to++ = k < length ? Isa::packed(row[k]) : Packed(0);
                }
            }
        }
    }

    // Layout of the scratch memory; constructed over address 0, it gives the size.
    struct Scratch {
        std::size_t chunk;  // rows
        std::uintptr_t end;
        Value *best_of_query, *best_of_row, *start;
        std::int32_t* query_of_row;
        Row* rows;
        Scratch(std::uintptr_t memory, std::size_t n, std::size_t length) : end(memory) {
            const std::size_t stride = round_up(length, kGroup);
            chunk = kChunkBytes / (stride * sizeof(Row) + 1) / kRows * kRows;
            chunk = chunk < kRows ? kRows : chunk > kChunkMost ? kChunkMost : chunk;
            best_of_query = take<Value>(round_up(n, kLanes));
            best_of_row = take<Value>(chunk * kLanes);
            query_of_row = take<std::int32_t>(chunk * kLanes);
            start = take<Value>(chunk);
            rows = take<Row>(chunk * stride);
        }
        template <class T>
        T* take(std::size_t count) {
            const std::uintptr_t here = end;
            end += round_up(count * sizeof(T), 64);
            return reinterpret_cast<T*>(here);
        }
    };

    static std::size_t scratch_bytes(std::size_t n, std::size_t length) {
        return Scratch(0, n, length).end;
    }

    // Prefetches rows of the next chunk while this one is multiplied; few hardware prefetchers reach that far.
    static void prefetch(const Element* elements, std::size_t first, std::size_t count, std::size_t m,
                         std::size_t length) {
        const std::size_t last = first + count < m ? first + count : m;
        for (std::size_t k = first * length; k < last * length; k += 64 / sizeof(Element))
            IMAGEFINDER_PREFETCH(elements + k);
    }

    static void nearest_neighbours(const void* packed, std::size_t n, std::size_t length, const void* gallery,
                                   std::size_t m, void* memory, std::int32_t* row_of_query,
                                   std::int32_t* query_of_row) {
        static constexpr Heights tiles = heights(std::make_integer_sequence<int, kRows * kVectors>{});
        const Element* const elements = static_cast<const Element*>(gallery);
        const Layout layout(n, length);
        const Scratch scratch(reinterpret_cast<std::uintptr_t>(memory), n, length);
        for (std::size_t i = 0; i < layout.vectors * kLanes; ++i) {
            scratch.best_of_query[i] = Isa::kLeast;
            row_of_query[i] = 0;
        }
        for (std::size_t at = 0; at < m; at += scratch.chunk) {
            const std::size_t count = m - at < scratch.chunk ? m - at : scratch.chunk;
            Tile tile{};
            tile.groups = layout.groups;
            const Row* rows =
                Isa::prepare(elements + at * length, count, length, scratch.rows, scratch.start, tile.stride);
            for (std::size_t r = 0; r < count; ++r) {
                Isa::store(scratch.best_of_row + r * kLanes, Isa::splat(Isa::kLeast));
                Isa::store_index(scratch.query_of_row + r * kLanes, Isa::rising_index(0));
            }
            for (std::size_t panel = 0; panel < layout.panels; ++panel) {
                const std::size_t first = layout.first(panel), width = layout.first(panel + 1) - first;
                tile.panel = static_cast<const Packed*>(packed) + first * layout.groups * kLanes * kGroup;
                tile.first_query = static_cast<std::int32_t>(first * kLanes);
                tile.best_of_query = scratch.best_of_query + first * kLanes;
                tile.row_of_query = row_of_query + first * kLanes;
                for (std::size_t r = 0; r < count; r += kRows) {
                    const std::size_t height = count - r < kRows ? count - r : kRows;
                    if (panel == 0) prefetch(elements, at + r + scratch.chunk, height, m, length);
                    tile.rows = rows + r * tile.stride;
                    tile.start = scratch.start + r;
                    tile.first_row = static_cast<std::int32_t>(at + r);
                    tile.best_of_row = scratch.best_of_row + r * kLanes;
                    tile.query_of_row = scratch.query_of_row + r * kLanes;
                    tiles.of[(height - 1) * kVectors + width - 1](tile);
                }
            }
            for (std::size_t r = 0; r < count; ++r)
                query_of_row[at + r] =
                    Isa::best_lane(scratch.best_of_row + r * kLanes, scratch.query_of_row + r * kLanes);
        }
    }

    static double best_product(const void* scratch, std::size_t i) {
        return static_cast<double>(static_cast<const Value*>(scratch)[i]);  // the first part of the scratch
    }

    static constexpr Kernel kernel() {
        return {&packed_bytes, &scratch_bytes, &pack, &nearest_neighbours, &best_product};
    }
};

// The index of the greatest of some lanes; the lowest among equals.
template <std::size_t kLanes, class Value>
inline std::int32_t best_of_lanes(const Value* best, const std::int32_t* at) {
    std::size_t winner = 0;
    for (std::size_t lane = 1; lane < kLanes; ++lane)
        if (best[lane] > best[winner] || (best[lane] == best[winner] && at[lane] < at[winner])) winner = lane;
    return at[winner];
}

// Rows in their original form, with sums that start at zero.
template <class T, class Value>
inline const T* rows_in_place(const T* rows, std::size_t count, std::size_t length, Value* start, std::size_t& stride) {
    for (std::size_t r = 0; r < count; ++r) start[r] = 0;
    stride = length;
    return rows;
}

// Rows of another element type, or padded with zeros to whole groups.
template <std::size_t kGroup, class T, class Row>
inline const Row* rows_copied(const T* rows, std::size_t count, std::size_t length, Row* to, std::size_t& stride) {
    stride = round_up(length, kGroup);
    for (std::size_t r = 0; r < count; ++r) {
        for (std::size_t k = 0; k < length; ++k) to[r * stride + k] = rows[r * length + k];
        for (std::size_t k = length; k < stride; ++k) to[r * stride + k] = 0;
    }
    return to;
}

}  // namespace
