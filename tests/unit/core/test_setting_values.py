import os
from pathlib import Path

import pytest

from imagefinder.core.setting_values import typed


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        (bool, True, True),
        (bool, "yes", True),
        (bool, "OFF", False),
        (bool, "0", False),
        (tuple[Path, ...], f"/a{os.pathsep}/b,c", (Path("/a"), Path("/b,c"))),
        (tuple[Path, ...], ["/a", "~/b"], (Path("/a"), Path.home() / "b")),
        (tuple[int, ...], "1,2", (1, 2)),
        (float, 3, 3.0),
        (int, "7", 7),
    ],
)
def test_types(kind, given, value):
    assert typed(kind, given) == value


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (bool, "maybe"),
        (bool, 2),
        (int, True),
        (int, 1.5),
        (int, [1]),
        (str, 1),
        (str, ["a"]),
        (tuple[str, ...], 1),
        (tuple[str, ...], [1]),
        (Path, 1),
    ],
)
def test_values_of_the_wrong_type_are_rejected(kind, given):
    with pytest.raises((TypeError, ValueError)):
        typed(kind, given)
