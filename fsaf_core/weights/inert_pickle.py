"""Read a pickle's tensors and plain values, and nothing else; `torch.load` takes this as a module.

Training programs put their own objects beside the weights. Every global that the pickle names
becomes one of the classes here, so no code of the file, or named by it, is found or run.
"""

import pickle
from typing import Any

from torch._utils import _rebuild_tensor


class Inert:
    """Replaces an object of any class. It takes everything and keeps nothing."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Any:
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        pass

    # The default lets a pickle call it on the class itself, which must not change either.
    def __setstate__(self, state: Any = None) -> None:
        """Ignore attributes."""

    def __call__(self, *_args: Any) -> "Inert":
        """Return another one, where the pickle calls what it has made."""
        return Inert()

    def append(self, _value: Any = None) -> None:
        """Ignore an item of a list's subclass."""

    def __setitem__(self, _key: Any, _value: Any) -> None:
        pass


class _RebuiltTensor(Inert):
    """Replaces the functions that make a tensor of a storage, in both versions."""

    def __new__(cls, storage: Any, offset: int, size: tuple, stride: tuple, *_hooks: Any) -> Any:
        return _rebuild_tensor(storage, offset, size, stride)


class _RebuiltParameter(Inert):
    """Replaces the function that makes a parameter of a tensor."""

    def __new__(cls, tensor: Any, *_hooks: Any) -> Any:
        return tensor


class _Dict(dict):
    """Replaces an OrderedDict, whose attributes are ignored."""

    def __setstate__(self, state: Any = None) -> None:
        pass


KNOWN = {
    ("torch._utils", "_rebuild_tensor"): _RebuiltTensor,
    ("torch._utils", "_rebuild_tensor_v2"): _RebuiltTensor,
    ("torch._utils", "_rebuild_parameter"): _RebuiltParameter,
    ("collections", "OrderedDict"): _Dict,
}


class Unpickler(pickle.Unpickler):
    """Finds the classes of this module in place of every global."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the replacement of a global, which is not imported."""
        return KNOWN.get((module, name), Inert)
