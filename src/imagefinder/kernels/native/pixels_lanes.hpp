// The inner loops of pixels.cpp: products of a window with many windows next to each other, one per lane. Each lane
// adds its products in the same order, so the sums do not depend on the processor.
#pragma once

#include <cstddef>

namespace imagefinder {

constexpr std::size_t kLanes = 12, kShifts = 8, kMostShifts = 64;

struct PixelLanes {
    // Sums of products of a square block with kLanes areas that begin at `area`, each a pixel further right, and with
    // kLanes areas a row below. The products of single-precision numbers are exact.
    void (*correlate)(const double* block, std::size_t side, const double* area, std::size_t stride, double* products,
                      std::size_t products_stride);
    // The same for kShifts areas in each of these rows, with products rounded to single precision; the sums of a row
    // are kMostShifts apart from those of the next one.
    void (*slide)(const float* window, std::size_t side, const float* area, std::size_t stride, std::size_t rows,
                  double* products);
};

// The fastest functions for this processor, and portable ones.
PixelLanes pixel_lanes();
extern const PixelLanes kPlainPixelLanes;

}  // namespace imagefinder
