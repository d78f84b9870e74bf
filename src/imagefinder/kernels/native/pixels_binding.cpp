#include "bindings.hpp"

#include <vector>

#include "pixels.hpp"

namespace imagefinder {
namespace {

bool is_floats(const Array& array) { return array.is("f", 4); }
bool is_alike(const Array& one, const Array& other) {
    return one.shape(0) == other.shape(0) && one.shape(1) == other.shape(1);
}
Grey grey(const Array& array) { return {array.data<float>(), array.shape(0), array.shape(1)}; }

bool is_overlap(const Array& one, const Array& other, const Array& inside) {
    return (is_floats(one) && is_floats(other) && inside.is("B?", 1) && is_alike(one, other) &&
            is_alike(one, inside)) ||
           Array::refuse("images and inside", "must be float32 and bool, of one size");
}

// (N, 2) int64 places in two ranges, each from `least` up to but not including `end`.
bool is_places(const Array& places, std::size_t least, std::size_t first_end, std::size_t second_end) {
    if (!places.is("lq", 8) || places.shape(1) != 2) return Array::refuse("places", "must be (N, 2) int64");
    const auto from = static_cast<std::int64_t>(least);
    const std::int64_t ends[] = {static_cast<std::int64_t>(first_end), static_cast<std::int64_t>(second_end)};
    for (std::size_t i = 0; i < 2 * places.shape(0); ++i) {
        const std::int64_t place = places.data<std::int64_t>()[i];
        if (place < from || place >= ends[i % 2]) return Array::refuse("places", "are outside the image");
    }
    return true;
}

// Two images of one size, places in them, and an array for the answers, which has a row for each place.
struct PairArguments {
    Array one, other, places, found;

    bool get(PyObject* const* given, std::size_t columns) {
        if (!one.get(given[0], "image", 2) || !other.get(given[1], "image", 2) ||
            !places.get(given[2], "places", 2) || !found.get(given[3], "found", 2, true))
            return false;
        if (!is_floats(one) || !is_floats(other) || !is_alike(one, other))
            return Array::refuse("images", "must be float32 and of one size");
        return (found.shape(0) == places.shape(0) && found.shape(1) == columns) ||
               Array::refuse("found", "must have a row for each place");
    }
};

}  // namespace

PyObject* displacements_binding(PyObject*, PyObject* arguments) {
    PyObject* given[4];
    Py_ssize_t block, radius;
    int plain = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOnn|p", &given[0], &given[1], &given[2], &given[3], &block, &radius, &plain))
        return nullptr;
    PairArguments pair;
    if (!pair.get(given, 3)) return nullptr;
    const std::size_t height = pair.one.shape(0), width = pair.one.shape(1), side = static_cast<std::size_t>(block);
    if (!pair.found.is("d", 8) || block < 1 || radius < 0 || radius > INT16_MAX || side > height || side > width) {
        Array::refuse("found, block or radius", "are invalid");
        return nullptr;
    }
    if (!is_places(pair.places, 0, width - side + 1, height - side + 1)) return nullptr;
    if (!unlocked([&] {
            displacements(plain ? kPlainPixelLanes : pixel_lanes(), grey(pair.one), grey(pair.other), pair.places.data<std::int64_t>(), pair.places.shape(0),
                          side, static_cast<std::size_t>(radius), pair.found.data<double>());
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* windows_binding(PyObject*, PyObject* arguments) {
    PyObject* given[4];
    Py_ssize_t side, reach;
    float flat;
    int plain = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOnnf|p", &given[0], &given[1], &given[2], &given[3], &side, &reach, &flat,
                          &plain))
        return nullptr;
    PairArguments pair;
    if (!pair.get(given, 4)) return nullptr;
    if (!is_floats(pair.found) || side < 1 || side > INT16_MAX || reach < 0 ||
        2 * static_cast<std::size_t>(reach) + 1 > kMostShifts) {
        Array::refuse("found, side or reach", "are invalid");
        return nullptr;
    }
    const auto wide = static_cast<std::size_t>(side);
    if (!is_places(pair.places, wide / 2, pair.one.shape(0), pair.one.shape(1))) return nullptr;
    if (!unlocked([&] {
            windows(plain ? kPlainPixelLanes : pixel_lanes(), grey(pair.one), grey(pair.other), pair.places.data<std::int64_t>(), pair.places.shape(0), wide,
                    static_cast<std::size_t>(reach), flat, pair.found.data<float>());
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* by_level_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third, *fourth;
    if (!PyArg_ParseTuple(arguments, "OOOO", &first, &second, &third, &fourth)) return nullptr;
    Array levels, inside, order, counts;
    if (!levels.get(first, "levels", 2) || !inside.get(second, "inside", 2) || !order.get(third, "order", 1, true) ||
        !counts.get(fourth, "counts", 1, true))
        return nullptr;
    const std::size_t pixels = levels.shape(0) * levels.shape(1);
    if (!levels.is("B", 1) || !inside.is("B?", 1) || !is_alike(levels, inside) || !order.is("lq", 8) ||
        order.shape(0) != pixels || !counts.is("lq", 8) || counts.shape(0) > 256) {
        Array::refuse("arrays", "must be of types and sizes that belong together");
        return nullptr;
    }
    std::size_t total = 0;
    if (!unlocked([&] {
            total = by_level(levels.data<std::uint8_t>(), inside.data<std::uint8_t>(), pixels, counts.shape(0),
                             order.data<std::int64_t>(), counts.data<std::int64_t>());
        }))
        return nullptr;
    return PyLong_FromSize_t(total);
}

PyObject* fit_colours_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second;
    Trimming trimming;
    Py_ssize_t fits;
    if (!PyArg_ParseTuple(arguments, "OOddn", &first, &second, &trimming.ridge, &trimming.kept, &fits)) return nullptr;
    Array rgb, grey;
    if (!rgb.get(first, "colours", 2) || !grey.get(second, "grey levels", 1)) return nullptr;
    if (!rgb.is("B", 1) || rgb.shape(1) != 3 || !is_floats(grey) || grey.shape(0) != rgb.shape(0) ||
        grey.shape(0) == 0) {
        Array::refuse("colours and grey levels", "must be (N, 3) uint8 and (N,) float32");
        return nullptr;
    }
    if (fits < 1 || !(trimming.kept >= 0 && trimming.kept <= 1)) {
        Array::refuse("kept or fits", "are invalid");
        return nullptr;
    }
    trimming.fits = static_cast<std::size_t>(fits);
    double c[kTerms];
    bool is_found = false;
    if (!unlocked([&] {
            is_found = fit_colours(rgb.data<std::uint8_t>(), grey.data<float>(), grey.shape(0), trimming, c);
        }))
        return nullptr;
    if (!is_found) Py_RETURN_NONE;
    return Py_BuildValue("(dddddddddd)", c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]);
}

PyObject* map_colours_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third;
    float least, most;
    if (!PyArg_ParseTuple(arguments, "OOffO", &first, &second, &least, &most, &third)) return nullptr;
    Array rgb, coefficients, mapped;
    if (!rgb.get(first, "colours", 3) || !coefficients.get(second, "coefficients", 1) ||
        !mapped.get(third, "mapped", 2, true))
        return nullptr;
    if (!rgb.is("B", 1) || rgb.shape(2) != 3 || !is_floats(coefficients) || coefficients.shape(0) != kTerms ||
        !is_floats(mapped) || !is_alike(rgb, mapped)) {
        Array::refuse("arrays", "must be of types and sizes that belong together");
        return nullptr;
    }
    if (!unlocked([&] {
            map_colours(rgb.data<std::uint8_t>(), mapped.shape(0) * mapped.shape(1), coefficients.data<float>(), least,
                        most, mapped.data<float>());
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* correlation_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third;
    if (!PyArg_ParseTuple(arguments, "OOO", &first, &second, &third)) return nullptr;
    Array one, other, inside;
    if (!one.get(first, "image", 2) || !other.get(second, "image", 2) || !inside.get(third, "inside", 2))
        return nullptr;
    if (!is_overlap(one, other, inside)) return nullptr;
    double found = 0;
    if (!unlocked([&] {
            found = correlation(one.data<float>(), other.data<float>(), inside.data<std::uint8_t>(),
                                one.shape(0) * one.shape(1));
        }))
        return nullptr;
    return PyFloat_FromDouble(found);
}

PyObject* alike_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third;
    Py_ssize_t side;
    AlikeLimits limits;
    if (!PyArg_ParseTuple(arguments, "OOOnff", &first, &second, &third, &side, &limits.texture, &limits.alike))
        return nullptr;
    Array one, other, inside;
    if (!one.get(first, "image", 2) || !other.get(second, "image", 2) || !inside.get(third, "inside", 2) ||
        !is_overlap(one, other, inside))
        return nullptr;
    if (side < 1 || side > INT16_MAX) {
        Array::refuse("side", "is invalid");
        return nullptr;
    }
    Alike found{0, 0};
    if (!unlocked([&] {
            found = alike(grey(one), grey(other), inside.data<std::uint8_t>(), static_cast<std::size_t>(side), limits);
        }))
        return nullptr;
    return Py_BuildValue("(nn)", static_cast<Py_ssize_t>(found.textured), static_cast<Py_ssize_t>(found.alike));
}

PyObject* unexplained_binding(PyObject*, PyObject* arguments) {
    PyObject* given[8];
    float strong, weak, like;
    Py_ssize_t cell;
    if (!PyArg_ParseTuple(arguments, "(OOO)(OOO)OOfffn", &given[0], &given[1], &given[2], &given[3], &given[4],
                          &given[5], &given[6], &given[7], &strong, &weak, &like, &cell))
        return nullptr;
    Array edges[6], inside, counts;
    for (std::size_t i = 0; i < 6; ++i) {
        if (!edges[i].get(given[i], "gradients", 2)) return nullptr;
        if (!is_floats(edges[i]) || !is_alike(edges[i], edges[0])) {
            Array::refuse("gradients", "must be float32 and of one size");
            return nullptr;
        }
    }
    if (!inside.get(given[6], "inside", 2) || !counts.get(given[7], "counts", 2, true)) return nullptr;
    if (!inside.is("B?", 1) || !is_alike(inside, edges[0]) || !counts.is("lq", 8) || cell < 1 ||
        counts.shape(0) != edges[0].shape(0) / static_cast<std::size_t>(cell) ||
        counts.shape(1) != edges[0].shape(1) / static_cast<std::size_t>(cell)) {
        Array::refuse("inside and counts", "must be of types and sizes that belong together");
        return nullptr;
    }
    if (!unlocked([&] {
            unexplained({grey(edges[0]), grey(edges[1]), grey(edges[2])},
                        {grey(edges[3]), grey(edges[4]), grey(edges[5])}, inside.data<std::uint8_t>(), strong, weak,
                        like, static_cast<std::size_t>(cell), counts.data<std::int64_t>());
        }))
        return nullptr;
    Py_RETURN_NONE;
}

}  // namespace imagefinder
