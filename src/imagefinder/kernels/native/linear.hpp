// Small dense linear algebra in double precision: 3 x 3 matrices, and the eigenvectors of symmetric matrices.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

namespace imagefinder {

using Matrix3 = std::array<double, 9>;  // row by row

inline Matrix3 multiplied(const Matrix3& a, const Matrix3& b) {
    Matrix3 product{};
    for (std::size_t i = 0; i < 3; ++i)
        for (std::size_t k = 0; k < 3; ++k)
            for (std::size_t j = 0; j < 3; ++j) product[3 * i + j] += a[3 * i + k] * b[3 * k + j];
    return product;
}

// Inverts a matrix by Gauss-Jordan elimination with partial pivoting; false if it is singular.
inline bool inverted(Matrix3 a, Matrix3& inverse) {
    inverse = {1, 0, 0, 0, 1, 0, 0, 0, 1};
    for (std::size_t c = 0; c < 3; ++c) {
        std::size_t pivot = c;
        for (std::size_t r = c + 1; r < 3; ++r)
            if (std::fabs(a[3 * r + c]) > std::fabs(a[3 * pivot + c])) pivot = r;
        const double divisor = a[3 * pivot + c];
        if (divisor == 0 || !std::isfinite(divisor)) return false;
        for (std::size_t k = 0; k < 3; ++k) {
            std::swap(a[3 * c + k], a[3 * pivot + k]);
            std::swap(inverse[3 * c + k], inverse[3 * pivot + k]);
        }
        for (std::size_t k = 0; k < 3; ++k) {
            a[3 * c + k] /= divisor;
            inverse[3 * c + k] /= divisor;
        }
        for (std::size_t r = 0; r < 3; ++r) {
            if (r == c) continue;
            const double factor = a[3 * r + c];
            for (std::size_t k = 0; k < 3; ++k) {
                a[3 * r + k] -= factor * a[3 * c + k];
                inverse[3 * r + k] -= factor * inverse[3 * c + k];
            }
        }
    }
    return true;
}

// The eigenvalues of a symmetric N x N matrix, unordered, and its eigenvectors as columns, by cyclic Jacobi rotations.
// Source: G. Golub, C. Van Loan, "Matrix computations", 4th ed., section 8.5.
template <std::size_t N>
void eigen(double (&a)[N][N], double (&values)[N], double (&vectors)[N][N]) {
    constexpr int kMostSweeps = 50;  // about seven suffice
    for (std::size_t i = 0; i < N; ++i)
        for (std::size_t j = 0; j < N; ++j) vectors[i][j] = i == j;
    for (int sweep = 0; sweep < kMostSweeps; ++sweep) {
        bool is_diagonal = true;
        for (std::size_t p = 0; p + 1 < N; ++p) {
            for (std::size_t q = p + 1; q < N; ++q) {
                const double off = a[p][q];
                if (std::fabs(off) <= 1e-18 * (std::fabs(a[p][p]) + std::fabs(a[q][q])) || off == 0) continue;
                is_diagonal = false;
                const double half = (a[q][q] - a[p][p]) / (2 * off);
                const double t = (half >= 0 ? 1 : -1) / (std::fabs(half) + std::sqrt(half * half + 1));
                const double c = 1 / std::sqrt(t * t + 1), s = t * c;
                for (std::size_t k = 0; k < N; ++k) {
                    const double x = a[k][p], y = a[k][q];
                    a[k][p] = c * x - s * y;
                    a[k][q] = s * x + c * y;
                }
                for (std::size_t k = 0; k < N; ++k) {
                    const double x = a[p][k], y = a[q][k];
                    a[p][k] = c * x - s * y;
                    a[q][k] = s * x + c * y;
                }
                a[p][q] = a[q][p] = 0;
                for (std::size_t k = 0; k < N; ++k) {
                    const double x = vectors[k][p], y = vectors[k][q];
                    vectors[k][p] = c * x - s * y;
                    vectors[k][q] = s * x + c * y;
                }
            }
        }
        if (is_diagonal) break;
    }
    for (std::size_t i = 0; i < N; ++i) values[i] = a[i][i];
}

}  // namespace imagefinder
