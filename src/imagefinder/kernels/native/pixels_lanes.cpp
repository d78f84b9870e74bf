#include "pixels_lanes.hpp"

#include "cpu.hpp"

namespace imagefinder {
namespace {

void correlate(const double* block, std::size_t side, const double* area, std::size_t stride, double* products,
               std::size_t products_stride) {
    double first[kLanes] = {}, second[kLanes] = {};
    for (std::size_t i = 0; i < side; ++i, block += side, area += stride) {
        for (std::size_t j = 0; j < side; ++j) {
            for (std::size_t lane = 0; lane < kLanes; ++lane) first[lane] += block[j] * area[j + lane];
            for (std::size_t lane = 0; lane < kLanes; ++lane) second[lane] += block[j] * area[stride + j + lane];
        }
    }
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
        products[lane] = first[lane];
        products[products_stride + lane] = second[lane];
    }
}

void slide(const float* window, std::size_t side, const float* area, std::size_t stride, std::size_t rows,
           double* products) {
    for (std::size_t row = 0; row < rows; ++row, area += stride, products += kMostShifts) {
        double sums[kShifts] = {};
        for (std::size_t i = 0; i < side; ++i) {
            for (std::size_t j = 0; j < side; ++j) {
                const float value = window[i * side + j];
                const float* const at = area + i * stride + j;
                for (std::size_t lane = 0; lane < kShifts; ++lane) sums[lane] += static_cast<double>(value * at[lane]);
            }
        }
        for (std::size_t lane = 0; lane < kShifts; ++lane) products[lane] = sums[lane];
    }
}

}  // namespace

const PixelLanes kPlainPixelLanes = {correlate, slide};

}  // namespace imagefinder

#if defined(__x86_64__) || defined(_M_X64)

#include <immintrin.h>

IMAGEFINDER_TARGET_BEGIN("avx2,fma")

namespace imagefinder {
namespace {

void avx2_correlate(const double* block, std::size_t side, const double* area, std::size_t stride, double* products,
                    std::size_t products_stride) {
    static_assert(kLanes == 12, "three vectors");
    __m256d sums[6];
    for (__m256d& sum : sums) sum = _mm256_setzero_pd();
    for (std::size_t i = 0; i < side; ++i, block += side, area += stride) {
        const double* const below = area + stride;
        for (std::size_t j = 0; j < side; ++j) {
            const __m256d value = _mm256_broadcast_sd(block + j);
            // Fused or not, the sums are the same, as the products are exact.
            sums[0] = _mm256_fmadd_pd(value, _mm256_loadu_pd(area + j), sums[0]);
            sums[1] = _mm256_fmadd_pd(value, _mm256_loadu_pd(area + j + 4), sums[1]);
            sums[2] = _mm256_fmadd_pd(value, _mm256_loadu_pd(area + j + 8), sums[2]);
            sums[3] = _mm256_fmadd_pd(value, _mm256_loadu_pd(below + j), sums[3]);
            sums[4] = _mm256_fmadd_pd(value, _mm256_loadu_pd(below + j + 4), sums[4]);
            sums[5] = _mm256_fmadd_pd(value, _mm256_loadu_pd(below + j + 8), sums[5]);
        }
    }
    for (std::size_t part = 0; part < 3; ++part) {
        _mm256_storeu_pd(products + 4 * part, sums[part]);
        _mm256_storeu_pd(products + products_stride + 4 * part, sums[3 + part]);
    }
}

template <std::size_t Rows>
void avx2_slide_rows(const float* window, std::size_t side, const float* area, std::size_t stride, double* products) {
    static_assert(kShifts == 8, "one vector of floats");
    __m256d low[Rows], high[Rows];
    for (std::size_t row = 0; row < Rows; ++row) low[row] = high[row] = _mm256_setzero_pd();
    for (std::size_t i = 0; i < side; ++i, area += stride) {
        for (std::size_t j = 0; j < side; ++j) {
            const __m256 value = _mm256_broadcast_ss(window++);
            for (std::size_t row = 0; row < Rows; ++row) {
                const __m256 product = _mm256_mul_ps(value, _mm256_loadu_ps(area + row * stride + j));
                low[row] = _mm256_add_pd(low[row], _mm256_cvtps_pd(_mm256_castps256_ps128(product)));
                high[row] = _mm256_add_pd(high[row], _mm256_cvtps_pd(_mm256_extractf128_ps(product, 1)));
            }
        }
    }
    for (std::size_t row = 0; row < Rows; ++row) {
        _mm256_storeu_pd(products + row * kMostShifts, low[row]);
        _mm256_storeu_pd(products + row * kMostShifts + 4, high[row]);
    }
}

void avx2_slide(const float* window, std::size_t side, const float* area, std::size_t stride, std::size_t rows,
                double* products) {
    std::size_t row = 0;
    for (; row + 4 <= rows; row += 4)
        avx2_slide_rows<4>(window, side, area + row * stride, stride, products + row * kMostShifts);
    for (; row + 3 <= rows; row += 3)
        avx2_slide_rows<3>(window, side, area + row * stride, stride, products + row * kMostShifts);
    for (; row < rows; ++row)
        avx2_slide_rows<1>(window, side, area + row * stride, stride, products + row * kMostShifts);
}

}  // namespace
}  // namespace imagefinder

IMAGEFINDER_TARGET_END

imagefinder::PixelLanes imagefinder::pixel_lanes() {
    static const bool has_avx2 = cpu_has_avx2();
    return has_avx2 ? PixelLanes{avx2_correlate, avx2_slide} : kPlainPixelLanes;
}

#else

imagefinder::PixelLanes imagefinder::pixel_lanes() { return kPlainPixelLanes; }

#endif
