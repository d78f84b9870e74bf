"""Synthetic features of two images with a known geometry."""

import numpy as np

from imagefinder.core.features import LocalFeatures

SIZE = (640, 480)


def similarity(scale=1.0, degrees=0.0, x=0.0, y=0.0):
    a = scale * np.exp(1j * np.deg2rad(degrees))
    return np.array([[a.real, -a.imag, x], [a.imag, a.real, y], [0, 0, 1]])


def project(matrix, points):
    h = np.column_stack([points, np.ones(len(points))]) @ np.asarray(matrix).T
    return h[:, :2] / h[:, 2:]


def features(keypoints, descriptors):
    return LocalFeatures(
        descriptors.astype(np.uint8), keypoints.astype(np.float32), np.array([0, len(keypoints)], dtype=np.int64)
    )


def keypoints(generator, count, size=SIZE):
    return np.column_stack(
        [
            generator.uniform(0, size[0], count),
            generator.uniform(0, size[1], count),
            generator.uniform(3, 20, count),
            generator.uniform(0, 360, count),
        ]
    )


def scene(matrix, true, false, *, seed=0, noise=1.0, places=None):
    """Features of two images, and their matches: ``true`` ones that fit the matrix, ``false`` ones that do not.

    Descriptors are random: they say nothing about which is which.
    """
    generator = np.random.default_rng(seed)
    here = keypoints(generator, true + false)
    if places is not None:
        here[:true, :2] = places
    there = keypoints(generator, true + false)
    if true:
        at, step = here[:true, :2], 0.01
        x, y = (project(matrix, at + offset) - project(matrix, at) for offset in ([step, 0], [0, step]))
        area = np.abs(x[:, 0] * y[:, 1] - x[:, 1] * y[:, 0]) / step**2
        turn = np.rad2deg(np.arctan2(x[:, 1] - y[:, 0], x[:, 0] + y[:, 1]))
        there[:true, :2] = project(matrix, at) + generator.normal(0, noise, (true, 2))
        there[:true, 2] = here[:true, 2] * np.sqrt(area) * np.exp(generator.normal(0, 0.1, true))
        there[:true, 3] = (here[:true, 3] + turn + generator.normal(0, 5, true)) % 360
    descriptors = generator.integers(0, 120, (2, true + false, 128))
    matches = np.column_stack([np.arange(true + false)] * 2)
    return features(here, descriptors[0]), features(there, descriptors[1]), matches


KNOWN = {
    "similarity": similarity(0.6, 40, 200, -30),
    "affine": np.array([[0.9, 0.3, 20], [-0.1, 0.6, 60], [0, 0, 1.0]]),
    "homography": np.array([[0.9, 0.1, 20], [0.05, 0.8, 30], [6e-4, 4e-4, 1.0]]),
}
