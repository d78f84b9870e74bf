"""Read ``model.toml``, the file that describes a model. An unknown key or a wrong type is an error."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, cast, get_args

from imagefinder.core.errors import SettingsError
from imagefinder.core.features import FeatureSpec
from imagefinder.models import catalogue
from imagefinder.models.catalogue import (
    HubFile,
    LocalFile,
    ModelSpec,
    Output,
    PackageFile,
    Preprocessing,
    Source,
    TextTower,
    UrlFile,
)
from imagefinder.models.files import is_sha256

MAX_BYTES = 1 << 30
"""Largest weight file of an added model: 1 GiB."""

_MAX_TEXT = 1 << 16  # bytes
_RESERVED = frozenset({"auto", "graphs", "sift", "thumbnails"})
_ARCHITECTURES = cast(tuple[str, ...], get_args(catalogue.Architecture))
_MAPS = frozenset(_ARCHITECTURES) - {"beit_base", catalogue.ONNX}
_SOURCES = (
    ("repository", ("repository", "revision", "file")),
    ("package", ("package", "module", "file")),
    ("url", ("url",)),
    ("file", ("file",)),
)


def is_name(name: str) -> bool:
    """Whether a model may have this name: it is part of paths, URLs and commands."""
    return re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name) is not None and name not in _RESERVED


def read(path: Path, *, shipped: bool = False) -> ModelSpec:
    """The model that a file describes; its name is that of the folder.

    Args:
        path: The ``model.toml``.
        shipped: Whether imagefinder ships it. Only then may the weights be a pickle of PyTorch.

    Raises:
        SettingsError: the file cannot be read, or a key is unknown, missing or has an invalid value.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_TEXT + 1)
        if len(text) > _MAX_TEXT:
            raise SettingsError(f"{path} has more than {_MAX_TEXT:,} bytes")
        content = tomllib.loads(text.decode())
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SettingsError(f"{path} is not a valid TOML file: {error}") from error
    name = path.parent.name
    if not is_name(name):
        raise SettingsError(
            f"{path}: a model cannot be called {name!r}",
            hint="rename the folder: lower-case letters, digits, dots, hyphens and underscores",
        )
    return _Reader(path, shipped).model(name, content)


class _Table:
    """A table of the file, from which keys are taken; what is left in the end is unknown."""

    def __init__(self, path: Path, prefix: str, content: Mapping[str, Any]) -> None:
        self._path, self._prefix = path, prefix
        self._left = dict(content)

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def error(self, key: str, reason: str, hint: str = "") -> SettingsError:
        return SettingsError(
            f"{self._path}: {self._prefix}{key} {reason}", hint=hint or "the keys: docs/guides/adding-a-model.md"
        )

    def table(self, key: str) -> _Table:
        value = self._take(key, (dict,), "a table", None)
        return _Table(self._path, f"{key}.", value)

    def text(self, key: str, default: str | None = None, choices: Sequence[str] = ()) -> str:
        value = cast(str, self._take(key, (str,), "text", default))
        if choices and value not in choices:
            raise self.error(key, f"is {value!r}, not one of: {', '.join(choices)}")
        if not choices and default is None and not value.strip():
            raise self.error(key, "is empty")
        return value

    def texts(
        self, key: str, default: Sequence[str] | None = None, choices: Sequence[str] = ()
    ) -> tuple[str, ...]:
        values = self._take(key, (list,), "a list of texts", default)
        for value in values:
            if not isinstance(value, str) or (choices and value not in choices):
                raise self.error(
                    key, f"contains {value!r}" + (f", not one of: {', '.join(choices)}" if choices else "")
                )
        return tuple(values)

    def whole(self, key: str, default: int | None = None, *, least: int = 1, most: int = 1 << 16) -> int:
        value = self._take(key, (int,), "a whole number", default)
        if not least <= value <= most:
            raise self.error(key, f"is {value}, not from {least} to {most}")
        return cast(int, value)

    def flag(self, key: str, default: bool) -> bool:
        return cast(bool, self._take(key, (bool,), "true or false", default))

    def number(self, key: str, default: float) -> float:
        value = float(self._take(key, (int, float), "a number", default))
        if not 0 < value <= 100:
            raise self.error(key, f"is {value}, not above 0 and up to 100")
        return value

    def channels(self, key: str, *, positive: bool = False) -> tuple[float, float, float]:
        values = self._take(key, (list,), "a list of three numbers", None)
        numbers = [
            float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)
        ]
        if len(values) != 3 or len(numbers) != 3 or any(abs(value) > 1e6 for value in numbers):
            raise self.error(key, "is not a list of three numbers")
        if positive and min(numbers) <= 0:
            raise self.error(key, "contains a number that is not positive")
        return numbers[0], numbers[1], numbers[2]

    def end(self) -> None:
        if self._left:
            raise self.error(min(self._left), "is not a known key")

    def _take(self, key: str, kinds: tuple[type, ...], kind: str, default: Any) -> Any:
        if key not in self._left:
            if default is None:
                raise self.error(key, "is missing")
            return default
        value = self._left.pop(key)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self.error(key, f"is not {kind}")
        return value


class _Reader:
    """Reads the tables of one file."""

    def __init__(self, path: Path, shipped: bool) -> None:
        self._path, self._shipped = path, shipped

    def model(self, name: str, content: Mapping[str, Any]) -> ModelSpec:
        top = _Table(self._path, "", content)
        architecture = top.text("architecture", catalogue.ONNX, _ARCHITECTURES)
        weights = top.table("weights")
        source, sha256 = self._source(weights, architecture), weights.text("sha256", "")
        if sha256 and not is_sha256(sha256):
            raise weights.error("sha256", "is not 64 lower-case hexadecimal digits")
        size_bytes = weights.whole("size_bytes", most=MAX_BYTES)
        weights.end()
        output, features = self._output(top.table("output"), architecture)
        score = "matches" if features.kind == "local" else "cosine"
        if top.text("score", score, ("cosine", "matches")) != score:
            raise top.error("score", f"must be {score} for the pooling {output.pool!r}")
        spec = ModelSpec(
            name=name,
            summary=top.text("summary"),
            source=source,
            sha256=sha256,
            size_bytes=size_bytes,
            licence=top.text("licence"),
            homepage=top.text("homepage"),
            architecture=cast(catalogue.Architecture, architecture),
            preprocessing=self._input(top.table("input"), architecture),
            features=features,
            output=output,
            purpose=cast(
                tuple[catalogue.Purpose, ...], top.texts("purpose", ("kinds",), get_args(catalogue.Purpose))
            ),
            auto=top.flag("auto", default=False),
            text=self._text(top.table("text")) if "text" in top else None,
            untested=top.flag("untested", default=False),
        )
        top.end()
        return spec

    def _source(self, weights: _Table, architecture: str) -> Source:
        kind, keys = next(((kind, keys) for kind, keys in _SOURCES if kind in weights), ("file", ("file",)))
        values = {key: weights.text(key) for key in keys}
        file = values["file"] if "file" in values else PurePosixPath(values["url"].partition("?")[0]).name
        self._check_file(weights, file, architecture)
        if kind == "repository":
            if not re.fullmatch(r"[\w.-]+/[\w.-]+", values["repository"], re.ASCII):
                raise weights.error("repository", f"is {values['repository']!r}, not owner/name")
            if not re.fullmatch(r"[\w.-]{1,100}", values["revision"], re.ASCII):
                raise weights.error("revision", "is not a commit, a tag or a branch")
            return HubFile(values["repository"], values["revision"], file)
        if kind == "package":
            return PackageFile(values["package"], values["module"], file)
        if kind == "url":
            if not re.match(r"https?://[^/\s]+/\S+$", values["url"]):
                raise weights.error("url", f"is {values['url']!r}, not an HTTP address of a file")
            return UrlFile(values["url"], file)
        if "/" in file:
            raise weights.error("file", f"is {file!r}, not the name of a file next to {catalogue.FILE}")
        return LocalFile(file)

    def _check_file(self, weights: _Table, file: str, architecture: str) -> None:
        suffix = PurePosixPath(file).suffix.lower()
        allowed = ".onnx" if architecture == catalogue.ONNX else ".safetensors"
        if suffix != allowed and not (self._shipped and suffix == ".pth"):
            raise weights.error(
                "file" if "url" not in weights else "url",
                f"names {file!r}; the weights of the architecture {architecture} are a file {allowed}",
                hint="files of Python objects (.pt, .pth, .bin) are not read: convert them to safetensors",
            )
        parts = PurePosixPath(file).parts
        if file.startswith("/") or ".." in parts or "\\" in file:
            raise weights.error("file", f"is {file!r}, not a path inside the source")

    def _input(self, table: _Table, architecture: str) -> Preprocessing:
        size = table.whole("size", least=16, most=2048)
        resize = table.text("resize", choices=("shorter-side", "exact"))
        how = Preprocessing(
            resize=cast(Any, resize),
            resize_to=table.whole("resize_to", size, least=size, most=4096),
            size=size,
            interpolation=cast(Any, table.text("interpolation", choices=("bilinear", "bicubic"))),
            mean=table.channels("mean"),
            std=table.channels("std", positive=True),
            channels=cast(Any, table.text("channels", "RGB", ("RGB", "BGR"))),
        )
        from imagefinder.models.graphs.sides import SIDES  # noqa: PLC0415 - a part of the builders

        if architecture in SIDES and size != SIDES[architecture]:
            raise table.error("size", f"is {size}; the input of {architecture} is {SIDES[architecture]}")
        table.end()
        return how

    def _output(self, table: _Table, architecture: str) -> tuple[Output, FeatureSpec]:
        pool = table.text("pool", choices=get_args(catalogue.Pool))
        output = Output(
            name=table.text("name", ""),
            pool=cast(catalogue.Pool, pool),
            skip=table.whole("skip", 0, least=0, most=64),
            power=table.number("power", 3.0),
            linear=table.texts("linear", ()),
        )
        if output.linear and (len(output.linear) != 2 or architecture not in _MAPS or "map" not in pool):
            raise table.error(
                "linear", "names the tensors of weight and bias, for an architecture with a feature map only"
            )
        allowed = get_args(catalogue.Pool)
        if architecture in _MAPS:
            allowed = ("vector", "mean of map", "GeM of map")
        elif architecture == "beit_base":
            allowed = ("class token", "mean of tokens", "tokens")
        if pool not in allowed:
            raise table.error("pool", f"is {pool!r}; {architecture} has: {', '.join(allowed)}")
        if output.name and architecture != catalogue.ONNX:
            raise table.error("name", "is only for ONNX graphs")
        dim = table.whole("dim")
        table.end()
        return output, FeatureSpec("local" if pool == "tokens" else "global", dim, "float32")

    def _text(self, table: _Table) -> TextTower:
        tower = TextTower(
            filename=table.text("file"),
            tokenizer=table.text("tokenizer"),
            output=table.text("output"),
            length=table.whole("length", most=4096),
            padding=table.whole("padding", least=0, most=1 << 24),
            templates=table.texts("templates", ("{}",)),
        )
        if any(template.count("{}") != 1 for template in tower.templates):
            raise table.error("templates", "contains a text without exactly one {}")
        table.end()
        return tower
