"""ICC profiles built from their published primaries, and the formulas that convert colours without littleCMS."""

import io
import struct

import numpy as np
from PIL import Image

D50 = np.array([0.9642, 1.0, 0.8249])

# Primaries as columns of XYZ, adapted to D50 (Lindbloom), and gamma.
SPACES = {
    "Display P3": (
        np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]),
        2.2,
    ),
    "Adobe RGB": (
        np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]),
        2.2,
    ),
    "ProPhoto": (
        np.array([[0.79767, 0.13519, 0.03135], [0.28804, 0.71188, 0.00009], [0.0, 0.0, 0.82491]]),
        1.8,
    ),
}
SRGB_FROM_D50 = np.array(
    [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.0334540], [0.0719453, -0.2289914, 1.4052427]]
)
"""Linear sRGB from XYZ under D50 (Lindbloom, Bradford adaptation)."""


def _fixed(*values):
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _profile(kind, space, connection, tags):
    tags = {"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78)} | tags
    tags |= {"cprt": b"text" + bytes(4) + b"none\0", "wtpt": b"XYZ " + bytes(4) + _fixed(*D50)}
    at, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        table += name.encode() + struct.pack(">II", at + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    header = struct.pack(
        ">4x4xI4s4s4s6H4s4x4x4x4x8xI", 0x02400000, kind, space, connection, 2026, 1, 1, 0, 0, 0, b"acsp", 0
    )
    header = (header + _fixed(*D50)).ljust(128, b"\0")
    profile = header + struct.pack(">I", len(tags)) + table + body
    return struct.pack(">I", len(profile)) + profile[4:]


def _curve(gamma):
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))


def rgb_profile(name):
    primaries, gamma = SPACES[name]
    tags = {
        f"{channel}XYZ": b"XYZ " + bytes(4) + _fixed(*column)
        for channel, column in zip("rgb", primaries.T, strict=True)
    }
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags | {f"{channel}TRC": _curve(gamma) for channel in "rgb"})


def grey_profile(gamma):
    return _profile(b"mntr", b"GRAY", b"XYZ ", {"kTRC": _curve(gamma)})


def cmyk_profile(lab_of_corner):
    """A press whose 16 corners (each ink none or full) have these colours; between them it is linear in Lab."""
    grid = b""
    for number in range(16):
        lightness, a, b = lab_of_corner(*(number >> shift & 1 for shift in (3, 2, 1, 0)))
        grid += bytes([round(lightness * 2.55), round(a + 128), round(b + 128)])
    identity = bytes(range(256))
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
    return _profile(b"prtr", b"CMYK", b"Lab ", {"A2B0": table + identity * 4 + grid + identity * 3})


def _to_8_bit(linear):
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(encoded * 255)


def srgb_of_rgb(name, values):
    """sRGB of colours of a space: ``(..., 3)``, 0 to 255."""
    primaries, gamma = SPACES[name]
    linear = (np.asarray(values) / 255) ** (round(gamma * 256) / 256)
    return _to_8_bit(linear @ primaries.T @ SRGB_FROM_D50.T)


def srgb_of_grey(gamma, values):
    return _to_8_bit((np.asarray(values) / 255) ** (round(gamma * 256) / 256))


def srgb_of_lab(lab):
    """sRGB of colours in Lab under D50 (CIE 15)."""
    lightness, a, b = np.moveaxis(np.asarray(lab, dtype=float), -1, 0)
    y = (lightness + 16) / 116
    cube = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(cube > 6 / 29, cube**3, 3 * (6 / 29) ** 2 * (cube - 4 / 29)) * D50
    return _to_8_bit(xyz @ SRGB_FROM_D50.T)


def encoded(pixels, kind, profile=None, mode=None, **options):
    """An encoded picture of an array, with a profile."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels, np.uint8)) if mode is None else pixels
    image.save(buffer, kind, **options, **({} if profile is None else {"icc_profile": profile}))
    return buffer.getvalue()
