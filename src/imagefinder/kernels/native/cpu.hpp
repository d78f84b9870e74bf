// The instruction sets that processor and operating system support, and target regions: parts of a file compiled for
// one instruction set. MSVC compiles all intrinsics everywhere and needs no regions.
#pragma once

#if defined(__clang__)
#define IMAGEFINDER_PRAGMA(text) _Pragma(#text)
#define IMAGEFINDER_TARGET_BEGIN(names) \
    IMAGEFINDER_PRAGMA(clang attribute push(__attribute__((target(names))), apply_to = function))
#define IMAGEFINDER_TARGET_END _Pragma("clang attribute pop")
#elif defined(__GNUC__)
#define IMAGEFINDER_PRAGMA(text) _Pragma(#text)
#define IMAGEFINDER_TARGET_BEGIN(names) IMAGEFINDER_PRAGMA(GCC push_options) IMAGEFINDER_PRAGMA(GCC target(names))
#define IMAGEFINDER_TARGET_END _Pragma("GCC pop_options")
#else
#define IMAGEFINDER_TARGET_BEGIN(names)
#define IMAGEFINDER_TARGET_END
#endif

namespace imagefinder {

bool cpu_has_avx512vnni();
bool cpu_has_avx512popcount();
bool cpu_has_avxvnni();
bool cpu_has_avx2();
bool cpu_has_neon_dot();

}  // namespace imagefinder
