"""`ptune` on a device that is no CPU, where there is no GPU: its tensors are the CPU's inside, and mix with none of it.

    python tests/pretended_gpu.py train task=rte ...

An operation with tensors of both devices is an error, as on a GPU. Autocast does nothing there.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ptune import build, cli

aten = torch.ops.aten
NAME = "pretended"
BETWEEN = {aten.copy_.default, aten._to_copy.default}  # devices
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class Backend(backend_registration._DummyBackendModule):  # type: ignore[misc,name-defined]
    """What torch asks a device's module for."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def is_available(self):
        return True

    def device_count(self):
        return 1

    def current_device(self):
        return 0

    def manual_seed_all(self, seed):
        """Random numbers are the CPU's."""

    def _is_in_bad_fork(self):
        return False

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        torch.set_rng_state(state)


backend_registration._setup_privateuseone_for_python_backend(NAME, Backend())
DEVICE, CPU = torch.device(NAME, 0), torch.device("cpu")
FALLBACK = torch.library.Library("_", "IMPL")
FALLBACK.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
new, as_tensor, get_item, set_item = torch.tensor, torch.as_tensor, torch.Tensor.__getitem__, torch.Tensor.__setitem__


class There(torch.Tensor):
    """A tensor on the device; `inner` holds its numbers."""

    inner: torch.Tensor

    @staticmethod
    def __new__(cls, inner):
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=DEVICE, requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})

    def __deepcopy__(self, memo):
        return There(self.inner.clone())

    def tolist(self):
        return self.inner.tolist()

    def new_tensor(self, data, dtype=None):
        return tensor(data, dtype=dtype or self.dtype, device=DEVICE)

    def __getitem__(self, index):
        return get_item(self, moved(index))

    def __setitem__(self, index, value):
        set_item(self, moved(index), value)


class Everywhere(TorchDispatchMode):
    """Tensors that are made on the device are there."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = is_there(kwargs.get("device")) or any(isinstance(leaf, There) for leaf in tree_leaves((args, kwargs)))
        return compute(operation, args, kwargs) if there else operation(*args, **kwargs)


def is_there(device):
    return device is not None and torch.device(device).type == NAME


def moved(index):
    """An index with its lists on the device."""
    parts = index if isinstance(index, tuple) else (index,)
    parts = tuple(new(part).to(DEVICE) if isinstance(part, list) else part for part in parts)
    return parts if isinstance(index, tuple) else parts[0]


def tensor(data, *, device=None, made=new, **options):
    """torch.tensor and torch.as_tensor, which would go past us."""
    found = made(data, **options)
    return found.to(device) if device is not None else found


def compute(operation: Any, args: Any, kwargs: Any) -> Any:
    """Do an operation on what is inside. Raises RuntimeError for tensors of two devices."""
    leaves = tree_leaves((args, kwargs))
    here = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, There) and leaf.dim()]
    there = [leaf for leaf in leaves if isinstance(leaf, There)]
    if operation in INDEXED and isinstance(args[0], There):
        values = {id(leaf) for leaf in tree_leaves(args[2:])}
        here = [leaf for leaf in here if id(leaf) in values]  # an index may be the CPU's
    if here and there and operation not in BETWEEN:
        raise RuntimeError(f"expected all tensors to be on the same device in {operation}, {here[0].shape} is not")
    stays = is_there(kwargs["device"]) if kwargs.get("device") is not None else bool(there)

    def inside(leaf):
        return leaf.inner if isinstance(leaf, There) else CPU if isinstance(leaf, torch.device) else leaf

    def outside(leaf):
        if not stays or not isinstance(leaf, torch.Tensor):
            return leaf
        changed = [one for one in there if one.inner is leaf]
        return changed[0] if changed else There(leaf)

    inner_args, inner_kwargs = tree_map(inside, (args, kwargs))
    found = operation(*inner_args, **{**inner_kwargs, **({"device": CPU} if kwargs.get("device") is not None else {})})
    if operation is aten.copy_.default:
        return args[0]
    return tree_map(outside, found.clone() if operation is aten._to_copy.default and found is inner_args[0] else found)


class NoGrad(torch.no_grad):
    """For torch.inference_mode, whose tensors cannot be wrapped."""

    def __new__(cls, mode=True):
        return super().__new__(cls)

    def __init__(self, mode=True):
        super().__init__()


torch.tensor, torch.as_tensor, torch.inference_mode = tensor, partial(tensor, made=as_tensor), NoGrad
known = build.device
build.device = lambda name: known(name) if name == "cpu" else DEVICE
if __name__ == "__mp_main__":  # a job of a sweep
    Everywhere().__enter__()
elif __name__ == "__main__":
    with Everywhere():
        cli.main(sys.argv[1:])
