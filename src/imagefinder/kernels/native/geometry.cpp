#include "geometry.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "parallel.hpp"
#include "transform.hpp"

namespace imagefinder {
namespace {

// Starting a thread takes about ten microseconds, a match takes about half a microsecond.
constexpr std::size_t kMatchesWorthAThread = 1000;
constexpr double kDegrees = 180.0 / 3.14159265358979323846;

constexpr bool (*kModels[])(const Normalised&, Matrix3&) = {similarity, affine, homography};
constexpr std::int32_t kModelCount = 3;

// The remainder with the sign of the divisor, as in Python.
double modulo(double a, double b) {
    const double rest = std::fmod(a, b);
    return rest < 0 ? rest + b : rest == 0 ? 0.0 : rest;
}

bool within(Point a, Point b, double reach) {
    const double x = a.x - b.x, y = a.y - b.y;
    return x * x + y * y <= reach * reach;
}

// Products of descriptors: exact for bytes.
template <class T>
double dot(const void* one, const void* other, std::size_t length) {
    const T *a = static_cast<const T*>(one), *b = static_cast<const T*>(other);
    std::int64_t sum = 0;
    for (std::size_t k = 0; k < length;) {
        const std::size_t end = std::min(length, k + 4096);
        std::int32_t part = 0;
        for (; k < end; ++k) part += static_cast<std::int32_t>(a[k]) * b[k];
        sum += part;
    }
    return static_cast<double>(sum);
}

template <>
double dot<float>(const void* one, const void* other, std::size_t length) {
    const float *a = static_cast<const float*>(one), *b = static_cast<const float*>(other);
    double sum = 0;
    for (std::size_t k = 0; k < length; ++k) sum += static_cast<double>(a[k]) * b[k];
    return sum;
}

double dot(Element element, const void* one, const void* other, std::size_t length) {
    if (element == Element::kUint8) return dot<std::uint8_t>(one, other, length);
    return element == Element::kInt8 ? dot<std::int8_t>(one, other, length) : dot<float>(one, other, length);
}

// -- one thread ------------------------------------------------------------------------------------------------------

// Fits pairs of up to `most` matches and up to `rows` descriptors of the query; allocates all its memory at once.
class Fitter {
public:
    Fitter(const Limits& limits, std::size_t most, std::size_t rows) : limits_(limits) {
        for (auto* points : {&here_, &there_}) points->reserve(most);
        for (auto* numbers : {&octaves_, &turns_, &reach_here_, &reach_there_, &angles_, &medians_, &here_x_, &here_y_,
                              &there_x_, &there_y_, &turned_octaves_, &turned_reach_, &excess_})
            numbers->reserve(most);
        norms_.reserve(rows);
        for (auto* rows : {&row_, &start_, &chosen_, &before_, &widest_, &best_rows_, &model_rows_})
            rows->reserve(most);
        keyed_.reserve(most);
        turned_.reserve(most);
        cells_.reserve(4 * most + 16);
        normalised_.reserve(most);
        counts_.reserve(most);
        order_.reserve(most);
        taken_.reserve(most);
    }

    FittedModel fit(const MatchedPair& pair) {
        pair_ = &pair;
        FittedModel best;
        std::fill(pair.inliers, pair.inliers + pair.size, std::uint8_t{0});
        arrange();
        best.usable = static_cast<std::int64_t>(row_.size());
        if (static_cast<double>(row_.size()) < limits_.needed[0]) return best;
        count_agreeing();
        std::size_t refined = 0, most = 0;
        for (const std::uint32_t proposing : order_) {
            if (refined == static_cast<std::size_t>(limits_.refined)) break;
            if (taken_[proposing]) continue;
            ++refined;
            start_.clear();
            const Proposal one = proposal(proposing);
            for (std::uint32_t other = 0; other < row_.size(); ++other) {
                if (!explains(one, other)) continue;
                start_.push_back(other);
                taken_[other] = 1;
            }
            FittedModel model;
            if (refine(model) && model_rows_.size() > most) {
                most = model_rows_.size();
                best.model = model.model;
                best.matrix = model.matrix;
                best_rows_.assign(model_rows_.begin(), model_rows_.end());
            }
        }
        if (best.model < 0) return best;
        for (const auto r : best_rows_) pair.inliers[row_[r]] = 1;
        best.reach = median();
        return best;
    }

private:
    // The usable matches, closest descriptors first; equally close ones in order of their rows.
    void arrange() {
        const MatchedPair& p = *pair_;
        if (p.query.descriptors != normed_) {
            normed_ = p.query.descriptors;
            norms_.assign(p.query.rows, -1);
        }
        keyed_.clear();
        for (std::size_t m = 0; m < p.size; ++m) {
            const float *a = query_keypoint(m), *b = candidate_keypoint(m);
            if (!(a[2] > 0 && a[3] >= 0 && b[2] > 0 && b[3] >= 0)) continue;
            const double cosine = cosine_of(m);
            keyed_.emplace_back(std::isnan(cosine) ? std::numeric_limits<double>::infinity() : -cosine,
                                static_cast<std::uint32_t>(m));
        }
        std::sort(keyed_.begin(), keyed_.end(), [&p](const Keyed& a, const Keyed& b) {
            if (a.first != b.first) return a.first < b.first;
            const std::int64_t *x = p.matches + 2 * a.second, *y = p.matches + 2 * b.second;
            return x[0] != y[0] ? x[0] < y[0] : x[1] != y[1] ? x[1] < y[1] : a.second < b.second;
        });
        for (auto* points : {&here_, &there_}) points->clear();
        for (auto* numbers : {&octaves_, &turns_, &angles_, &reach_here_, &reach_there_}) numbers->clear();
        row_.clear();
        for (const auto& [key, m] : keyed_) {
            const float *a = query_keypoint(m), *b = candidate_keypoint(m);
            row_.push_back(m);
            here_.push_back({a[0], a[1]});
            there_.push_back({b[0], b[1]});
            octaves_.push_back(std::log2(static_cast<double>(b[2]) / a[2]));
            turns_.push_back(static_cast<double>(b[3]) - a[3]);
            angles_.push_back(modulo(turns_.back(), 360));
            reach_here_.push_back(p.sizes.reach_here + limits_.tolerance_per_size * a[2]);
            reach_there_.push_back(p.sizes.reach_there + limits_.tolerance_per_size * b[2]);
        }
    }

    const float* query_keypoint(std::size_t m) const { return pair_->query.keypoints + 4 * pair_->matches[2 * m]; }
    const float* candidate_keypoint(std::size_t m) const {
        return pair_->candidate.keypoints + 4 * pair_->matches[2 * m + 1];
    }

    double cosine_of(std::size_t m) {
        const MatchedPair& p = *pair_;
        const std::size_t bytes = p.length * (p.element == Element::kFloat32 ? 4 : 1);
        const auto i = static_cast<std::size_t>(p.matches[2 * m]), j = static_cast<std::size_t>(p.matches[2 * m + 1]);
        const void* a = static_cast<const char*>(p.query.descriptors) + i * bytes;
        const void* b = static_cast<const char*>(p.candidate.descriptors) + j * bytes;
        double& norm = norms_[i];
        if (norm < 0) norm = std::sqrt(dot(p.element, a, a, p.length));
        return dot(p.element, a, b, p.length) /
               std::max(norm * std::sqrt(dot(p.element, b, b, p.length)), 1e-12);
    }

    double median() {
        medians_.assign(reach_there_.begin(), reach_there_.end());
        const auto middle = medians_.begin() + static_cast<std::ptrdiff_t>(medians_.size() / 2);
        std::nth_element(medians_.begin(), middle, medians_.end());
        if (medians_.size() % 2) return *middle;
        return (*std::max_element(medians_.begin(), middle) + *middle) / 2;
    }

    // -- proposals

    // A similarity: the scale and rotation of the proposing match.
    struct Proposal {
        Point here, there;
        double real, imaginary, octaves, angle;
    };

    Proposal proposal(std::uint32_t p) const {
        const double scale = std::exp2(octaves_[p]), radians = turns_[p] * (1 / kDegrees);
        return {here_[p], there_[p], scale * std::cos(radians), scale * std::sin(radians), octaves_[p], angles_[p]};
    }

    bool is_near(double angle, double other) const {
        const double apart = std::fabs(angle - other);
        return apart <= limits_.max_angle || apart >= 360 - limits_.max_angle;
    }

    // Whether a proposal explains the position of another match.
    bool places(const Proposal& p, Point here, Point there, double reach) const {
        const double x = here.x - p.here.x, y = here.y - p.here.y;
        const double step_x = p.real * x - p.imaginary * y, step_y = p.real * y + p.imaginary * x;
        const double off_x = p.there.x + step_x - there.x, off_y = p.there.y + step_y - there.y;
        return std::sqrt(off_x * off_x + off_y * off_y) <=
               reach + limits_.slack * std::sqrt(step_x * step_x + step_y * step_y);
    }

    bool explains(const Proposal& p, std::uint32_t other) const {
        return std::fabs(octaves_[other] - p.octaves) <= limits_.max_octaves && is_near(angles_[other], p.angle) &&
               places(p, here_[other], there_[other], reach_there_[other]);
    }

    // Sets order_ to the proposals that explain enough matches, the most first; the first of equals.
    void count_agreeing() {
        arrange_by_turn();
        const std::size_t size = turned_.size();
        counts_.assign(row_.size(), 0);
        taken_.assign(row_.size(), 0);
        order_.clear();
        // Matches with a similar change of angle: those from first to last, those below low (a turn less) and those
        // from high on (a turn more). All bounds ascend with the angle.
        std::size_t first = 0, last = 0, low = 0, high = 0;
        for (std::size_t n = 0; n < size; ++n) {
            const std::uint32_t number = turned_[n].second;
            if (static_cast<double>(number) >= limits_.proposals) continue;
            const Proposal one = proposal(number);
            while (one.angle - turned_[first].first > limits_.max_angle) ++first;
            while (last < size && turned_[last].first - one.angle <= limits_.max_angle) ++last;
            while (low < size && one.angle - turned_[low].first >= 360 - limits_.max_angle) ++low;
            while (high < size && turned_[high].first - one.angle < 360 - limits_.max_angle) ++high;
            counts_[number] = explained(one, 0, std::min(low, first)) + explained(one, first, last) +
                              explained(one, std::max(last, high), size);
            if (static_cast<double>(counts_[number]) >= limits_.needed[0]) order_.push_back(number);
        }
        std::sort(order_.begin(), order_.end(), [this](std::uint32_t a, std::uint32_t b) {
            return counts_[a] != counts_[b] ? counts_[a] > counts_[b] : a < b;
        });
    }

    // Copies of the matches in order of the change of angle, so that those near a proposal are contiguous.
    void arrange_by_turn() {
        turned_.clear();
        for (std::uint32_t r = 0; r < row_.size(); ++r)
            if (!std::isnan(angles_[r])) turned_.emplace_back(angles_[r], r);
        std::sort(turned_.begin(), turned_.end());
        for (auto* numbers : {&here_x_, &here_y_, &there_x_, &there_y_, &turned_octaves_, &turned_reach_})
            numbers->resize(turned_.size());
        excess_.resize(turned_.size());
        for (std::size_t k = 0; k < turned_.size(); ++k) {
            const std::uint32_t r = turned_[k].second;
            here_x_[k] = here_[r].x;
            here_y_[k] = here_[r].y;
            there_x_[k] = there_[r].x;
            there_y_[k] = there_[r].y;
            turned_octaves_[k] = octaves_[r];
            turned_reach_[k] = reach_there_[r];
        }
    }

    // The number of some matches, in order of the change of angle, whose size and position a proposal explains.
    std::size_t explained(const Proposal& p, std::size_t begin, std::size_t end) {
        // Compilers vectorise this loop. Most matches are so far off that it shows without roots: (a + b)^2 is at most
        // 2 (a^2 + b^2).
        const double slack = 2.001 * limits_.slack * limits_.slack;
        for (std::size_t k = begin; k < end; ++k) {
            const double x = here_x_[k] - p.here.x, y = here_y_[k] - p.here.y;
            const double step_x = p.real * x - p.imaginary * y, step_y = p.real * y + p.imaginary * x;
            const double off_x = p.there.x + step_x - there_x_[k], off_y = p.there.y + step_y - there_y_[k];
            const double off = off_x * off_x + off_y * off_y - 2.001 * turned_reach_[k] * turned_reach_[k] -
                               slack * (step_x * step_x + step_y * step_y);
            const double size = std::fabs(turned_octaves_[k] - p.octaves) - limits_.max_octaves;
            excess_[k] = size > off ? size : off;
        }
        std::size_t count = 0;
        for (std::size_t k = begin; k < end; ++k)
            if (!(excess_[k] > 0)) count += explains(p, turned_[k].second);
        return count;
    }

    // -- refinement

    // The simplest model that explains the matches found from start_, in model_rows_; false if none does.
    bool refine(FittedModel& best) {
        best.model = -1;
        for (std::int32_t model = 0; model < kModelCount; ++model) {
            Matrix3 matrix;
            if (!settle(model, matrix)) continue;
            start_.assign(widest_.begin(), widest_.end());
            if (best.model >= 0 && !(static_cast<double>(chosen_.size()) >=
                                     limits_.gain * static_cast<double>(model_rows_.size()) + 1))
                continue;
            best.model = model;
            best.matrix = matrix;
            model_rows_.assign(chosen_.begin(), chosen_.end());
        }
        return best.model >= 0;
    }

    // Fits a model and finds its inliers (chosen_), alternately; widest_: the inliers at the first tolerance.
    bool settle(std::int32_t model, Matrix3& matrix) {
        chosen_.assign(start_.begin(), start_.end());
        constexpr std::size_t kRounds = sizeof limits_.shrinking / sizeof *limits_.shrinking;
        for (std::size_t round = 0; round < kRounds; ++round) {
            const double factor = limits_.shrinking[round];
            if (!solve(model, matrix) || !is_plausible(matrix)) return false;
            before_.swap(chosen_);
            explain(matrix, factor);
            if (static_cast<double>(chosen_.size()) < limits_.needed[model] || !is_spread()) return false;
            if (round == 0)
                widest_.assign(chosen_.begin(), chosen_.end());
            else if (factor == limits_.shrinking[kRounds - 1] && before_ == chosen_)
                break;  // the remaining rounds would give the same result
        }
        return true;
    }

    bool solve(std::int32_t model, Matrix3& matrix) {
        const Frame from(here_, chosen_), to(there_, chosen_);
        if (from.unit < 1e-6 || to.unit < 1e-6) return false;
        normalised_.clear();
        for (const auto r : chosen_) normalised_.emplace_back(from.of(here_[r]), to.of(there_[r]));
        Matrix3 solved;
        if (!kModels[model](normalised_, solved)) return false;
        const Matrix3 into = {1 / from.unit, 0, -from.middle.x / from.unit, 0,
                              1 / from.unit, -from.middle.y / from.unit, 0, 0, 1};
        const Matrix3 back = {to.unit, 0, to.middle.x, 0, to.unit, to.middle.y, 0, 0, 1};
        matrix = multiplied(multiplied(back, solved), into);
        const double last = matrix[8];
        if (std::fabs(last) < 1e-12) return false;
        for (double& value : matrix) value /= last;
        return true;
    }

    // Whether a transform is plausible, checked at the corners and the centre of the query.
    bool is_plausible(const Matrix3& matrix) const {
        for (const double value : matrix)
            if (!std::isfinite(value)) return false;
        const PairSizes& sizes = pair_->sizes;
        const double right = sizes.width - 0.5, bottom = sizes.height - 0.5;
        const Point corners[5] = {{-0.5, -0.5},    {right, -0.5}, {right, bottom},
                                  {-0.5, bottom}, {(right - 0.5) / 2, (bottom - 0.5) / 2}};
        double least_depth = std::numeric_limits<double>::infinity(), most_depth = -least_depth;
        for (int i = 0; i < 4; ++i) {
            const double depth = corners[i].x * matrix[6] + corners[i].y * matrix[7] + matrix[8];
            least_depth = std::min(least_depth, depth);
            most_depth = std::max(most_depth, depth);
        }
        if (least_depth <= 0 || most_depth > limits_.max_depth * least_depth) return false;
        for (const Point corner : corners) {
            const Jacobian j(matrix, corner);
            const double determinant = j.determinant();
            if (!(determinant > 0)) return false;
            const double half = (j.a * j.a + j.b * j.b + j.c * j.c + j.d * j.d) / 2;
            const double largest = std::sqrt(half + std::sqrt(std::max(0.0, half * half - determinant * determinant)));
            const double least = determinant / largest;
            if (largest > sizes.max_scale || least < 1 / sizes.max_scale || largest > limits_.max_anisotropy * least)
                return false;
        }
        return true;
    }

    // Sets chosen_ to the matches that a transform explains, with distinct positions.
    void explain(const Matrix3& matrix, double factor) {
        chosen_.clear();
        Matrix3 inverse;
        if (!inverted(matrix, inverse)) return;
        double depth;
        for (std::uint32_t r = 0; r < row_.size(); ++r) {
            if (!within(moved(matrix, here_[r], depth), there_[r], factor * reach_there_[r])) continue;
            if (!within(moved(inverse, there_[r], depth), here_[r], factor * reach_here_[r])) continue;
            const Jacobian j(matrix, here_[r]);
            const double octaves = std::log2(std::max(j.determinant(), 1e-12)) / 2;
            if (!(std::fabs(octaves - octaves_[r]) <= limits_.max_octaves)) continue;
            if (is_near(modulo(std::atan2(j.c - j.b, j.a + j.d) * kDegrees, 360), angles_[r])) chosen_.push_back(r);
        }
        keep_distinct(here_, spot_here());
        keep_distinct(there_, spot_there());
    }

    // Of the chosen matches in the same cell of a grid, keeps the first.
    void keep_distinct(const std::vector<Point>& points, double spot) {
        std::size_t capacity = 16;
        while (capacity < 2 * chosen_.size()) capacity *= 2;
        cells_.assign(capacity, std::numeric_limits<double>::quiet_NaN());  // open addressing; NaN: empty
        std::size_t kept = 0;
        for (const std::uint32_t r : chosen_) {
            const double cell = std::nearbyint(points[r].x / spot) * 65536 + std::nearbyint(points[r].y / spot);
            std::size_t at = hash(cell) & (capacity - 1);
            while (cells_[at] != cell && !std::isnan(cells_[at])) at = (at + 1) & (capacity - 1);
            if (cells_[at] == cell) continue;
            cells_[at] = cell;
            chosen_[kept++] = r;
        }
        chosen_.resize(kept);
    }

    static std::size_t hash(double cell) {
        cell += 0.0;  // both zeros alike
        std::uint64_t bits;
        std::memcpy(&bits, &cell, sizeof bits);
        return static_cast<std::size_t>((bits * 0x9e3779b97f4a7c15u) >> 32);
    }

    bool is_spread() const {
        return Frame(here_, chosen_).spread >= 6 * spot_here() && Frame(there_, chosen_).spread >= 6 * spot_there();
    }

    double spot_here() const { return pair_->sizes.reach_here / 2; }
    double spot_there() const { return pair_->sizes.reach_there / 2; }

    using Keyed = std::pair<double, std::uint32_t>;  // to sort numbers by a key

    const Limits limits_;
    const MatchedPair* pair_ = nullptr;
    std::vector<Keyed> keyed_;
    Rows row_;  // number of the match
    std::vector<Point> here_, there_;
    std::vector<double> octaves_, turns_, angles_, reach_here_, reach_there_, medians_;
    std::vector<Keyed> turned_;
    std::vector<double> here_x_, here_y_, there_x_, there_y_, turned_octaves_, turned_reach_, excess_;
    const void* normed_ = nullptr;  // the descriptors that norms_ belong to
    std::vector<double> norms_;     // -1: not computed yet
    std::vector<std::size_t> counts_;
    Rows order_;
    std::vector<std::uint8_t> taken_;
    Rows start_, chosen_, before_, widest_, model_rows_, best_rows_;
    std::vector<double> cells_;
    Normalised normalised_;
};

}  // namespace

void fit(const Limits& limits, const MatchedPair* pairs, std::size_t count, std::size_t threads, FittedModel* fitted) {
    std::size_t most = 0, total = 0, rows = 0;
    for (std::size_t p = 0; p < count; ++p) {
        most = std::max(most, pairs[p].size);
        total += pairs[p].size;
        rows = std::max(rows, pairs[p].query.rows);
    }
    std::atomic<std::size_t> next{0};
    const auto work = [&](Fitter& fitter) {
        for (std::size_t p = next++; p < count; p = next++) fitted[p] = fitter.fit(pairs[p]);
    };
    threads = std::max<std::size_t>(1, std::min({threads, count, 1 + total / kMatchesWorthAThread}));
    // All memory is allocated before any thread starts, so that threads cannot fail.
    std::vector<std::unique_ptr<Fitter>> fitters;
    for (std::size_t t = 0; t < threads; ++t) fitters.push_back(std::make_unique<Fitter>(limits, most, rows));
    run(fitters, work);
}

}  // namespace imagefinder
