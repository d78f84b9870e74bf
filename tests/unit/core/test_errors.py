import inspect

from imagefinder.core import errors


def classes():
    return [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.ImagefinderError)]


def test_codes_are_unique_and_lower_case():
    codes = [c.code for c in classes()]
    assert len(set(codes)) == len(codes)
    assert all(code == code.lower() and " " not in code for code in codes)


def test_the_tree_at_the_top_of_the_file_names_every_class_and_no_other():
    drawn = {word for word in (errors.__doc__ or "").replace("─", " ").split() if word.endswith("Error")}
    assert drawn == {c.__name__ for c in classes()}


def test_errors_carry_message_and_hint():
    error = errors.UnknownMethodError("x", ["b", "a"])
    assert (error.message, error.hint) == ("unknown method 'x'", "known methods: a, b")
    missing = errors.ModelMissingError("beit")
    assert missing.retryable
    assert "imagefinder models pull beit" in missing.hint
