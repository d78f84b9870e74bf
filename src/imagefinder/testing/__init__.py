"""The suites that every extractor, matcher, verifier, ANN index and store must pass, for the tests of plug-ins.

They need ``pytest``; those of stores and ANN indexes need ``hypothesis``, too.
"""

try:
    import pytest
except ImportError as error:
    raise ImportError("imagefinder.testing needs pytest: pip install pytest hypothesis") from error

# So that a failing assertion of a suite shows its values, as one in a test file does.
pytest.register_assert_rewrite(
    *(f"imagefinder.testing.{name}" for name in ("extractors", "matchers", "ann_indexes", "stores", "verifiers"))
)
