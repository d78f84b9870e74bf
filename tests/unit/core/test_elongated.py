import math

import pytest

from imagefinder.core.elongated import diagonal, is_elongated, longer_side


@pytest.mark.parametrize("size", [(640, 480), (800, 100), (100, 800), (1, 1), (7, 1)])
def test_other_images_are_processed_as_before(size):
    assert not is_elongated(*size)
    assert longer_side(*size, 1024) == 1024
    assert diagonal(*size) == math.hypot(*size)


def test_elongated_images_get_more_pixels_up_to_a_limit():
    assert is_elongated(801, 100)
    assert is_elongated(100, 9000)
    assert longer_side(9000, 300, 1024) == 7680  # the shorter side has 256
    assert longer_side(300, 9000, 1024) == 7680
    assert longer_side(100_000, 10, 1024) == 16 * 1024
    assert diagonal(9000, 300) == diagonal(300, 9000) == math.hypot(2400, 300)
