"""Every setting, in one frozen object; the same names in the environment, a TOML file and flags."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from imagefinder.core.errors import SettingsError

PREFIX = "IMAGEFINDER_"
CONFIG_VARIABLE = "IMAGEFINDER_CONFIG"


def _data_home() -> Path:
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _setting(default: Any, text: str, *, minimum: float | None = None) -> Any:
    """A field with its one-line documentation; ``default`` may be a function that makes it."""
    metadata = {"help": text, "minimum": minimum}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be configured; ``describe()`` lists it for people.

    ``Settings()`` is the default of everything; ``Settings.load()`` adds the file and the environment.
    """

    collection: Path = _setting(
        lambda: _data_home() / "imagefinder" / "default", "folder of the collection that is used"
    )
    models: Path = _setting(
        lambda: _data_home() / "imagefinder" / "models", "folder of imported model weights and their records"
    )
    store: str = _setting("embedded", "kind of store: embedded (on disk) or memory")
    threads: int = _setting(_cores, "threads for decoding, extraction and networks", minimum=1)
    batch_size: int = _setting(16, "pictures extracted together while indexing", minimum=1)
    cache_bytes: int = _setting(
        4 << 30, "features held in memory to answer faster; what is over it is read from disk", minimum=0
    )
    exact_bytes: int = _setting(
        1 << 30,
        "mode auto compares with every image while their features take no more bytes (sift: about 10 000 images)",
        minimum=0,
    )
    original_mode: str = _setting(
        "exact", "mode of the original endpoints, whose answer is defined as exact: exact, fast or auto"
    )
    max_image_bytes: int = _setting(64 << 20, "largest encoded picture accepted, bytes", minimum=1)
    max_image_pixels: int = _setting(
        150_000_000, "largest decoded picture accepted, pixels (3 bytes each)", minimum=1
    )
    sift_max_side: int = _setting(
        1024,
        "pictures are reduced to this longer side for sift; 0 = never (part of the fingerprint)",
        minimum=0,
    )
    sift_max_keypoints: int = _setting(
        1000, "strongest keypoints kept for sift; 0 = all (part of the fingerprint)", minimum=0
    )
    fetch_timeout: float = _setting(20.0, "seconds a download may stand still", minimum=0.1)
    fetch_retries: int = _setting(2, "further tries of a download that failed in passing", minimum=0)
    fetch_connections: int = _setting(16, "downloads at once", minimum=1)
    host: str = _setting("127.0.0.1", "address the server listens on")
    port: int = _setting(5000, "port the server listens on", minimum=0)

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value, minimum = getattr(self, item.name), item.metadata["minimum"]
            if minimum is not None and value < minimum:
                raise SettingsError(f"{item.name} must be at least {minimum}, not {value}")

    @classmethod
    def load(
        cls,
        *,
        environment: Mapping[str, str] | None = None,
        file: Path | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Settings:
        """Defaults, then the TOML file, then the environment, then ``overrides`` (``None`` values are skipped).

        Args:
            environment: Variables ``IMAGEFINDER_NAME``; the process's own by default.
            file: TOML file; by default the one named by ``IMAGEFINDER_CONFIG``, if any.
            overrides: Setting name -> value.

        Raises:
            SettingsError: an unknown name, a value of the wrong type or out of range, an unreadable file.
        """
        environment = os.environ if environment is None else environment
        values: dict[str, Any] = {}
        if file is None and environment.get(CONFIG_VARIABLE):
            file = Path(environment[CONFIG_VARIABLE])
        if file is not None:
            for name, value in _read_toml(file).items():
                values[name] = cls._convert(name, value, str(file))
        for variable, text in environment.items():
            if variable.startswith(PREFIX) and variable != CONFIG_VARIABLE and not _is_link(variable, text):
                name = variable[len(PREFIX) :].lower()
                values[name] = cls._convert(name, text, f"environment variable {variable}")
        for name, value in (overrides or {}).items():
            if value is not None:
                values[name] = cls._convert(name, value, name)
        return cls(**values)

    @classmethod
    def _convert(cls, name: str, value: Any, origin: str) -> Any:
        types = get_type_hints(cls)
        if name not in types:
            raise SettingsError(
                f"{origin}: there is no setting {name!r}", hint=f"settings: {', '.join(sorted(types))}"
            )
        kind = types[name]
        try:
            return Path(value).expanduser() if kind is Path else kind(value)
        except (TypeError, ValueError):
            raise SettingsError(f"{origin}: {name} must be {kind.__name__}, not {value!r}") from None

    def describe(self) -> list[tuple[str, str, str]]:
        """Every setting as (name, present value, what it does)."""
        return [
            (item.name, str(getattr(self, item.name)), item.metadata["help"]) for item in dataclasses.fields(self)
        ]


def _is_link(variable: str, text: str) -> bool:
    """Container platforms set such variables for a service that happens to be called imagefinder."""
    name = variable[len(PREFIX) :]
    return bool(re.match(r"SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP)", name)) or (
        name == "PORT" and text.startswith(("tcp://", "udp://"))
    )


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {file} is not valid TOML: {error}") from error
