// Parts of registering two images and of comparing registered ones, in one thread each.
#pragma once

#include <cstddef>
#include <cstdint>

#include "pixels_lanes.hpp"

namespace imagefinder {

// A row-major single-channel image.
struct Grey {
    const float* data;
    std::size_t height, width;

    const float* row(std::size_t y) const { return data + y * width; }
};

// Finds each square block of the query in the candidate, up to `radius` pixels away. `corners` are (x, y) pairs of
// blocks that lie inside both images, which are equally large. Writes dx, dy and the normalised correlation.
void displacements(const PixelLanes& lanes, const Grey& query, const Grey& candidate, const std::int64_t* corners, std::size_t blocks,
                   std::size_t block, std::size_t radius, double* found);

// Sorts the pixels inside the overlap by their levels, which are below `levels`, and counts those of each level; pixels
// of one level stay in order. Returns how many there are.
std::size_t by_level(const std::uint8_t* of, const std::uint8_t* inside, std::size_t pixels, std::size_t levels,
                     std::int64_t* order, std::int64_t* counts);

// How many terms a polynomial of the second degree in three colours has.
constexpr std::size_t kTerms = 10;

struct Trimming {
    double ridge, kept;
    std::size_t fits;
};

// Fits the polynomial to the grey levels of pixels, by least trimmed squares; false if that is impossible.
bool fit_colours(const std::uint8_t* rgb, const float* grey, std::size_t pixels, const Trimming& trimming,
                 double* coefficients);

// The polynomial with these coefficients, of each pixel, limited to a range.
void map_colours(const std::uint8_t* rgb, std::size_t pixels, const float* coefficients, float least, float most,
                 float* mapped);

// Correlation of two images, where `inside` is not 0; -1 if that is nowhere.
double correlation(const float* one, const float* other, const std::uint8_t* inside, std::size_t pixels);

// Correlates square windows of `other` with windows of `one` up to `reach` pixels away. `centres` are (row, column)
// pairs at least half a window from the upper and left borders. Writes, for each window, the correlation without a
// shift, the smaller variance, the best correlation, and the length of its shift; flat windows are not shifted.
void windows(const PixelLanes& lanes, const Grey& one, const Grey& other, const std::int64_t* centres, std::size_t count, std::size_t side,
             std::size_t reach, float flat, float* found);

// How much of two images looks alike: the number of pixels whose windows have texture, and of those that correlate.
struct Alike {
    std::size_t textured, alike;
};

struct AlikeLimits {
    float texture, alike;
};

// Correlates the square windows around all pixels inside the overlap, of which at least half of the window must be
// inside. A window has texture if its variance, relative to the mean of the variances, exceeds a limit in one image.
Alike alike(const Grey& one, const Grey& other, const std::uint8_t* inside, std::size_t side,
            const AlikeLimits& limits);

// Gradients of an image along x and y, and their lengths.
struct Edges {
    Grey x, y, length;
};

// Counts, in each whole cell, the strong edge pixels of `mine` inside the overlap without an edge of like direction
// within a pixel in `theirs`.
void unexplained(const Edges& mine, const Edges& theirs, const std::uint8_t* inside, float strong, float weak,
                 float like, std::size_t cell, std::int64_t* counts);

}  // namespace imagefinder
