#include "cpu.hpp"

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif

namespace imagefinder {
namespace {

struct Registers {
    unsigned a, b, c, d;
};

Registers cpuid(unsigned leaf, unsigned subleaf) {
#if defined(_MSC_VER)
    int r[4];
    __cpuid(r, 0);
    if (leaf > static_cast<unsigned>(r[0])) return {};
    __cpuidex(r, static_cast<int>(leaf), static_cast<int>(subleaf));
    return {static_cast<unsigned>(r[0]), static_cast<unsigned>(r[1]), static_cast<unsigned>(r[2]),
            static_cast<unsigned>(r[3])};
#else
    Registers r{};
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d);
    return r;
#endif
}

// The registers that the operating system saves: bits 1 and 2 for 256-bit vectors, 5 to 7 for 512-bit vectors.
unsigned saved() {
    if (!(cpuid(1, 0).c >> 27 & 1)) return 0;
#if defined(_MSC_VER)
    return static_cast<unsigned>(_xgetbv(0));
#else
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
#endif
}

constexpr bool all(unsigned bits, unsigned mask) { return (bits & mask) == mask; }

}  // namespace

bool cpu_has_avx2() {
    constexpr unsigned fma = 1u << 12, avx2 = 1u << 5;
    return all(saved(), 0x6) && all(cpuid(1, 0).c, fma) && all(cpuid(7, 0).b, avx2);
}

bool cpu_has_avxvnni() {
    constexpr unsigned avxvnni = 1u << 4;
    return cpu_has_avx2() && all(cpuid(7, 1).a, avxvnni);
}

bool cpu_has_avx512vnni() {
    constexpr unsigned bmi1 = 1u << 3, bmi2 = 1u << 8, f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
    constexpr unsigned vnni = 1u << 11;
    const Registers seven = cpuid(7, 0);
    return cpu_has_avx2() && all(saved(), 0xe6) && all(seven.b, bmi1 | bmi2 | f | dq | bw | vl) && all(seven.c, vnni);
}

bool cpu_has_avx512popcount() {
    constexpr unsigned f = 1u << 16, vpopcntdq = 1u << 14;
    const Registers seven = cpuid(7, 0);
    return all(saved(), 0xe6) && all(seven.b, f) && all(seven.c, vpopcntdq);
}

}  // namespace imagefinder

#elif defined(__aarch64__)

#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace imagefinder {

bool cpu_has_neon_dot() {
#if defined(__APPLE__)
    return true;  // every Apple processor that runs macOS has it
#elif defined(__linux__)
    constexpr unsigned long asimddp = 1ul << 20;
    return (getauxval(AT_HWCAP) & asimddp) != 0;
#else
    return false;
#endif
}

}  // namespace imagefinder

#endif
