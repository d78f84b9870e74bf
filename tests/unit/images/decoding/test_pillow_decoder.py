import io
import subprocess
import sys

import pytest
from PIL import Image

CODE = """
import sys
from imagefinder.images.decoding import pillow_decoder
image = pillow_decoder.load(sys.stdin.buffer.read(), max_bytes=1 << 20, max_pixels=1 << 20)
assert len(b"".join(image.rows())) == 3 * 40 * 30
print(image.format, *sorted({"numpy", "pillow_heif", "PIL.TgaImagePlugin"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    ("kind", "loaded"),
    [
        ("JPEG", ["JPEG"]),
        ("PNG", ["PNG"]),
        ("GIF", ["GIF"]),
        ("BMP", ["BMP", "PIL.TgaImagePlugin", "pillow_heif"]),
    ],
)
def test_a_common_format_loads_no_other_decoder(kind: str, loaded: list[str]) -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(encoded, kind)
    done = subprocess.run(
        [sys.executable, "-c", CODE], input=encoded.getvalue(), capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().split() == loaded


def test_many_pixels_in_a_damaged_header_print_no_warning() -> None:
    encoded = io.BytesIO()
    Image.new("RGB", (40, 24)).save(encoded, "BMP")
    damaged = bytearray(encoded.getvalue())
    damaged[24] = 35  # the third byte of the height: 92 million pixels, just over Pillow's own limit
    code = CODE.replace("image = ", "try: image = ").replace(
        "\nassert", "\nexcept ImageTooLargeError: sys.exit(9)\nassert"
    )
    code = "from imagefinder.core.errors import ImageTooLargeError\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code], input=damaged, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stderr) == (9, b"")
