// Dot products of rows of signed bytes with one vector of int16.
#pragma once

#include <cstddef>
#include <cstdint>

namespace imagefinder {

// Dot product of int8 and int16 vectors; exact as long as it fits into an int32.
using Dot = std::int32_t (*)(const std::int8_t* row, const std::int16_t* vector, std::size_t length);

// The fastest function for this processor, and a portable one.
Dot fastest_dot();
std::int32_t plain_dot(const std::int8_t* row, const std::int16_t* vector, std::size_t length);

}  // namespace imagefinder
