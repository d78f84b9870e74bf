// Code shared by AVX2 and AVX-VNNI: vectors of eight int32 or float32. Included inside a target region.

namespace {

struct Lanes8 {
    using Index = __m256i;
    static constexpr std::size_t kLanes = 8;
    static constexpr int kRows = 6, kVectors = 2;  // 12 of the 16 registers hold sums
    static Index load_index(const std::int32_t* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    static void store_index(std::int32_t* to, Index index) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), index);
    }
    static Index splat_index(std::int32_t number) { return _mm256_set1_epi32(number); }
    static Index rising_index(std::int32_t first) {
        return _mm256_add_epi32(_mm256_set1_epi32(first), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
};

struct Integers8 : Lanes8 {
    using Value = std::int32_t;
    using Vector = __m256i;
    using Query = __m256i;
    static constexpr Value kLeast = std::numeric_limits<Value>::min();

    static Vector splat(Value value) { return _mm256_set1_epi32(value); }
    static Vector load(const Value* from) { return load_index(from); }
    static void store(Value* to, Vector vector) { store_index(to, vector); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const __m256i greater = _mm256_cmpgt_epi32(value, best);
        best = _mm256_max_epi32(value, best);
        at = _mm256_blendv_epi8(at, index, greater);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
    static Query query(const void* from) { return _mm256_load_si256(static_cast<const __m256i*>(from)); }
    // Broadcasts four bytes, or two int16, of one row to every lane.
    static __m256i row(const void* from) {
        std::int32_t group;
        std::memcpy(&group, from, sizeof group);
        return _mm256_set1_epi32(group);
    }
};

struct Floats8 : Lanes8 {
    using Element = float;
    using Packed = float;
    using Row = float;
    using Value = float;
    using Vector = __m256;
    using Query = __m256;
    static constexpr std::size_t kGroup = 1;
    static constexpr Value kLeast = -std::numeric_limits<Value>::infinity();

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    static Vector splat(Value value) { return _mm256_set1_ps(value); }
    static Vector load(const Value* from) { return _mm256_loadu_ps(from); }
    static void store(Value* to, Vector vector) { _mm256_storeu_ps(to, vector); }
    static Query query(const Packed* from) { return _mm256_load_ps(from); }
    static Vector row(const Row* from) { return _mm256_broadcast_ss(from); }
    static Vector multiply_add(Vector sum, Vector row, Query query) { return _mm256_fmadd_ps(row, query, sum); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const __m256 greater = _mm256_cmp_ps(value, best, _CMP_GT_OQ);
        best = _mm256_blendv_ps(best, value, greater);
        at = _mm256_blendv_epi8(at, index, _mm256_castps_si256(greater));
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
};

}  // namespace
