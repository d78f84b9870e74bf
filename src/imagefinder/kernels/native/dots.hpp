// Dot products of rows of signed bytes with one vector of int16.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

// The sum of the products of some bytes with as many int16 numbers; exact while it fits into an int32.
using Dot = std::int32_t (*)(const std::int8_t* row, const std::int16_t* vector, std::size_t length);

// For this processor, and for every processor.
Dot fastest_dot();
std::int32_t plain_dot(const std::int8_t* row, const std::int16_t* vector, std::size_t length);

}  // namespace imagefinder
