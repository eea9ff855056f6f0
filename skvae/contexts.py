"""What of torch's state is the caller's and what is ours: contexts that hold while we compute, and leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar

import torch

from skvae.sizes import MIN_PRODUCTS_A_THREAD

_PLAIN: ContextVar[bool] = ContextVar("plain_derivatives", default=False)


@contextmanager
def own_context() -> Iterator[None]:
    """Whatever the caller's context, gradients may be taken, and types and devices are those that we name."""
    of_cpu, of_cuda = (torch.autocast(device, enabled=False) for device in ("cpu", "cuda"))
    # torch looks at every call while a default device is set by a context: we set one only where there is another
    device = nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")
    with torch.inference_mode(False), torch.enable_grad(), of_cpu, of_cuda, device, _single_precision():
        yield


@contextmanager
def _single_precision() -> Iterator[None]:
    """What is made without a type is float32."""
    dtype = torch.get_default_dtype()
    if dtype == torch.float32:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)


@contextmanager
def threads_for(n_products: float) -> Iterator[None]:
    """As many threads as so many multiplications at a time are worth, and no more than the caller allows.

    Threads that wait for each other at every small layer gain nothing, and beside another busy process cost several times
    as much as they are worth.
    """
    n_threads = torch.get_num_threads()
    worth = max(1, min(n_threads, int(n_products / MIN_PRODUCTS_A_THREAD)))
    if worth == n_threads:
        yield
        return
    torch.set_num_threads(worth)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def plain_derivatives() -> bool:
    """Whether functions with a derivative written by hand are to be differentiated by torch instead."""
    return _PLAIN.get()


@contextmanager
def differentiated_by_torch() -> Iterator[None]:
    """While it lasts, torch differentiates everything: `torch.func` transforms no derivative that is written by hand."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)
