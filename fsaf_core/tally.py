"""Counts what a piece of code asks of the device: operations, host syncs, bytes alive at one time. Fake tensors too."""

import weakref
from collections import Counter

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

SYNCS = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal")


class Tally(TorchDispatchMode):
    """Counts operations, host syncs, and the bytes of tensors that live at one time beyond those there at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.live: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Runs the operation and books it."""
        result = function(*args, **(kwargs or {}))
        self.operations[function.overloadpacket.__name__] += 1
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._book(tensor)
        return result

    def _book(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.live or storage.nbytes() == 0:
            return
        self.live[key] = storage.nbytes()
        weakref.finalize(storage, self.live.pop, key, None)
        self.peak = max(self.peak, sum(self.live.values()))

    @property
    def syncs(self) -> int:
        """Operations that make the host wait for a value."""
        return sum(count for name, count in self.operations.items() if name in SYNCS)
