#include <algorithm>
#include <cmath>
#include <vector>

#include "pixels.hpp"

namespace imagefinder {
namespace {

constexpr std::size_t kColumns = kTerms + 1;  // the last one is the right side of the equations

using Equations = double[kTerms][kColumns];

// The terms and the grey levels of pixels.
class Columns {
public:
    explicit Columns(std::size_t pixels) : pixels_(pixels), values_(kColumns * pixels) {}

    double* operator[](std::size_t column) { return values_.data() + column * pixels_; }
    const double* operator[](std::size_t column) const { return values_.data() + column * pixels_; }

    // Adds the first pixels to the equations of least squares, or removes them.
    void add_to(Equations& equations, std::size_t size, double sign) const {
        for (std::size_t i = 0; i < kTerms; ++i) {
            for (std::size_t j = i; j < kColumns; ++j) equations[i][j] += sign * dot((*this)[i], (*this)[j], size);
            for (std::size_t j = 0; j < i; ++j) equations[i][j] = equations[j][i];
        }
    }
    void residuals(const double* c, std::vector<double>& residuals) const {
        static_assert(kTerms == 10, "all terms are added in one pass");
        const Columns& t = *this;
        for (std::size_t p = 0; p < pixels_; ++p)
            residuals[p] = std::fabs(c[0] * t[0][p] + c[1] * t[1][p] + c[2] * t[2][p] + c[3] * t[3][p] +
                                     c[4] * t[4][p] + c[5] * t[5][p] + c[6] * t[6][p] + c[7] * t[7][p] +
                                     c[8] * t[8][p] + c[9] * t[9][p] - t[kTerms][p]);
    }

private:
    // The sum of products of two columns, in four parts, so that it can be vectorised.
    static double dot(const double* one, const double* other, std::size_t size) {
        double sums[4] = {};
        std::size_t i = 0;
        for (; i + 4 <= size; i += 4)
            for (std::size_t lane = 0; lane < 4; ++lane) sums[lane] += one[i + lane] * other[i + lane];
        for (; i < size; ++i) sums[0] += one[i] * other[i];
        return (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }

    std::size_t pixels_;
    std::vector<double> values_;
};

// Finds the k-th smallest of numbers that are not negative: first its range, then among the numbers in that.
class Selection {
public:
    explicit Selection(std::size_t most) { few_.reserve(most); }

    double smallest(const std::vector<double>& values, std::size_t k) {
        const double most = *std::max_element(values.begin(), values.end());
        const double scale = static_cast<double>(kRanges - 1) / most;
        few_.clear();
        if (scale > 0 && std::isfinite(scale)) {
            std::uint32_t counts[kRanges] = {};
            for (const double value : values) ++counts[static_cast<std::size_t>(value * scale)];
            std::size_t chosen = 0;
            for (; k >= counts[chosen]; ++chosen) k -= counts[chosen];
            for (const double value : values)
                if (static_cast<std::size_t>(value * scale) == chosen) few_.push_back(value);
        } else {
            few_ = values;
        }
        const auto at = few_.begin() + static_cast<std::ptrdiff_t>(k);
        std::nth_element(few_.begin(), at, few_.end());
        return *at;
    }

private:
    static constexpr std::size_t kRanges = 1024;

    std::vector<double> few_;
};

// Solves equations by elimination with partial pivoting; false if they have no finite solution.
bool solve(const Equations& equations, double* solution) {
    double a[kTerms][kColumns];
    std::copy_n(&equations[0][0], kTerms * kColumns, &a[0][0]);
    for (std::size_t c = 0; c < kTerms; ++c) {
        std::size_t pivot = c;
        for (std::size_t r = c + 1; r < kTerms; ++r)
            if (std::fabs(a[r][c]) > std::fabs(a[pivot][c])) pivot = r;
        if (a[pivot][c] == 0 || !std::isfinite(a[pivot][c])) return false;
        std::swap(a[c], a[pivot]);
        for (std::size_t r = c + 1; r < kTerms; ++r) {
            const double factor = a[r][c] / a[c][c];
            for (std::size_t k = c; k < kColumns; ++k) a[r][k] -= factor * a[c][k];
        }
    }
    for (std::size_t r = kTerms; r-- > 0;) {
        double value = a[r][kTerms];
        for (std::size_t k = r + 1; k < kTerms; ++k) value -= a[r][k] * solution[k];
        solution[r] = value / a[r][r];
        if (!std::isfinite(solution[r])) return false;
    }
    return true;
}

}  // namespace

std::size_t by_level(const std::uint8_t* of, const std::uint8_t* inside, std::size_t pixels, std::size_t levels,
                     std::int64_t* order, std::int64_t* counts) {
    std::fill_n(counts, levels, std::int64_t{0});
    for (std::size_t p = 0; p < pixels; ++p)
        if (inside[p] && of[p] < levels) ++counts[of[p]];
    std::vector<std::size_t> next(levels);
    std::size_t total = 0;
    for (std::size_t level = 0; level < levels; ++level) {
        next[level] = total;
        total += static_cast<std::size_t>(counts[level]);
    }
    for (std::size_t p = 0; p < pixels; ++p)
        if (inside[p] && of[p] < levels) order[next[of[p]]++] = static_cast<std::int64_t>(p);
    return total;
}

bool fit_colours(const std::uint8_t* rgb, const float* grey, std::size_t pixels, const Trimming& trimming,
                 double* coefficients) {
    Columns columns(pixels), changed(pixels);
    for (std::size_t p = 0; p < pixels; ++p) {
        const float r = static_cast<float>(rgb[3 * p]) / 255 - 0.5f;
        const float g = static_cast<float>(rgb[3 * p + 1]) / 255 - 0.5f;
        const float b = static_cast<float>(rgb[3 * p + 2]) / 255 - 0.5f;
        const float terms[] = {1, r, g, b, r * r, g * g, b * b, r * g, r * b, g * b, grey[p]};
        for (std::size_t c = 0; c < kColumns; ++c) columns[c][p] = terms[c];
    }
    Equations equations{};
    columns.add_to(equations, pixels, 1);
    for (std::size_t i = 0; i < kTerms; ++i) equations[i][i] += trimming.ridge * static_cast<double>(pixels);
    std::vector<std::uint8_t> is_used(pixels, 1), is_close(pixels);
    std::vector<double> residuals(pixels);
    Selection selection(pixels);
    const auto last = static_cast<std::size_t>(trimming.kept * static_cast<double>(pixels - 1));
    for (std::size_t fit = 1; solve(equations, coefficients); ++fit) {
        if (fit == trimming.fits) return true;
        columns.residuals(coefficients, residuals);
        const double most = selection.smallest(residuals, last);
        for (std::size_t p = 0; p < pixels; ++p) is_close[p] = residuals[p] <= most;
        // Few pixels change from one fit to the next.
        for (const std::uint8_t enters : {0, 1}) {
            std::size_t size = 0;
            for (std::size_t p = 0; p < pixels; ++p) {
                if (is_close[p] == is_used[p] || is_close[p] != enters) continue;
                for (std::size_t c = 0; c < kColumns; ++c) changed[c][size] = columns[c][p];
                ++size;
            }
            changed.add_to(equations, size, enters ? 1 : -1);
        }
        is_used.swap(is_close);
    }
    return false;
}

void map_colours(const std::uint8_t* rgb, std::size_t pixels, const float* coefficients, float least, float most,
                 float* mapped) {
    constexpr std::size_t kChunk = 512;
    float levels[256], red[kChunk], green[kChunk], blue[kChunk];
    for (std::size_t level = 0; level < 256; ++level)
        levels[level] = static_cast<float>(level) * static_cast<float>(1.0 / 255) - 0.5f;
    float c[kTerms];
    std::copy_n(coefficients, kTerms, c);
    for (std::size_t begin = 0; begin < pixels; begin += kChunk) {
        const std::size_t size = std::min(kChunk, pixels - begin);
        for (std::size_t p = 0; p < size; ++p) {
            const std::uint8_t* const pixel = rgb + 3 * (begin + p);
            red[p] = levels[pixel[0]];
            green[p] = levels[pixel[1]];
            blue[p] = levels[pixel[2]];
        }
        for (std::size_t p = 0; p < size; ++p) {
            const float r = red[p], g = green[p], b = blue[p];
            const float of_red = c[1] + c[4] * r + c[7] * g + c[8] * b, of_green = c[2] + c[5] * g + c[9] * b;
            const float value = c[0] + r * of_red + g * of_green + b * (c[3] + c[6] * b);
            mapped[begin + p] = std::min(std::max(value, least), most);
        }
    }
}

}  // namespace imagefinder
