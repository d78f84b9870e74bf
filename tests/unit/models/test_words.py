import pytest

from imagefinder.models.words import vocabulary


def names(text):
    return [phrase.name for phrase in vocabulary().read(text).phrases]


def classes(text):
    return {
        vocabulary().classes[number] for phrase in vocabulary().read(text).phrases for number in phrase.classes
    }


def test_the_table_names_every_class():
    words = vocabulary()
    assert len(words.classes) == 1000
    named = {number for numbers in words._numbers.values() for number in numbers}
    assert named == set(range(1000))


@pytest.mark.parametrize(
    "text",
    ["T-shirt", "t shirt", "TShirt", "tee shirts", "T SHIRTS", "t\N{MODIFIER LETTER APOSTROPHE}shirt", "jersey"],
)
def test_spelling_does_not_matter(text):
    assert classes(text) == {"jersey"}


@pytest.mark.parametrize(
    ("plural", "singular"),
    [
        ("mice", "mouse"),
        ("buses", "bus"),
        ("boxes", "box"),
        ("knives", "knife"),
        ("daisies", "daisy"),
        ("churches", "church"),
        ("volcanoes", "volcano"),
        ("pants", "pant"),
        ("geese", "goose"),
    ],
)
def test_plurals_are_recognised(plural, singular):
    assert classes(plural) == classes(singular) != set()


def test_what_a_class_is_a_kind_of_names_it():
    assert {"beagle", "pug"} <= classes("dog")
    assert classes("footwear") > classes("shoe") > {"sandal"}
    assert "banana" in classes("fruit")


def test_rare_senses_of_other_words_do_not_count():
    """A mask is attire, and jeans are apparel, which WordNet also calls dress."""
    assert classes("dress") == {"gown"}
    assert names("jacket") == []  # the only one among the classes is a book jacket


def test_a_class_keeps_its_own_name_even_if_that_is_rare():
    assert classes("mouse") == {"mouse"}  # of a computer; the animal is not among the classes


def test_the_longest_phrase_is_read():
    assert names("red sports car") == ["sports car"]
    assert vocabulary().read("a photo of a red sports car on the beach").unknown == ("red", "beach")
    assert names("dogs and cats") == ["dog", "cat"]
    assert vocabulary().read("a dog or not a cat").unknown == ("or", "not")  # they have no effect


def test_a_kind_of_a_class_is_also_read_as_its_words():
    (phrase,) = vocabulary().read("coffee cup").phrases
    assert [vocabulary().classes[number] for number in phrase.classes] == ["cup"]
    assert [part.name for part in phrase.parts] == ["coffee", "cup"]


@pytest.mark.parametrize("text", ["", "   ", "a photo of", "!!!", "日本語", "x" * 300, "\0"])
def test_texts_without_known_words(text):
    assert names(text) == []


def test_near_words_are_suggested():
    assert "banana" in vocabulary().near("bananna")
    assert vocabulary().near("qqqqqqq") == []
