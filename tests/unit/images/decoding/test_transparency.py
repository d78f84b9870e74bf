import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from imagefinder.images.decoding.decode import decode


def drawing(*strokes, size=(200, 200)):
    """Thick anti-aliased lines of these colours on a transparent ground."""
    large = Image.new("RGBA", (4 * size[0], 4 * size[1]), (*strokes[0][:3], 0))
    draw = ImageDraw.Draw(large)
    for number, colour in enumerate(strokes):
        y = 4 * size[1] * (number + 1) // (len(strokes) + 1)
        draw.line((100, y - 60, 4 * size[0] - 100, y + 60), fill=colour, width=90)
    return large.resize(size, Image.Resampling.BOX)


def shown(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return decode(buffer.getvalue(), max_bytes=10**8, max_pixels=10**8).rgb


WHITE, BLACK, GREY, RED = (255, 255, 255, 255), (0, 0, 0, 255), (128, 128, 128, 255), (200, 20, 20, 255)


@pytest.mark.parametrize(
    ("strokes", "ground"),
    [
        ([WHITE], 0), ([BLACK], 255), ([GREY], 255), ([RED], 255), ([WHITE, BLACK], 128), ([WHITE, RED], 0),
        ([WHITE, BLACK, GREY, RED], 192), ([(255, 255, 255, 60)], 0), ([(250, 250, 220, 255)], 0),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_every_stroke_stays_visible(strokes, ground, kind):
    image = drawing(*strokes)
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {"quality": 95} if kind == "AVIF" else {}
    rgb = shown(image, kind, **options)
    np.testing.assert_allclose(rgb[0, 0].astype(int), ground, atol=3)
    visible = np.asarray(image)[..., 3] > 250
    if visible.any():
        differs = np.abs(rgb[visible].astype(int).mean(axis=1) - ground)
        assert (differs > 30).mean() > 0.7


def test_palettes_and_grey():
    palette = Image.new("P", (100, 100), 0)
    palette.putpalette([255, 255, 255, 255, 255, 255])
    ImageDraw.Draw(palette).ellipse((20, 20, 80, 80), fill=1)
    for kind in ("PNG", "GIF"):
        rgb = shown(palette, kind, transparency=0)
        assert rgb[0, 0].tolist() == [0, 0, 0]
        assert rgb[50, 50].tolist() == [255, 255, 255]
    assert shown(drawing(WHITE).convert("LA"))[0, 0].tolist() == [0, 0, 0]


def test_the_copy_flattened_on_the_same_ground_is_equal():
    for strokes, ground in (([WHITE], 0), ([BLACK], 255)):
        image = drawing(*strokes)
        flat = Image.alpha_composite(Image.new("RGBA", image.size, (ground, ground, ground, 255)), image)
        np.testing.assert_array_equal(shown(image), shown(flat.convert("RGB")))


def test_opaque_images_and_round_corners_keep_white():
    light = np.random.default_rng(0).integers(215, 256, (300, 300, 3), np.uint8)
    opaque = Image.fromarray(light).convert("RGBA")
    np.testing.assert_array_equal(shown(opaque), light)
    opaque.putpixel((0, 0), (0, 0, 0, 0))
    assert shown(opaque)[0, 0].tolist() == [255, 255, 255]
    assert shown(Image.new("RGBA", (9, 9), (255, 255, 255, 0)))[0, 0].tolist() == [255, 255, 255]


def test_strips_of_a_large_image_share_one_ground():
    image = Image.new("RGBA", (1500, 1500), (255, 255, 255, 0))
    draw = ImageDraw.Draw(image)
    draw.rectangle((100, 100, 1400, 300), fill=BLACK)
    draw.rectangle((100, 1000, 1400, 1400), fill=WHITE)
    rgb = shown(image)
    assert {int(rgb[row, 5, 0]) for row in (0, 700, 1499)} == {128}
