"""Classes are names: two lists are matched by name, and what does not fit is named."""

import pytest

from fsaf_core.config import COCO_CATEGORY_IDS, COCO_CLASSES, FSAFError
from fsaf_core.utils.classes import find_classes, list_names, match_classes


def test_equal_names_in_another_order_are_matched_by_name():
    assert match_classes(("cat", "dog", "bird"), ("bird", "cat", "dog"), "a", "b") == [2, 0, 1]


def test_letter_case_outer_spaces_and_unicode_form_do_not_matter():
    assert match_classes(("Caf\u00e9", "dog"), ("Dog ", "cafe\u0301"), "a", "b") == [1, 0]


def test_placeholders_are_matched_by_position():
    assert match_classes(("cat", "dog"), ("class_0", "class_1"), "a", "b") == [0, 1]
    assert match_classes(("class_0", "class_1"), ("cat", "dog"), "a", "b") == [0, 1]
    with pytest.raises(FSAFError, match="b has 1"):
        match_classes(("cat", "dog"), ("class_0",), "a", "b")


@pytest.mark.parametrize(
    ("own", "other", "words"),
    [
        (("cat", "dog"), ("cat", "cow"), "'dog' is only in the first; 'cow' is only in the second"),
        (("cat", "dog"), ("cat",), "'dog' is only in the first"),
        (("cat",), ("cat", "dog"), "'dog' is only in the second"),
        (("cat", "dog"), ("cat", "Cat"), "'dog' is only in the first"),
        (("cat", "Cat"), ("cat", "CAT"), "'Cat' is only in the first"),
        (("cat", "cat"), ("cat", "cat"), "a name is repeated"),
    ],
)
def test_names_that_do_not_fit_are_named(own, other, words):
    with pytest.raises(FSAFError) as caught:
        match_classes(own, other, "a.pt", "b.json")
    assert words in str(caught.value) and "order and ids may differ" in str(caught.value)


def test_a_thousand_classes_of_which_one_is_missing_make_a_short_message():
    names = [f"{number} " + "long name " * 10 for number in range(1000)]
    with pytest.raises(FSAFError) as caught:
        match_classes(names, names[1:], "a.pt", "b.json")
    assert len(str(caught.value)) < 400 and "'0 long" in str(caught.value)
    with pytest.raises(FSAFError, match="and 997 more are only in the first") as caught:
        match_classes(names, [f"{name}x" for name in names], "a", "b")
    assert len(str(caught.value)) < 400


def test_a_class_that_is_missing_on_the_other_side_is_none():
    assert find_classes(("dog", "cow", "cat"), ("cat", "dog")) == [1, None, 0]
    assert list_names(["a", "b", "c", "d"]) == "'a', 'b', 'c' and 1 more"


def test_the_categories_of_coco_have_their_published_ids():
    ids = dict(zip(COCO_CLASSES, COCO_CATEGORY_IDS, strict=True))
    assert [ids[name] for name in ("person", "stop sign", "hair drier", "toothbrush")] == [
        1, 13, 89, 90,
    ]  # fmt: skip
