"""A Pillow plug-in that runs code from the image file: decoders that crash, loop or exhaust memory.

A file that starts with ``EVIL`` contains Python code, which is run when the image is opened. Tests load the
plug-in into workers by changing their start-up program; the package itself does not refer to it.
"""

import inspect

from PIL import Image, ImageFile

CRASH = b"EVILimport ctypes; ctypes.string_at(0)"
LOOP = b"EVILwhile True: pass"
GREED = b"EVILkept = [bytearray(1 << 24) for _ in range(10_000)]"


class Evil(ImageFile.ImageFile):
    format = "EVIL"

    def _open(self):
        exec(self.fp.read()[4:].decode(), {})
        self._size, self._mode = (1, 1), "RGB"

    def load(self):
        self._im = Image.core.fill("RGB", (1, 1), (0, 0, 0))
        return Image.Image.load(self)


def program(code):
    """The start-up program of a worker, with this plug-in."""
    plug_in = (
        inspect.getsource(Evil) + '\n\nImage.register_open("EVIL", Evil, lambda prefix: prefix[:4] == b"EVIL")\n'
    )
    place = code.index("from imagefinder")
    return f"{code[:place]}from PIL import Image, ImageFile\n{plug_in}{code[place:]}"
