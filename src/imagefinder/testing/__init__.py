"""Test suites for the contracts of methods, ANN indexes, stores, object stores and services, also for plug-ins.

They require ``pytest``; those for stores and ANN indexes also require ``hypothesis``.
"""

try:
    import pytest
except ImportError as error:
    raise ImportError("imagefinder.testing requires pytest: pip install pytest hypothesis") from error

# Failing assertions of a suite then show their values, as in a test file.
pytest.register_assert_rewrite(
    *(
        f"imagefinder.testing.{name}"
        for name in ("ann_indexes", "blobs", "extractors", "matchers", "services", "stores", "verifiers")
    )
)
