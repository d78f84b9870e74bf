"""What pyproject.toml cannot say: the native kernel, which is left out where no compiler is at hand."""

import sys
from pathlib import Path

from setuptools import Extension, setup

NATIVE = Path("src/imagefinder/kernels/native")
MSVC = sys.platform == "win32"
# GCC 12 takes the undefined lanes inside its own AVX-512 header for uninitialised variables of ours.
QUIET = ["-Wno-uninitialized", "-Wno-maybe-uninitialized"]
# No fused multiply-adds but the explicit ones, so that every processor gives the same geometries.
UNIX_FLAGS = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-pthread", "-fvisibility=hidden", *QUIET]

setup(
    ext_modules=[
        Extension(
            "imagefinder.kernels._native",
            sources=sorted(path.as_posix() for path in NATIVE.glob("*.cpp")),
            depends=sorted(path.as_posix() for path in NATIVE.glob("*.hpp")),
            define_macros=[("Py_LIMITED_API", "0x030B0000")],
            py_limited_api=True,
            # Compilers that know no C++17, or none at all: the package works without, slower, and says so.
            optional=True,
            extra_compile_args=["/std:c++17", "/O2", "/EHsc"] if MSVC else UNIX_FLAGS,
            extra_link_args=[] if MSVC else ["-pthread"],
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
