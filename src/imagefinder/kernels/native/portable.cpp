// Plain C++ for every processor; compilers vectorise the loops over lanes.
#include <limits>
#include <utility>

#include "kernel.hpp"

namespace imagefinder {
#include "engine.hpp"
namespace {

template <class Number, class Sum>
struct Plain {
    static constexpr std::size_t kLanes = 4, kGroup = 1;
    static constexpr int kRows = 4, kVectors = 2;
    template <class T>
    struct Lanes {
        T lane[kLanes];
    };
    using Element = Number;
    using Packed = Number;
    using Row = Number;
    using Value = Sum;
    using Vector = Lanes<Value>;
    using Query = Lanes<Packed>;
    using Index = Lanes<std::int32_t>;
    static constexpr Value kLeast = std::numeric_limits<Value>::has_infinity
                                        ? -std::numeric_limits<Value>::infinity()
                                        : std::numeric_limits<Value>::min();

    static Packed packed(Element element) { return element; }
    static const Row* prepare(const Element* rows, std::size_t count, std::size_t length, Row*, Value* start,
                              std::size_t& stride) {
        return rows_in_place(rows, count, length, start, stride);
    }
    template <class T>
    static Lanes<T> loaded(const T* from) {
        Lanes<T> lanes;
        for (std::size_t l = 0; l < kLanes; ++l) lanes.lane[l] = from[l];
        return lanes;
    }
    template <class T>
    static void stored(T* to, const Lanes<T>& lanes) {
        for (std::size_t l = 0; l < kLanes; ++l) to[l] = lanes.lane[l];
    }
    template <class T>
    static Lanes<T> all(T number) {
        Lanes<T> lanes;
        for (std::size_t l = 0; l < kLanes; ++l) lanes.lane[l] = number;
        return lanes;
    }
    static Vector splat(Value value) { return all(value); }
    static Vector load(const Value* from) { return loaded(from); }
    static void store(Value* to, const Vector& vector) { stored(to, vector); }
    static Query query(const Packed* from) { return loaded(from); }
    static Index load_index(const std::int32_t* from) { return loaded(from); }
    static void store_index(std::int32_t* to, const Index& index) { stored(to, index); }
    static Index splat_index(std::int32_t number) { return all(number); }
    static Index rising_index(std::int32_t first) {
        Index index;
        for (std::size_t l = 0; l < kLanes; ++l) index.lane[l] = first + static_cast<std::int32_t>(l);
        return index;
    }
    static Value row(const Row* from) { return *from; }
    static Vector multiply_add(Vector sum, Value row, const Query& query) {
        for (std::size_t l = 0; l < kLanes; ++l) sum.lane[l] += row * static_cast<Value>(query.lane[l]);
        return sum;
    }
    static void keep(const Vector& value, const Index& index, Vector& best, Index& at) {
        for (std::size_t l = 0; l < kLanes; ++l) {
            at.lane[l] = value.lane[l] > best.lane[l] ? index.lane[l] : at.lane[l];
            best.lane[l] = value.lane[l] > best.lane[l] ? value.lane[l] : best.lane[l];
        }
    }
    static std::int32_t best_lane(const Value* best, const std::int32_t* at) {
        return best_of_lanes<kLanes>(best, at);
    }
};

bool always() { return true; }

}  // namespace

constexpr InstructionSet kPortable = {"portable", &always, Engine<Plain<std::uint8_t, std::int32_t>>::kernel(),
                                      Engine<Plain<std::int8_t, std::int32_t>>::kernel(),
                                      Engine<Plain<float, float>>::kernel()};

}  // namespace imagefinder
