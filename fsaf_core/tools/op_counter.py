"""Counts what a piece of code asks of the device: operations, host syncs, bytes alive at one time. Fake tensors too."""

import weakref
from collections import Counter
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What makes the host wait for the device: a value is read, or a shape depends on one.
SYNCS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "equal",
    "is_nonzero",
    "_assert_async",
    "bincount",
)
SYNCS += ("_unique2", "unique_dim", "unique_consecutive")


class OpCounter(TorchDispatchMode):
    """Counts operations (views, which compute nothing, aside), host syncs, and the bytes of new tensors that live at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.live: dict[int, int] = {}  # bytes by storage; none for what was there before
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Runs the operation and books it."""
        for storage in _storages((args, kwargs)):
            self._book(storage, 0)
        result = function(*args, **(kwargs or {}))
        self.operations[function.overloadpacket.__name__] += not function.is_view
        for storage in _storages(result):
            self._book(storage, storage.nbytes())
        return result

    def _book(self, storage: UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self.live or storage.nbytes() == 0:
            return
        self.live[key] = size
        weakref.finalize(storage, self.live.pop, key, None)
        self.peak = max(self.peak, sum(self.live.values()))

    @property
    def syncs(self) -> int:
        """Operations that make the host wait for a value."""
        return sum(count for name, count in self.operations.items() if name in SYNCS)


def _storages(values: Any) -> list[UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
