#include "pixels.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

namespace imagefinder {
namespace {

// Sums over all rectangles from the upper left corner, of values and of their squares.
class Integral {
public:
    // Squares are rounded as `Square` does.
    template <class Square>
    void fill(const float* values, std::size_t height, std::size_t width, std::size_t stride, Square square) {
        width_ = width + 1;
        if (sums_.size() < (height + 1) * width_) {
            sums_.resize((height + 1) * width_);
            squares_.resize((height + 1) * width_);
        }
        std::fill_n(sums_.begin(), width_, 0.0);
        std::fill_n(squares_.begin(), width_, 0.0);
        for (std::size_t y = 0; y < height; ++y) {
            double sum = 0, sum_of_squares = 0;
            sums_[(y + 1) * width_] = squares_[(y + 1) * width_] = 0;
            for (std::size_t x = 0; x < width; ++x) {
                const float value = values[y * stride + x];
                sum += value;
                sum_of_squares += square(value);
                const std::size_t at = (y + 1) * width_ + x + 1;
                sums_[at] = sums_[at - width_] + sum;
                squares_[at] = squares_[at - width_] + sum_of_squares;
            }
        }
    }
    double sum(std::size_t y, std::size_t x, std::size_t side) const { return inside(sums_, y, x, side); }
    double squares(std::size_t y, std::size_t x, std::size_t side) const { return inside(squares_, y, x, side); }

private:
    double inside(const std::vector<double>& sums, std::size_t y, std::size_t x, std::size_t side) const {
        const double* const above = sums.data() + y * width_ + x;
        const double* const below = above + side * width_;
        return above[0] - above[side] - below[0] + below[side];
    }

    std::size_t width_ = 0;
    std::vector<double> sums_, squares_;
};

double exact_square(float value) { return static_cast<double>(value) * value; }
double rounded_square(float value) { return static_cast<double>(value * value); }

// -- displacements of blocks -----------------------------------------------------------------------------------------

// Offset of the vertex of the parabola through three values from the middle one.
double vertex(double before, double middle, double after) {
    const double bend = before - 2 * middle + after;
    return bend < 0 ? 0.5 * (before - after) / bend : 0.0;
}

// Normalised correlations of blocks with all windows near them.
class BlockSearch {
public:
    BlockSearch(const PixelLanes& lanes, const Grey& candidate, std::size_t block, std::size_t radius)
        : lanes_(lanes), height_(candidate.height), width_(candidate.width), block_(block), radius_(radius) {
        const std::size_t most = 2 * radius + 1;
        stride_ = width_ + kLanes;  // lanes that are not used read beyond the image
        values_.resize((height_ + 1) * stride_);
        for (std::size_t y = 0; y < height_; ++y)
            std::copy_n(candidate.row(y), width_, values_.data() + y * stride_);
        integral_.fill(candidate.data, height_, width_, width_, exact_square);
        template_.resize(block * block);
        products_stride_ = most + kLanes;
        products_.resize((most + 1) * products_stride_);
        scores_.resize(most * most);
    }

    void find(const Grey& query, std::size_t x, std::size_t y, double* found) {
        left_ = x - std::min(x, radius_);
        top_ = y - std::min(y, radius_);
        const std::size_t columns = std::min(width_ - block_, x + radius_) - left_ + 1;
        const std::size_t rows = std::min(height_ - block_, y + radius_) - top_ + 1;
        score(query, x, y, rows, columns);
        const auto best = static_cast<std::size_t>(
            std::max_element(scores_.begin(), scores_.begin() + static_cast<std::ptrdiff_t>(rows * columns)) -
            scores_.begin());
        const std::size_t row = best / columns, column = best % columns;
        const float* const at = scores_.data() + best;
        found[0] = static_cast<double>(left_ + column) - static_cast<double>(x);
        found[1] = static_cast<double>(top_ + row) - static_cast<double>(y);
        if (column > 0 && column + 1 < columns) found[0] += vertex(at[-1], at[0], at[1]);
        if (row > 0 && row + 1 < rows) found[1] += vertex(*(at - columns), at[0], at[columns]);
        found[2] = at[0];
    }

private:
    void score(const Grey& query, std::size_t x, std::size_t y, std::size_t rows, std::size_t columns) {
        double sum = 0, squares = 0;
        for (std::size_t i = 0; i < block_; ++i) {
            for (std::size_t j = 0; j < block_; ++j) {
                const float value = query.row(y + i)[x + j];
                template_[i * block_ + j] = value;
                sum += value;
                squares += exact_square(value);
            }
        }
        const auto size = static_cast<double>(block_ * block_);
        const double mean = sum / size, deviation = std::sqrt(std::max(squares / size - mean * mean, 0.0));
        if (deviation * deviation < DBL_EPSILON) {
            std::fill_n(scores_.begin(), rows * columns, 1.0f);
            return;
        }
        const double norm = std::sqrt(deviation * deviation) / std::sqrt(1 / size);
        for (std::size_t row = 0; row < rows; row += 2)
            for (std::size_t column = 0; column < columns; column += kLanes)
                lanes_.correlate(template_.data(), block_, values_.data() + (top_ + row) * stride_ + left_ + column,
                                 stride_, products_.data() + row * products_stride_ + column, products_stride_);
        for (std::size_t row = 0; row < rows; ++row)
            for (std::size_t column = 0; column < columns; ++column)
                scores_[row * columns + column] =
                    normalised(products_[row * products_stride_ + column], top_ + row, left_ + column, mean, norm, size);
    }
    float normalised(double product, std::size_t row, std::size_t column, double mean, double norm,
                     double size) const {
        const double sum = integral_.sum(row, column, block_), squares = integral_.squares(row, column, block_);
        // A product of single precision, as the definition has it.
        double score = static_cast<double>(static_cast<float>(product)) - sum * mean;
        const double spread = std::max(squares - sum * sum * (1 / size), 0.0);
        const double limit = std::min(0.5, 10 * static_cast<double>(FLT_EPSILON) * squares);
        const double divisor = spread <= limit ? 0 : std::sqrt(spread) * norm;
        if (std::fabs(score) < divisor)
            score /= divisor;
        else if (std::fabs(score) < divisor * 1.125)
            score = score > 0 ? 1 : -1;
        else
            score = 0;
        return static_cast<float>(score);
    }

    PixelLanes lanes_;
    std::size_t height_, width_, block_, radius_, stride_ = 0, products_stride_ = 0, top_ = 0, left_ = 0;
    std::vector<double> values_, template_, products_;
    std::vector<float> scores_;
    Integral integral_;
};

}  // namespace

void displacements(const PixelLanes& lanes, const Grey& query, const Grey& candidate, const std::int64_t* corners, std::size_t blocks,
                   std::size_t block, std::size_t radius, double* found) {
    BlockSearch search(lanes, candidate, block, radius);
    for (std::size_t b = 0; b < blocks; ++b)
        search.find(query, static_cast<std::size_t>(corners[2 * b]), static_cast<std::size_t>(corners[2 * b + 1]),
                    found + 3 * b);
}

// -- windows -------------------------------------------------------------------------------------------------------

double correlation(const float* one, const float* other, const std::uint8_t* inside, std::size_t pixels) {
    double size = 0, sums[5] = {};  // of both, of their squares, and of their products
    for (std::size_t p = 0; p < pixels; ++p) {
        if (!inside[p]) continue;
        const double a = one[p], b = other[p];
        size += 1;
        sums[0] += a;
        sums[1] += b;
        sums[2] += a * a;
        sums[3] += b * b;
        sums[4] += a * b;
    }
    if (size == 0) return -1;
    const double spread = sums[2] - sums[0] * sums[0] / size, other_spread = sums[3] - sums[1] * sums[1] / size;
    const double product = std::max(spread, 0.0) * std::max(other_spread, 0.0);
    return (sums[4] - sums[0] * sums[1] / size) / std::sqrt(product + 1e-6);
}

namespace {

// Windows of one image, shifted by a few pixels, and of another one.
class WindowSearch {
public:
    WindowSearch(const PixelLanes& lanes, const Grey& one, const Grey& other, std::size_t side, std::size_t reach)
        : lanes_(lanes), other_(other), side_(side), reach_(reach), scale_(1.0 / static_cast<double>(side * side)) {
        stride_ = one.width + 2 * reach + kShifts;
        padded_.assign((one.height + 2 * reach) * stride_, 0);
        for (std::size_t y = 0; y < one.height + 2 * reach; ++y) {
            const float* const row = one.row(std::min(y - std::min(y, reach), one.height - 1));
            float* const to = padded_.data() + y * stride_;
            std::fill_n(to, reach, row[0]);
            std::copy_n(row, one.width, to + reach);
            std::fill_n(to + reach + one.width, reach, row[one.width - 1]);
        }
        integral_.fill(padded_.data(), one.height + 2 * reach, one.width + 2 * reach, stride_, rounded_square);
        others_.fill(other.data, other.height, other.width, other.width, rounded_square);
        rows_.resize(side);
        columns_.resize(side);
        values_.resize(side * side);
        products_.resize((2 * reach + 1) * kMostShifts);
        const auto most = static_cast<std::ptrdiff_t>(reach);
        for (std::ptrdiff_t dy = -most; dy <= most; ++dy) {
            for (std::ptrdiff_t dx = -most; dx <= most; ++dx) {
                const double length = std::hypot(static_cast<double>(dx), static_cast<double>(dy));
                if (length == 0 || length >= static_cast<double>(reach) + 0.1) continue;
                // Shifted down and to the right, a window shows what is further up and left.
                shifts_.push_back({static_cast<std::size_t>(most - dy), static_cast<std::size_t>(most - dx),
                                   static_cast<float>(length)});
            }
        }
    }

    void find(std::size_t row, std::size_t column, float flat, float* found) {
        place(row - side_ / 2, column - side_ / 2);
        multiply(reach_, 1);
        float variance;
        found[0] = found[2] = correlation(reach_, reach_, variance);
        found[1] = variance = std::min(variance, variance_);
        found[3] = 0;
        if (variance < flat) return;
        multiply(0, 2 * reach_ + 1);
        for (const Shift& shift : shifts_) {
            float other_variance;
            const float there = correlation(shift.down, shift.across, other_variance);
            if (there > found[2]) {
                found[2] = there;
                found[3] = shift.length;
            }
        }
    }

private:
    // A shift by `length` pixels: the place of the shifted window in the margin.
    struct Shift {
        std::size_t down, across;
        float length;
    };

    // Beyond the lower and the right border, images are reflected.
    static std::size_t reflected(std::size_t at, std::size_t size) {
        const std::size_t within = at % (2 * size);
        return within < size ? within : 2 * size - 1 - within;
    }
    void place(std::size_t top, std::size_t left) {
        top_ = top;
        left_ = left;
        is_inside_ = top + side_ <= other_.height && left + side_ <= other_.width;
        for (std::size_t i = 0; i < side_; ++i) {
            rows_[i] = reflected(top + i, other_.height);
            columns_[i] = reflected(left + i, other_.width);
        }
        for (std::size_t i = 0; i < side_; ++i)
            for (std::size_t j = 0; j < side_; ++j) values_[i * side_ + j] = other_.row(rows_[i])[columns_[j]];
        double sum = 0, squares = 0;
        if (is_inside_) {
            sum = others_.sum(top, left, side_);
            squares = others_.squares(top, left, side_);
        } else {
            for (const float value : values_) {
                sum += value;
                squares += rounded_square(value);
            }
        }
        mean_ = static_cast<float>(sum * scale_);
        variance_ = std::max(static_cast<float>(squares * scale_) - mean_ * mean_, 0.0f);
    }
    // Multiplies the window with windows of the other image: `rows` of them below each other, from this one on, and
    // kShifts groups next to each other.
    void multiply(std::size_t from, std::size_t rows) {
        const std::size_t groups = (2 * reach_ + kShifts) / kShifts;
        for (std::size_t down = from; down < from + rows; ++down)
            std::fill_n(products_.begin() + static_cast<std::ptrdiff_t>(down * kMostShifts), kMostShifts, 0.0);
        for (std::size_t group = 0; group < groups; ++group) {
            double* const products = products_.data() + from * kMostShifts + group * kShifts;
            const float* const area = padded_.data() + from * stride_ + group * kShifts;
            if (is_inside_) {
                lanes_.slide(values_.data(), side_, area + top_ * stride_ + left_, stride_, rows, products);
                continue;
            }
            for (std::size_t down = 0; down < rows; ++down)
                for (std::size_t i = 0; i < side_; ++i)
                    for (std::size_t j = 0; j < side_; ++j)
                        for (std::size_t lane = 0; lane < kShifts; ++lane)
                            products[down * kMostShifts + lane] += static_cast<double>(
                                values_[i * side_ + j] * area[(rows_[i] + down) * stride_ + columns_[j] + lane]);
        }
    }
    // The correlation with one of the windows that were multiplied, and the variance of that one.
    float correlation(std::size_t down, std::size_t across, float& variance) const {
        double sum = 0, squares = 0;
        if (is_inside_) {
            sum = integral_.sum(top_ + down, left_ + across, side_);
            squares = integral_.squares(top_ + down, left_ + across, side_);
        } else {
            for (const std::size_t row : rows_) {
                for (const std::size_t column : columns_) {
                    const float value = padded_[(row + down) * stride_ + column + across];
                    sum += value;
                    squares += rounded_square(value);
                }
            }
        }
        const auto mean = static_cast<float>(sum * scale_);
        variance = std::max(static_cast<float>(squares * scale_) - mean * mean, 0.0f);
        const float covariance =
            static_cast<float>(products_[down * kMostShifts + across] * scale_) - mean * mean_;
        return covariance / (std::sqrt(variance * variance_) + 1e-3f);
    }

    PixelLanes lanes_;
    Grey other_;
    std::size_t side_, reach_, stride_ = 0, top_ = 0, left_ = 0;
    double scale_;
    bool is_inside_ = true;
    float mean_ = 0, variance_ = 0;
    std::vector<float> padded_, values_;
    std::vector<double> products_;
    std::vector<std::size_t> rows_, columns_;
    std::vector<Shift> shifts_;
    Integral integral_, others_;
};

}  // namespace

void windows(const PixelLanes& lanes, const Grey& one, const Grey& other, const std::int64_t* centres, std::size_t count, std::size_t side,
             std::size_t reach, float flat, float* found) {
    WindowSearch search(lanes, one, other, side, reach);
    for (std::size_t w = 0; w < count; ++w)
        search.find(static_cast<std::size_t>(centres[2 * w]), static_cast<std::size_t>(centres[2 * w + 1]), flat,
                    found + 4 * w);
}

// -- agreement -------------------------------------------------------------------------------------------------------

namespace {

// Sums over windows around the pixels of a row: number, both values, both squares and products of the pixels inside.
class WindowSums {
public:
    static constexpr std::size_t kSums = 6;

    WindowSums(const Grey& one, const Grey& other, const std::uint8_t* inside, std::size_t side)
        : one_(one), other_(other), inside_(inside), before_(side / 2), after_(side - side / 2),
          columns_(kSums * (one.width + side)) {
        for (std::size_t y = 0; y + 1 < after_; ++y) add(y, 1);
    }

    // Moves on to a row; rows come in order. Calls `found` with each pixel and its sums.
    template <class Found>
    void row(std::size_t y, const Found& found) {
        add(y + after_ - 1, 1);
        if (y > before_) add(y - before_ - 1, -1);
        double sums[kSums] = {};
        for (std::size_t x = 0; x + 1 < after_; ++x)
            for (std::size_t s = 0; s < kSums; ++s) sums[s] += column(x)[s];
        for (std::size_t x = 0; x < one_.width; ++x) {
            for (std::size_t s = 0; s < kSums; ++s) {
                sums[s] += column(x + after_ - 1)[s];
                if (x > before_) sums[s] -= column(x - before_ - 1)[s];
            }
            found(x, sums);
        }
    }

private:
    double* column(std::size_t x) { return columns_.data() + kSums * x; }  // 0 beyond the right border

    void add(std::size_t y, double sign) {
        if (y >= one_.height) return;
        for (std::size_t x = 0; x < one_.width; ++x) {
            if (!inside_[y * one_.width + x]) continue;
            const float a = one_.row(y)[x], b = other_.row(y)[x];
            double* const sums = column(x);
            sums[0] += sign;
            sums[1] += sign * a;
            sums[2] += sign * b;
            sums[3] += sign * rounded_square(a);
            sums[4] += sign * rounded_square(b);
            sums[5] += sign * static_cast<double>(a * b);
        }
    }

    Grey one_, other_;
    const std::uint8_t* inside_;
    std::size_t before_, after_;
    std::vector<double> columns_;
};

}  // namespace

Alike alike(const Grey& one, const Grey& other, const std::uint8_t* inside, std::size_t side,
            const AlikeLimits& limits) {
    struct Window {
        float variance, other_variance, covariance;
    };
    std::vector<Window> windows;
    windows.reserve(one.height * one.width);
    WindowSums sums(one, other, inside, side);
    const float half = static_cast<float>(side * side) / 2;
    double total = 0, other_total = 0;
    for (std::size_t y = 0; y < one.height; ++y) {
        sums.row(y, [&](std::size_t x, const double* of) {
            const auto count = static_cast<float>(of[0]);
            if (!inside[y * one.width + x] || count < half) return;
            const float mean = static_cast<float>(of[1]) / count, other_mean = static_cast<float>(of[2]) / count;
            const Window window{std::max(static_cast<float>(of[3]) / count - mean * mean, 0.0f),
                                std::max(static_cast<float>(of[4]) / count - other_mean * other_mean, 0.0f),
                                static_cast<float>(of[5]) / count - mean * other_mean};
            total += window.variance;
            other_total += window.other_variance;
            windows.push_back(window);
        });
    }
    Alike found{0, 0};
    if (windows.empty()) return found;
    const auto size = static_cast<double>(windows.size());
    // The 1 keeps noise in flat images from counting as texture.
    const float usual = static_cast<float>(total / size) + 1, other_usual = static_cast<float>(other_total / size) + 1;
    for (const Window& window : windows) {
        if (!(std::max(window.variance / usual, window.other_variance / other_usual) > limits.texture)) continue;
        ++found.textured;
        const float product = std::sqrt(window.variance * window.other_variance);
        found.alike += window.covariance / (product + 1e-3f) > limits.alike;
    }
    return found;
}

// -- edges -----------------------------------------------------------------------------------------------------------

void unexplained(const Edges& mine, const Edges& theirs, const std::uint8_t* inside, float strong, float weak,
                 float like, std::size_t cell, std::int64_t* counts) {
    const std::size_t height = mine.x.height, width = mine.x.width;
    const std::size_t rows = height / cell, columns = width / cell;
    std::fill_n(counts, rows * columns, std::int64_t{0});
    for (std::size_t y = 0; y < rows * cell; ++y) {
        for (std::size_t x = 0; x < columns * cell; ++x) {
            const float length = mine.length.row(y)[x];
            if (!(length > strong) || !inside[y * width + x]) continue;
            const float along_x = mine.x.row(y)[x] / (length + 1e-6f), along_y = mine.y.row(y)[x] / (length + 1e-6f);
            bool is_explained = false;
            for (std::size_t v = y - (y > 0); v <= std::min(y + 1, height - 1) && !is_explained; ++v) {
                for (std::size_t u = x - (x > 0); u <= std::min(x + 1, width - 1) && !is_explained; ++u) {
                    const float other = theirs.length.row(v)[u];
                    is_explained = other > weak &&
                                   along_x * theirs.x.row(v)[u] + along_y * theirs.y.row(v)[u] > like * other;
                }
            }
            counts[y / cell * columns + x / cell] += !is_explained;
        }
    }
}

}  // namespace imagefinder
