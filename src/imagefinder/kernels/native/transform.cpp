#include "transform.hpp"

#include <algorithm>
#include <limits>

namespace imagefinder {

bool similarity(const Normalised& points, Matrix3& solved) {
    double real = 0, imaginary = 0, norm = 0;
    for (const auto& [p, q] : points) {
        real += p.x * q.x + p.y * q.y;
        imaginary += p.x * q.y - p.y * q.x;
        norm += p.x * p.x + p.y * p.y;
    }
    real /= norm;
    imaginary /= norm;
    solved = {real, -imaginary, 0, imaginary, real, 0, 0, 0, 1};
    return true;
}

bool affine(const Normalised& points, Matrix3& solved) {
    double xx = 0, xy = 0, yy = 0, xu = 0, xv = 0, yu = 0, yv = 0;
    for (const auto& [p, q] : points) {
        xx += p.x * p.x;
        xy += p.x * p.y;
        yy += p.y * p.y;
        xu += p.x * q.x;
        xv += p.x * q.y;
        yu += p.y * q.x;
        yv += p.y * q.y;
    }
    const double half = (xx - yy) / 2, trace = xx + yy;
    if (trace / 2 - std::sqrt(half * half + xy * xy) <= 1e-3 * trace) return false;  // the points are collinear
    const double determinant = xx * yy - xy * xy;
    solved = {(yy * xu - xy * yu) / determinant, (xx * yu - xy * xu) / determinant, 0,
              (yy * xv - xy * yv) / determinant, (xx * yv - xy * xv) / determinant, 0, 0, 0, 1};
    return true;
}

bool homography(const Normalised& points, Matrix3& solved) {
    // The normal matrix consists of four sums of p p' with p = (x, y, 1): plain, and weighted by u, v and u^2 + v^2.
    double sums[4][6] = {};
    for (const auto& [p, q] : points) {
        const double weights[4] = {1, q.x, q.y, q.x * q.x + q.y * q.y};
        const double products[6] = {p.x * p.x, p.x * p.y, p.x, p.y * p.y, p.y, 1};
        for (int w = 0; w < 4; ++w)
            for (int k = 0; k < 6; ++k) sums[w][k] += weights[w] * products[k];
    }
    static constexpr int kAt[3][3] = {{0, 1, 2}, {1, 3, 4}, {2, 4, 5}};
    double normal[9][9] = {}, values[9], vectors[9][9];
    for (std::size_t i = 0; i < 3; ++i) {
        for (std::size_t j = 0; j < 3; ++j) {
            const int k = kAt[i][j];
            normal[i][j] = normal[i + 3][j + 3] = sums[0][k];
            normal[i][j + 6] = normal[j + 6][i] = -sums[1][k];
            normal[i + 3][j + 6] = normal[j + 6][i + 3] = -sums[2][k];
            normal[i + 6][j + 6] = sums[3][k];
        }
    }
    eigen(normal, values, vectors);
    const auto at = static_cast<std::size_t>(std::min_element(values, values + 9) - values);
    double next = std::numeric_limits<double>::infinity();
    for (std::size_t i = 0; i < 9; ++i)
        if (i != at) next = std::min(next, values[i]);
    if (next <= 1e-9 || values[at] > next / 2) return false;  // the solution is not unique
    for (std::size_t i = 0; i < 9; ++i) solved[i] = vectors[i][at];
    return true;
}

}  // namespace imagefinder
