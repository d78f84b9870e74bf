"""Write the vectors of features in the transaction that writes the features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from imagefinder.core.features import Features, FeatureSpec
from imagefinder.core.vector_table import Halves
from imagefinder.stores.distributed.method_rows import RegisteredMethod
from imagefinder.stores.distributed.pool import Connection
from imagefinder.stores.distributed.vector_models import insert, read_data, texts_of

Encode = Callable[[Features], Halves]
ReadModel = Callable[[bytes, FeatureSpec], Encode]
"""Reads the data of a model; raises ``ValueError`` if this process cannot use them."""


@dataclass(frozen=True, slots=True)
class PreparedVectors:
    """The vectors of features that are about to be written.

    Attributes:
        features: Name of the method, and features of one image, in the order of their keys.
        by_model: Key of a model -> number of the features -> vector as text.
    """

    features: Sequence[tuple[str, Features]]
    by_model: Mapping[int, Mapping[int, str]] = field(default_factory=dict)


class VectorWriter:
    """Writes the vectors of features in the transaction that writes the features."""

    def __init__(self, collection: int, read_model: ReadModel | None) -> None:
        """Create a writer.

        Args:
            collection: Key of the collection.
            read_model: Reads the data of models; ``None``: this process cannot, so it leaves models incomplete.
        """
        self._collection = collection
        self._read_model = read_model
        self._known: dict[int, tuple[str, Encode | None]] = {}  # the models that the last transaction found

    def prepare(self, features: Sequence[tuple[str, Features]]) -> PreparedVectors:
        """Compute vectors by the models known so far, before the transaction begins."""
        known = dict(self._known)
        return PreparedVectors(
            features,
            {model: _encoded(features, method, encode) for model, (method, encode) in known.items() if encode},
        )

    def write(
        self,
        connection: Connection,
        methods: Mapping[str, RegisteredMethod],
        prepared: PreparedVectors,
        keys: Sequence[int],
    ) -> None:
        """Write the vectors of features, by all models of their methods.

        Args:
            connection: A transaction with the lock of the methods: no model can be created meanwhile.
            methods: The methods by name.
            prepared: The vectors.
            keys: Keys of the features.
        """
        if not prepared.features:
            return
        names = {method.key: name for name, method in methods.items()}
        rows = connection.execute(
            "SELECT key, method FROM vector_models WHERE collection = %s", [self._collection]
        ).fetchall()
        models = {key: names[method] for key, method in rows if method in names}
        self._known = {key: known for key, known in self._known.items() if key in models}
        for model, method in models.items():
            if model not in self._known:
                self._known = {
                    **self._known,
                    model: (method, self._encode(connection, model, methods[method].spec)),
                }
            encode = self._known[model][1]
            if encode is None:
                connection.execute(
                    "UPDATE vector_models SET complete = false, gaps = gaps + 1 WHERE key = %s", [model]
                )
                continue
            texts = prepared.by_model.get(model)
            if texts is None:
                texts = _encoded(prepared.features, method, encode)
            if texts:
                insert(connection, model, [keys[number] for number in texts], list(texts.values()))

    def _encode(self, connection: Connection, model: int, spec: FeatureSpec) -> Encode | None:
        """Reads the data of a model; ``None`` if they are damaged, or made by another version."""
        data = read_data(connection, model)
        if data is None or self._read_model is None:
            return None
        try:
            return self._read_model(data, spec)
        except ValueError:
            return None


def _encoded(features: Sequence[tuple[str, Features]], method: str, encode: Encode) -> dict[int, str]:
    """Number of the features -> vector as text, of the features of a method."""
    return {
        number: texts_of(encode(of_image))[0] for number, (name, of_image) in enumerate(features) if name == method
    }
