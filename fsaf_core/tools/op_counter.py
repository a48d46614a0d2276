"""Count what code asks of the device: operations, host syncs, and bytes alive at one time."""

import weakref
from collections import Counter
from typing import Any

from torch import Tensor, UntypedStorage
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations that make the host wait for the device: they read a value, or make a shape from one.
SYNCS = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "equal",
    "is_nonzero",
    "_assert_async",
    "bincount",
)


class OpCounter(TorchDispatchMode):
    """Count operations, host syncs, and the bytes of new tensors alive at one time.

    Views compute nothing and are not counted. Fake tensors are counted like real ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.live: dict[int, int] = {}  # bytes of each storage; 0 for those that existed before
        self.peak = 0  # largest sum of `live`

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Run an operation and count it."""
        for storage in _storages((args, kwargs)):
            self._add(storage, 0)
        result = function(*args, **(kwargs or {}))
        self.operations[function.overloadpacket.__name__] += not function.is_view
        for storage in _storages(result):
            self._add(storage, storage.nbytes())
        return result

    def _add(self, storage: UntypedStorage, size: int) -> None:
        """Count a storage that was not seen yet, until it is freed."""
        key = storage._cdata
        if key in self.live or storage.nbytes() == 0:
            return
        self.live[key] = size
        weakref.finalize(storage, self.live.pop, key, None)
        self.peak = max(self.peak, sum(self.live.values()))

    @property
    def syncs(self) -> int:
        """Return the number of operations that made the host wait."""
        return sum(count for name, count in self.operations.items() if name in SYNCS)


def _storages(values: Any) -> list[UntypedStorage]:
    """Return the storages of all tensors in nested containers."""
    return [leaf.untyped_storage() for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]
