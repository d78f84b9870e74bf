"""A plug-in of Pillow that does what a picture tells it: decoders that crash, loop, or take all memory.

A file that begins with ``EVIL`` holds Python, run while the picture is opened. Only tests make workers load it, by
giving them another program to start with; nothing in the package knows of it.
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
    """The program of a worker, with this plug-in."""
    plug_in = (
        inspect.getsource(Evil) + '\n\nImage.register_open("EVIL", Evil, lambda prefix: prefix[:4] == b"EVIL")\n'
    )
    place = code.index("from imagefinder")
    return f"{code[:place]}from PIL import Image, ImageFile\n{plug_in}{code[place:]}"
