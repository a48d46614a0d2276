"""Match two lists of class names by name."""

import re
import unicodedata
from collections.abc import Sequence

from ..config import FSAFError


def are_unnamed(names: Sequence[str]) -> bool:
    """Return whether all names are placeholders of weights without names: class_0, class_1, ..."""
    return all(re.fullmatch(r"class_\d+", name) for name in names)


def match_classes(
    own: Sequence[str], other: Sequence[str], where_own: object, where_other: object
) -> list[int]:
    """Return the position in `own` of each class of `other`.

    Names are compared without regard to letter case, outer spaces and Unicode form. Where one of
    the lists holds only placeholders and both have one length, classes match by position.

    Args:
        own: K class names, in the order of the labels that are wanted.
        other: the same K names in any order.
        where_own: what has the names `own`, for the message.
        where_other: what has the names `other`, for the message.

    Returns:
        K positions: label c of `other` is label `result[c]` of `own`.

    Raises:
        FSAFError: "a.safetensors and b.json have different classes: 'cat' is only in the first,
            'dog' only in the second: give ..."
    """
    if len(own) == len(other) and (are_unnamed(own) or are_unnamed(other)):
        return list(range(len(own)))
    positions = {_normal(name): label for label, name in enumerate(own)}
    others = {_normal(name) for name in other}
    only_own = [name for name in own if _normal(name) not in others]
    only_other = [name for name in other if _normal(name) not in positions]
    if only_own or only_other or len(own) != len(other):
        parts = [
            f"{_some(names)} only in {where}"
            for names, where in ((only_own, where_own), (only_other, where_other))
            if names
        ]
        raise FSAFError(
            f"{where_own} has {len(own)} classes and {where_other} has {len(other)}: "
            f"{'; '.join(parts) or 'a name is repeated'}. "
            "Give both the same class names; their order and ids may differ."
        )
    return [positions[_normal(name)] for name in other]


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _some(names: Sequence[str]) -> str:
    """Return up to three names, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= 30 else f"{name[:30]}...") for name in names[:3])
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{shown}{more} {'is' if len(names) == 1 else 'are'}"
