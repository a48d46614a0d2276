"""Match two lists of class names by name."""

import re
import unicodedata
from collections.abc import Sequence

from ..config import FSAFError


def are_unnamed(names: Sequence[str]) -> bool:
    """Return whether all names are placeholders of weights without names: class_0, class_1, ..."""
    return all(re.fullmatch(r"class_\d+", name) for name in names)


def find_classes(own: Sequence[str], other: Sequence[str]) -> list[int | None]:
    """Return the position in `other` of each class of `own`, None where it has no such class.

    Names are compared without regard to letter case, outer spaces and Unicode form, unless two
    names of a list differ in these alone. Where one of the lists holds only placeholders and both
    have one length, classes match by position.
    """
    if len(own) == len(other) and (are_unnamed(own) or are_unnamed(other)):
        return [*range(len(own))]
    distinct = all(len({*map(_normal, names)}) == len(names) for names in (own, other))
    key = _normal if distinct else str
    positions = {key(name): label for label, name in enumerate(other)}
    return [positions.get(key(name)) for name in own]


def match_classes(
    own: Sequence[str], other: Sequence[str], where_own: object, where_other: object
) -> list[int]:
    """Return the label in `own` of each class of `other`; both have the same classes.

    Args:
        own: K class names, in the order of the labels that are wanted.
        other: the same K names, in any order, compared as in `find_classes`.
        where_own: what has the names `own`, for the message.
        where_other: what has the names `other`, for the message.

    Returns:
        K labels: label c of `other` is label `result[c]` of `own`.

    Raises:
        FSAFError: "a.safetensors has 2 classes and b.json has 2: 'cat' is only in the first; 'dog'
            is only in the second. Give both the same class names; ..."
    """
    labels = find_classes(other, own)
    found = [label for label in labels if label is not None]
    if len(own) == len(other) == len(set(found)):
        return found
    parts = [
        f"{list_names(names)} {'is' if len(names) == 1 else 'are'} only in the {which}"
        for names, which in (
            ([name for name, at in zip(own, find_classes(own, other)) if at is None], "first"),
            ([name for name, at in zip(other, labels) if at is None], "second"),
        )
        if names
    ]
    raise FSAFError(
        f"{where_own} has {len(own)} classes and {where_other} has {len(other)}: "
        f"{'; '.join(parts) or 'a name is repeated'}. "
        "Give both the same class names; their order and ids may differ."
    )


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def list_names(names: Sequence[str]) -> str:
    """Return up to three names in quotes, each cut at 30 characters, and how many more."""
    return list_some([repr(name if len(name) <= 30 else f"{name[:30]}...") for name in names])


def list_some(texts: Sequence[str], separator: str = ", ") -> str:
    """Return up to three texts, and how many more there are."""
    more = f" and {len(texts) - 3} more" if len(texts) > 3 else ""
    return separator.join(texts[:3]) + more
