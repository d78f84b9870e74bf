// Transforms of the plane: their application, and their estimate from points by least squares.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "linear.hpp"

namespace imagefinder {

using Rows = std::vector<std::uint32_t>;  // numbers of points or matches, ascending

struct Point {
    double x, y;
};

inline Point moved(const Matrix3& m, Point p, double& depth) {
    depth = p.x * m[6] + p.y * m[7] + m[8];
    if (std::fabs(depth) < 1e-9) depth = 1e-9;
    return {(p.x * m[0] + p.y * m[1] + m[2]) / depth, (p.x * m[3] + p.y * m[4] + m[5]) / depth};
}

// The Jacobian (a, b; c, d) of a transform at a point.
struct Jacobian {
    double a, b, c, d;
    Jacobian(const Matrix3& m, Point p) {
        double depth;
        const Point to = moved(m, p, depth);
        a = (m[0] - to.x * m[6]) / depth;
        b = (m[1] - to.x * m[7]) / depth;
        c = (m[3] - to.y * m[6]) / depth;
        d = (m[4] - to.y * m[7]) / depth;
    }
    double determinant() const { return a * d - b * c; }
};

// Mean of some points, standard deviation of their coordinates, and root mean square distance from the mean.
struct Frame {
    Point middle{0, 0};
    double unit = 0, spread = 0;
    Frame(const std::vector<Point>& points, const Rows& rows) {
        const auto n = static_cast<double>(rows.size());
        for (const auto r : rows) {
            middle.x += points[r].x;
            middle.y += points[r].y;
        }
        middle.x /= n;
        middle.y /= n;
        double sum = 0;
        for (const auto r : rows) {
            const double x = points[r].x - middle.x, y = points[r].y - middle.y;
            sum += x * x + y * y;
        }
        unit = std::sqrt(sum / (2 * n));
        spread = std::sqrt(sum / n);
    }
    Point of(Point p) const { return {(p.x - middle.x) / unit, (p.y - middle.y) / unit}; }
};

// Corresponding points of two images, each in its frame.
using Normalised = std::vector<std::pair<Point, Point>>;

// The models; false if the points do not determine one.
bool similarity(const Normalised& points, Matrix3& solved);
bool affine(const Normalised& points, Matrix3& solved);
bool homography(const Normalised& points, Matrix3& solved);

}  // namespace imagefinder
