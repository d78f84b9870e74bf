// Code shared by NEON with and without the byte dot product: vectors of four uint32, int32 or float32. Included inside
// a target region.

namespace {

struct Lanes4 {
    using Index = int32x4_t;
    static constexpr std::size_t kLanes = 4;
    static constexpr int kRows = 6, kVectors = 4;  // 24 of the 32 registers hold sums
    static Index load_index(const std::int32_t* from) { return vld1q_s32(from); }
    static void store_index(std::int32_t* to, Index index) { vst1q_s32(to, index); }
    static Index splat_index(std::int32_t number) { return vdupq_n_s32(number); }
    static Index rising_index(std::int32_t first) {
        const std::int32_t lanes[4] = {0, 1, 2, 3};
        return vaddq_s32(vdupq_n_s32(first), vld1q_s32(lanes));
    }
};

struct Unsigned4 : Lanes4 {
    using Element = std::uint8_t;
    using Row = std::uint8_t;
    using Value = std::uint32_t;
    using Vector = uint32x4_t;
    static constexpr Value kLeast = 0;

    static Vector splat(Value value) { return vdupq_n_u32(value); }
    static Vector load(const Value* from) { return vld1q_u32(from); }
    static void store(Value* to, Vector vector) { vst1q_u32(to, vector); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const uint32x4_t greater = vcgtq_u32(value, best);
        best = vmaxq_u32(value, best);
        at = vbslq_s32(greater, index, at);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
};

struct Signed4 : Lanes4 {
    using Element = std::int8_t;
    using Row = std::int8_t;
    using Value = std::int32_t;
    using Vector = int32x4_t;
    static constexpr Value kLeast = std::numeric_limits<Value>::min();

    static Vector splat(Value value) { return vdupq_n_s32(value); }
    static Vector load(const Value* from) { return vld1q_s32(from); }
    static void store(Value* to, Vector vector) { vst1q_s32(to, vector); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const uint32x4_t greater = vcgtq_s32(value, best);
        best = vmaxq_s32(value, best);
        at = vbslq_s32(greater, index, at);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
};

struct Floats4 : Lanes4 {
    using Element = float;
    using Packed = float;
    using Row = float;
    using Value = float;
    using Vector = float32x4_t;
    using Query = float32x4_t;
    static constexpr std::size_t kGroup = 1;
    static constexpr Value kLeast = -std::numeric_limits<Value>::infinity();

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    static Vector splat(Value value) { return vdupq_n_f32(value); }
    static Vector load(const Value* from) { return vld1q_f32(from); }
    static void store(Value* to, Vector vector) { vst1q_f32(to, vector); }
    static Query query(const Packed* from) { return vld1q_f32(from); }
    static Vector row(const Row* from) { return vdupq_n_f32(*from); }
    static Vector multiply_add(Vector sum, Vector row, Query query) { return vfmaq_f32(sum, row, query); }
    static void keep(Vector value, Index index, Vector& best, Index& at) {
        const uint32x4_t greater = vcgtq_f32(value, best);
        best = vbslq_f32(greater, value, best);
        at = vbslq_s32(greater, index, at);
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
};

}  // namespace
