// The transform that most matches of two images agree on, for many pairs of images, on several threads.
//
// `kernels/geometry_numpy.py` defines the steps and explains them; this code takes the same decisions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "linear.hpp"

namespace imagefinder {

// The constants of kernels/geometry.py, in the order in which Python passes them.
struct Limits {
    double proposals, refined;
    double needed[3];  // by model: similarity, affine, homography
    double gain, tolerance_per_size, slack, max_angle, max_octaves, max_anisotropy, max_depth;
    double shrinking[5];
};
constexpr std::size_t kLimits = sizeof(Limits) / sizeof(double);

enum class Element { kUint8, kInt8, kFloat32 };

// The features of one image; a keypoint is x, y, size, angle.
struct Keypoints {
    const void* descriptors;
    const float* keypoints;
    std::size_t rows;
};

// Sizes of a pair: tolerances in pixels of both images, largest scale, width and height of the query.
struct PairSizes {
    double reach_here, reach_there, max_scale, width, height;
};

struct MatchedPair {
    Keypoints query, candidate;
    Element element;
    std::size_t length;           // of a descriptor
    const std::int64_t* matches;  // (query row, candidate row) each, within the rows
    std::size_t size;             // number of matches
    PairSizes sizes;
    std::uint8_t* inliers;  // out, per match: 1 for inliers
};

struct FittedModel {
    std::int32_t model = -1;  // as in Limits::needed; -1: none
    Matrix3 matrix{};
    std::int64_t usable = 0;  // matches of keypoints with size and angle
    double reach = 0;         // their median tolerance in pixels of the candidate
};

// Fits each pair. A thread needs about 350 bytes per match of the largest pair.
void fit(const Limits& limits, const MatchedPair* pairs, std::size_t count, std::size_t threads, FittedModel* fitted);

}  // namespace imagefinder
