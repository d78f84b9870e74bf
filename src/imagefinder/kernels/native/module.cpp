// Python bindings: check arguments, release the GIL, read and write arrays in place.
#include "bindings.hpp"

#include <algorithm>
#include <deque>
#include <vector>

#include "dots.hpp"
#include "match.hpp"
#include "votes.hpp"
#include "words.hpp"

namespace {

using imagefinder::Array;
using imagefinder::Descriptors;
using imagefinder::InstructionSet;
using imagefinder::Kernel;
using imagefinder::Problem;
using imagefinder::unlocked;

const InstructionSet* named(const char* name) {
    for (const InstructionSet* set : imagefinder::supported())
        if (!name || std::strcmp(set->name, name) == 0) return set;
    PyErr_Format(PyExc_ValueError, "this processor does not support %s", name);
    return nullptr;
}

// Whether the kernels support these query descriptors: (n, D) uint8, int8 or float32.
bool is_query(const Array& query) {
    if (!query.is_descriptors()) return Array::refuse("descriptors", "must both be uint8, int8 or float32");
    if (!query.is("f", 4) && query.shape(1) > imagefinder::kLongestBytes)
        return Array::refuse("descriptors", "are longer than int32 products allow");
    return query.shape(0) <= INT32_MAX / 2 || Array::refuse("query descriptors", "are too many");
}

Problem problem_of(const Array& query, const InstructionSet& set) {
    const bool floats = query.is("f", 4);
    const Kernel& kernel = floats ? set.floats : query.is("b", 1) ? set.signed_bytes : set.bytes;
    return {kernel, query.data<void>(), query.shape(0), query.shape(1), floats ? 4u : 1u};
}

PyObject* count(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third, *fourth, *fifth = nullptr, *sixth = nullptr;
    PyObject *seventh = nullptr, *eighth = nullptr;
    Py_ssize_t threads;
    const char* isa = nullptr;
    if (!PyArg_ParseTuple(arguments, "OOOOn|zOOOO", &first, &second, &third, &fourth, &threads, &isa, &fifth, &sixth,
                          &seventh, &eighth))
        return nullptr;
    Array query, gallery, offsets, counts, least, near, found, begins;
    if (!query.get(first, "query descriptors", 2) || !gallery.get(second, "gallery descriptors", 2) ||
        !is_query(query) || !offsets.get(third, "offsets", 1) || !counts.get(fourth, "counts", 1, true))
        return nullptr;
    if (!gallery.like(query)) {
        Array::refuse("descriptors", "must be of one type and length");
        return nullptr;
    }
    if (!offsets.is("lq", 8) || !counts.is("lq", 8)) {
        Array::refuse("offsets and counts", "must be int64");
        return nullptr;
    }
    if (offsets.shape(0) == 0 || counts.shape(0) != offsets.shape(0) - 1) {
        Array::refuse("offsets", "must have one element more than counts");
        return nullptr;
    }
    const std::size_t images = counts.shape(0);
    const std::int64_t* const at = offsets.data<std::int64_t>();
    if (at[0] < 0 || at[images] > static_cast<std::int64_t>(gallery.shape(0))) {
        Array::refuse("offsets", "point outside the gallery");
        return nullptr;
    }
    for (std::size_t b = 0; b < images; ++b) {
        if (at[b] > at[b + 1]) {
            Array::refuse("offsets", "must not decrease");
            return nullptr;
        }
        if (at[b + 1] - at[b] > INT32_MAX / 2) {
            Array::refuse("offsets", "make an image too large");
            return nullptr;
        }
    }
    if (threads < 1) {
        Array::refuse("threads", "must be at least 1");
        return nullptr;
    }
    imagefinder::Near also{nullptr, nullptr};
    if (fifth || sixth) {
        if (!sixth || !least.get(fifth, "least", 1) || !near.get(sixth, "near counts", 1, true)) {
            if (!PyErr_Occurred()) Array::refuse("near counts", "are missing");
            return nullptr;
        }
        if (!least.is("d", 8) || !near.is("lq", 8) || least.shape(0) != query.shape(0) ||
            near.shape(0) != images) {
            Array::refuse("least and near counts", "must be float64 per query descriptor and int64 per image");
            return nullptr;
        }
        also = {least.data<double>(), near.data<std::int64_t>()};
    }
    imagefinder::Kept kept{nullptr, 0, nullptr};
    if (seventh || eighth) {
        if (!eighth || !found.get(seventh, "found", 2, true) || !begins.get(eighth, "begins", 1, true)) {
            if (!PyErr_Occurred()) Array::refuse("begins", "are missing");
            return nullptr;
        }
        if (!found.is("lq", 8) || found.shape(1) != 2 || !begins.is("lq", 8) || begins.shape(0) != images) {
            Array::refuse("found and begins", "must be int64 pairs and one int64 per image");
            return nullptr;
        }
        kept = {found.data<std::int64_t>(), found.shape(0), begins.data<std::int64_t>()};
    }
    const InstructionSet* const set = named(isa);
    if (!set) return nullptr;
    const Problem problem = problem_of(query, *set);
    if (!unlocked([&] {
            imagefinder::count(problem, gallery.data<void>(), at, images, static_cast<std::size_t>(threads),
                               counts.data<std::int64_t>(), also, kept);
        }))
        return nullptr;
    Py_RETURN_NONE;
}

// The images of a list of descriptors of the same type and length as those of the query.
bool images_of(PyObject* list, const Array& query, std::deque<Array>& arrays, std::vector<Descriptors>& images) {
    const Py_ssize_t size = PySequence_Size(list);
    for (Py_ssize_t b = 0; b < size; ++b) {
        Array& array = arrays.emplace_back();
        if (!array.take(PySequence_GetItem(list, b), "candidate descriptors", 2)) return false;
        if (!array.like(query)) return Array::refuse("descriptors", "must be of one type and length");
        if (array.shape(0) > INT32_MAX / 2) return Array::refuse("candidate descriptors", "are too many");
        images.push_back({array.data<void>(), array.shape(0)});
    }
    return size >= 0;
}

PyObject* pairs(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third, *fourth;
    Py_ssize_t threads;
    const char* isa = nullptr;
    if (!PyArg_ParseTuple(arguments, "OOOOn|z", &first, &second, &third, &fourth, &threads, &isa)) return nullptr;
    Array query, found, counts;
    std::deque<Array> arrays;
    std::vector<Descriptors> images;
    if (!query.get(first, "query descriptors", 2) || !is_query(query) ||
        !images_of(second, query, arrays, images) || !found.get(third, "found", 2, true) ||
        !counts.get(fourth, "counts", 1, true))
        return nullptr;
    std::size_t capacity = 0;
    for (const Descriptors& image : images) capacity += std::min(image.rows, query.shape(0));
    if (!found.is("lq", 8) || found.shape(0) < capacity || found.shape(1) != 2 || !counts.is("lq", 8) ||
        counts.shape(0) != images.size()) {
        Array::refuse("found and counts", "must be int64 with capacity for every pair and image");
        return nullptr;
    }
    if (threads < 1) {
        Array::refuse("threads", "must be at least 1");
        return nullptr;
    }
    const InstructionSet* const set = named(isa);
    if (!set) return nullptr;
    const Problem problem = problem_of(query, *set);
    if (!unlocked([&] {
            imagefinder::pairs(problem, images, static_cast<std::size_t>(threads), found.data<std::int64_t>(),
                               counts.data<std::int64_t>());
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* vote(PyObject*, PyObject* arguments) {
    PyObject* given[8];
    int plain = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOOOOO|p", &given[0], &given[1], &given[2], &given[3], &given[4], &given[5],
                          &given[6], &given[7], &plain))
        return nullptr;
    static const char* const names[] = {"starts",      "owners",  "codes",    "words",
                                        "query_codes", "weights", "rarities", "votes"};
    static const char* const formats[] = {"lq", "il", "LQ", "il", "LQ", "lq", "lq", "lq"};
    static const Py_ssize_t sizes[] = {8, 4, 8, 4, 8, 8, 8, 8};
    Array arrays[8];
    for (int i = 0; i < 8; ++i) {
        if (!arrays[i].get(given[i], names[i], 1, i == 7)) return nullptr;
        if (!arrays[i].is(formats[i], sizes[i])) {
            Array::refuse(names[i], "must be of the right integer type");
            return nullptr;
        }
    }
    const Array &starts = arrays[0], &owners = arrays[1], &codes = arrays[2], &words = arrays[3];
    const Array& query_codes = arrays[4];
    if (starts.shape(0) == 0 || owners.shape(0) != codes.shape(0) || words.shape(0) != query_codes.shape(0) ||
        arrays[5].shape(0) != 65 || arrays[6].shape(0) != starts.shape(0) - 1) {
        Array::refuse("arrays", "must be of lengths that belong together");
        return nullptr;
    }
    const imagefinder::InvertedFile file{starts.data<std::int64_t>(),  starts.shape(0) - 1, owners.data<std::int32_t>(),
                                         codes.data<std::uint64_t>(), owners.shape(0),     arrays[7].shape(0)};
    const imagefinder::VoteQuery query{words.data<std::int32_t>(), query_codes.data<std::uint64_t>(), words.shape(0),
                                       arrays[5].data<std::int64_t>(), arrays[6].data<std::int64_t>()};
    const auto count = plain ? imagefinder::vote_plain : imagefinder::vote;
    if (!unlocked([&] { count(file, query, arrays[7].data<std::int64_t>()); })) return nullptr;
    Py_RETURN_NONE;
}

PyObject* dots(PyObject*, PyObject* arguments) {
    PyObject* given[5];
    int plain = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOO|p", &given[0], &given[1], &given[2], &given[3], &given[4], &plain))
        return nullptr;
    Array rows, begins, ends, vector, products;
    if (!rows.get(given[0], "rows", 2) || !begins.get(given[1], "begins", 1) || !ends.get(given[2], "ends", 1) ||
        !vector.get(given[3], "vector", 1) || !products.get(given[4], "products", 1, true))
        return nullptr;
    if (!rows.is("b", 1) || !begins.is("lq", 8) || !ends.is("lq", 8) || !vector.is("h", 2) || !products.is("il", 4)) {
        Array::refuse("arrays", "must be of the right integer type");
        return nullptr;
    }
    const std::size_t length = vector.shape(0), ranges = begins.shape(0);
    bool fits = rows.shape(1) == length && ends.shape(0) == ranges;
    std::size_t total = 0;
    for (std::size_t i = 0; fits && i < ranges; ++i) {
        const std::int64_t first = begins.data<std::int64_t>()[i], last = ends.data<std::int64_t>()[i];
        fits = 0 <= first && first <= last && static_cast<std::size_t>(last) <= rows.shape(0);
        if (fits) total += static_cast<std::size_t>(last - first);
    }
    if (!fits || products.shape(0) != total) {
        Array::refuse("arrays", "must be of sizes that belong together");
        return nullptr;
    }
    const imagefinder::Dot dot = plain ? imagefinder::plain_dot : imagefinder::fastest_dot();
    if (!unlocked([&] {
            std::int32_t* to = products.data<std::int32_t>();
            for (std::size_t i = 0; i < ranges; ++i)
                for (std::int64_t r = begins.data<std::int64_t>()[i]; r < ends.data<std::int64_t>()[i]; ++r)
                    *to++ = dot(rows.data<std::int8_t>() + static_cast<std::size_t>(r) * length,
                                vector.data<std::int16_t>(), length);
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* nearest_words(PyObject*, PyObject* arguments) {
    PyObject* given[7];
    int plain = 0;
    if (!PyArg_ParseTuple(arguments, "OOOOOOO|p", &given[0], &given[1], &given[2], &given[3], &given[4], &given[5],
                          &given[6], &plain))
        return nullptr;
    static const char* const names[] = {"vectors", "rows", "cells", "centres", "halves", "words", "scores"};
    static const char* const formats[] = {"B", "il", "il", "b", "il", "il", "il"};
    static const int dimensions[] = {2, 1, 1, 5, 2, 2, 2};
    Array arrays[7];
    for (int i = 0; i < 7; ++i) {
        if (!arrays[i].get(given[i], names[i], dimensions[i], i >= 5)) return nullptr;
        if (!arrays[i].is(formats[i], i == 0 || i == 3 ? 1 : 4)) {
            Array::refuse(names[i], "must be of the right integer type");
            return nullptr;
        }
    }
    const Array &vectors = arrays[0], &rows = arrays[1], &centres = arrays[3], &halves = arrays[4];
    const Array &words = arrays[5], &scores = arrays[6];
    const std::size_t many = words.shape(1);
    const bool fits = centres.shape(3) == imagefinder::kWordLanes && centres.shape(4) == imagefinder::kWordGroup &&
                      centres.shape(1) % 2 == 0 && vectors.shape(1) == centres.shape(2) * imagefinder::kWordGroup &&
                      halves.shape(0) == centres.shape(0) &&
                      halves.shape(1) == centres.shape(1) * imagefinder::kWordLanes &&
                      arrays[2].shape(0) == rows.shape(0) && words.shape(0) == rows.shape(0) &&
                      scores.shape(0) == rows.shape(0) && scores.shape(1) == many && 0 < many &&
                      many <= imagefinder::kMostNearest && halves.shape(0) * halves.shape(1) <= INT32_MAX;
    if (!fits) {
        Array::refuse("arrays", "must be of sizes that belong together");
        return nullptr;
    }
    const imagefinder::Words vocabulary{centres.data<std::int8_t>(), halves.data<std::int32_t>(), centres.shape(0),
                                        centres.shape(1), centres.shape(2)};
    const imagefinder::WordPairs pairs{vectors.data<std::uint8_t>(), rows.data<std::int32_t>(),
                                       arrays[2].data<std::int32_t>(), vectors.shape(0), rows.shape(0)};
    const auto search = plain ? imagefinder::nearest_words_plain : imagefinder::nearest_words;
    if (!unlocked([&] { search(vocabulary, pairs, many, words.data<std::int32_t>(), scores.data<std::int32_t>()); }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* add_rows(PyObject*, PyObject* arguments) {
    PyObject* given[4];
    if (!PyArg_ParseTuple(arguments, "OOOO", &given[0], &given[1], &given[2], &given[3])) return nullptr;
    Array vectors, owners, sums, counts;
    if (!vectors.get(given[0], "vectors", 2) || !owners.get(given[1], "owners", 1) ||
        !sums.get(given[2], "sums", 2, true) || !counts.get(given[3], "counts", 1, true))
        return nullptr;
    if (!vectors.is("B", 1) || !owners.is("il", 4) || !sums.is("il", 4) || !counts.is("il", 4)) {
        Array::refuse("arrays", "must be of the right integer type");
        return nullptr;
    }
    if (vectors.shape(0) != owners.shape(0) || vectors.shape(1) != sums.shape(1) ||
        sums.shape(0) != counts.shape(0) || vectors.shape(0) > INT32_MAX / 256) {
        Array::refuse("arrays", "must be of sizes that belong together");
        return nullptr;
    }
    if (!unlocked([&] {
            imagefinder::add_rows(vectors.data<std::uint8_t>(), owners.data<std::int32_t>(), vectors.shape(0),
                                  vectors.shape(1), sums.data<std::int32_t>(), counts.data<std::int32_t>(),
                                  counts.shape(0));
        }))
        return nullptr;
    Py_RETURN_NONE;
}

PyObject* supported(PyObject*, PyObject*) {
    const auto& sets = imagefinder::supported();
    PyObject* names = PyTuple_New(static_cast<Py_ssize_t>(sets.size()));
    for (std::size_t i = 0; names && i < sets.size(); ++i) {
        PyObject* name = PyUnicode_FromString(sets[i]->name);
        if (!name || PyTuple_SetItem(names, static_cast<Py_ssize_t>(i), name)) {
            Py_DECREF(names);
            return nullptr;
        }
    }
    return names;
}

PyMethodDef methods[] = {
    {"count", count, METH_VARARGS,
     "count(query, gallery, offsets, counts, threads, isa=None, least, near)\n\n"
     "Number of mutual nearest neighbours with every image, and of those whose product reaches a minimum."},
    {"pairs", pairs, METH_VARARGS,
     "pairs(query, candidates, found, counts, threads, isa=None)\n\n"
     "The mutual nearest neighbours of a query and each of a list of images, and their numbers."},
    {"fit", imagefinder::fit_binding, METH_VARARGS,
     "fit(pairs, limits, inliers, threads)\n\n"
     "The transform that most matches agree on, for each of a list of pairs of images: (query descriptors, keypoints, "
     "candidate descriptors, keypoints, matches, reach here, reach there, max_scale, width, height)."},
    {"displacements", imagefinder::displacements_binding, METH_VARARGS,
     "displacements(query, candidate, corners, found, block, radius, plain=False)\n\n"
     "Where blocks of an image are found in another one, and their correlations."},
    {"by_level", imagefinder::by_level_binding, METH_VARARGS,
     "by_level(levels, inside, order, counts)\n\nThe pixels inside an overlap, sorted by level, and their number."},
    {"fit_colours", imagefinder::fit_colours_binding, METH_VARARGS,
     "fit_colours(rgb, grey, ridge, kept, fits)\n\nA polynomial from colours to grey levels, by least trimmed squares."},
    {"map_colours", imagefinder::map_colours_binding, METH_VARARGS,
     "map_colours(rgb, coefficients, least, most, mapped)\n\nThe polynomial of each pixel, limited to a range."},
    {"correlation", imagefinder::correlation_binding, METH_VARARGS,
     "correlation(one, other, inside)\n\nCorrelation of two images inside their overlap."},
    {"windows", imagefinder::windows_binding, METH_VARARGS,
     "windows(one, other, centres, found, side, reach, flat, plain=False)\n\n"
     "Correlations of windows of an image with shifted windows of another one."},
    {"alike", imagefinder::alike_binding, METH_VARARGS,
     "alike(one, other, inside, side, texture, alike)\n\nNumber of windows with texture, and of those that correlate."},
    {"unexplained", imagefinder::unexplained_binding, METH_VARARGS,
     "unexplained(mine, theirs, inside, counts, strong, weak, like, cell)\n\n"
     "Strong edge pixels in each cell without an edge of like direction in the other image."},
    {"vote", vote, METH_VARARGS,
     "vote(starts, owners, codes, words, query_codes, weights, rarities, votes, plain=False)\n\n"
     "Votes of binary codes for images; plain: without the CPU's bit count instructions."},
    {"dots", dots, METH_VARARGS,
     "dots(rows, begins, ends, vector, products, plain=False)\n\n"
     "Dot products of ranges of int8 rows with one int16 vector."},
    {"nearest_words", nearest_words, METH_VARARGS,
     "nearest_words(vectors, rows, cells, centres, halves, words, scores, plain=False)\n\n"
     "The nearest words of uint8 vectors within cells of a vocabulary."},
    {"add_rows", add_rows, METH_VARARGS,
     "add_rows(vectors, owners, sums, counts)\n\nAdds each row of uint8 vectors to the sum of its owner."},
    {"supported", supported, METH_NOARGS,
     "supported()\n\nThe instruction sets that this processor supports, fastest first; the first one is used."},
    {nullptr, nullptr, 0, nullptr}};

PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", "Mutual nearest neighbours in native code.", 0, methods,
                      nullptr,               nullptr,   nullptr,                                      nullptr};

}  // namespace

PyMODINIT_FUNC PyInit__native() {
    PyObject* const made = PyModule_Create(&module);
    if (made && PyModule_AddIntConstant(made, "LONGEST_BYTES", static_cast<long>(imagefinder::kLongestBytes))) {
        Py_DECREF(made);
        return nullptr;
    }
    return made;
}
