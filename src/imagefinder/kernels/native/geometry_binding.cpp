#include "bindings.hpp"

#include <deque>
#include <vector>

#include "geometry.hpp"

namespace imagefinder {
namespace {

// The arrays of one pair of images to fit, and what follows from them.
struct FitArguments {
    Array query, query_keypoints, candidate, candidate_keypoints, matches;
    MatchedPair pair{};

    bool get(PyObject* tuple) {
        PyObject* given[5];
        PairSizes& sizes = pair.sizes;
        if (!tuple || !PyArg_ParseTuple(tuple, "OOOOOddddd", &given[0], &given[1], &given[2], &given[3], &given[4],
                                        &sizes.reach_here, &sizes.reach_there, &sizes.max_scale, &sizes.width,
                                        &sizes.height))
            return false;
        if (!query.get(given[0], "query descriptors", 2) || !query_keypoints.get(given[1], "query keypoints", 2) ||
            !candidate.get(given[2], "candidate descriptors", 2) ||
            !candidate_keypoints.get(given[3], "candidate keypoints", 2) || !matches.get(given[4], "matches", 2))
            return false;
        if (!candidate.like(query)) return Array::refuse("descriptors", "must be of one type and length");
        if (!query.is_descriptors()) return Array::refuse("descriptors", "must be uint8, int8 or float32");
        if (!is_keypoints(query, query_keypoints) || !is_keypoints(candidate, candidate_keypoints))
            return Array::refuse("keypoints", "must be (N, 4) float32, one for each descriptor");
        if (!matches.is("lq", 8) || matches.shape(1) != 2 || matches.shape(0) > INT32_MAX)
            return Array::refuse("matches", "must be (M, 2) int64");
        pair.query = {query.data<void>(), query_keypoints.data<float>(), query.shape(0)};
        pair.candidate = {candidate.data<void>(), candidate_keypoints.data<float>(), candidate.shape(0)};
        pair.element = query.is("f", 4)   ? Element::kFloat32
                       : query.is("b", 1) ? Element::kInt8
                                          : Element::kUint8;
        pair.length = query.shape(1);
        pair.matches = matches.data<std::int64_t>();
        pair.size = matches.shape(0);
        for (std::size_t m = 0; m < pair.size; ++m) {
            const std::int64_t i = pair.matches[2 * m], j = pair.matches[2 * m + 1];
            if (i < 0 || j < 0 || static_cast<std::size_t>(i) >= pair.query.rows ||
                static_cast<std::size_t>(j) >= pair.candidate.rows)
                return Array::refuse("matches", "point outside the descriptors");
        }
        return true;
    }
    static bool is_keypoints(const Array& descriptors, const Array& keypoints) {
        return keypoints.is("f", 4) && keypoints.shape(1) == 4 && keypoints.shape(0) == descriptors.shape(0);
    }
};

// The answer for one pair: (model, matrix, usable, reach), or None.
PyObject* as_tuple(const FittedModel& fitted) {
    if (fitted.model < 0) Py_RETURN_NONE;
    const auto& m = fitted.matrix;
    return Py_BuildValue("(i((ddd)(ddd)(ddd))Ld)", static_cast<int>(fitted.model), m[0], m[1], m[2], m[3], m[4], m[5],
                         m[6], m[7], m[8], static_cast<long long>(fitted.usable), fitted.reach);
}

}  // namespace

PyObject* fit_binding(PyObject*, PyObject* arguments) {
    PyObject *first, *second, *third;
    Py_ssize_t threads;
    if (!PyArg_ParseTuple(arguments, "OOOn", &first, &second, &third, &threads)) return nullptr;
    Array constants, inliers;
    if (!constants.get(second, "limits", 1) || !inliers.get(third, "inliers", 1, true)) return nullptr;
    if (!constants.is("d", 8) || constants.shape(0) != kLimits || !inliers.is("B?", 1) || threads < 1) {
        Array::refuse("limits, inliers or threads", "are invalid");
        return nullptr;
    }
    Limits limits;
    std::memcpy(&limits, constants.data<void>(), sizeof limits);
    std::deque<FitArguments> given;
    std::vector<MatchedPair> pairs;
    std::size_t total = 0;
    const Py_ssize_t size = PySequence_Size(first);
    for (Py_ssize_t p = 0; p < size; ++p) {
        PyObject* const tuple = PySequence_GetItem(first, p);
        const bool valid = given.emplace_back().get(tuple);
        Py_XDECREF(tuple);
        if (!valid) return nullptr;
        pairs.push_back(given.back().pair);
        pairs.back().inliers = inliers.data<std::uint8_t>() + total;
        total += pairs.back().size;
        if (total > inliers.shape(0)) break;
    }
    if (size < 0) return nullptr;
    if (total != inliers.shape(0)) {
        Array::refuse("inliers", "must have one element for each match");
        return nullptr;
    }
    std::vector<FittedModel> fitted(pairs.size());
    if (!unlocked([&] {
            fit(limits, pairs.data(), pairs.size(), static_cast<std::size_t>(threads), fitted.data());
        }))
        return nullptr;
    PyObject* const answer = PyList_New(size);
    for (Py_ssize_t p = 0; answer && p < size; ++p) {
        PyObject* const one = as_tuple(fitted[static_cast<std::size_t>(p)]);
        if (!one || PyList_SetItem(answer, p, one)) {
            Py_DECREF(answer);
            return nullptr;
        }
    }
    return answer;
}

}  // namespace imagefinder
