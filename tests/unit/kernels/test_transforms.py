import numpy as np
import pytest

from imagefinder.kernels.transforms import corners, derivative, move, overlap, tuples

SIZE = (640, 480)
HOMOGRAPHY = np.array([[0.9, 0.1, 20], [0.05, 0.8, 30], [6e-4, 4e-4, 1.0]])


def test_the_derivative_equals_finite_differences():
    points = np.array([(10.0, 20.0), (300.0, 5.0)])
    moved, slopes = move(HOMOGRAPHY, points), derivative(HOMOGRAPHY, points)
    for axis in (0, 1):
        step = np.zeros(2)
        step[axis] = 1e-4
        change = (move(HOMOGRAPHY, points + step) - moved) / 1e-4
        assert np.allclose(slopes[:, :, axis], change, atol=1e-4)


def test_corners_lie_half_a_pixel_outside_the_outer_centres():
    assert tuples(corners((3, 2))) == ((-0.5, -0.5), (2.5, -0.5), (2.5, 1.5), (-0.5, 1.5))


@pytest.mark.parametrize(
    ("shift", "part"), [((0, 0), 1.0), ((320, 0), 0.5), ((320, 240), 0.25), ((0, -480), 0.0), ((9999, 0), 0.0)]
)
def test_overlap_of_a_shifted_frame(shift, part):
    assert overlap(corners(SIZE) + shift, SIZE) == pytest.approx(part)


def test_overlap_of_a_larger_and_of_a_rotated_frame():
    assert overlap(corners(SIZE) * 3 - 300, SIZE) == pytest.approx(1.0)
    diamond = np.array([(319.5, -0.5), (639.5, 239.5), (319.5, 479.5), (-0.5, 239.5)])
    assert overlap(diamond, SIZE) == pytest.approx(0.5)
