"""The arithmetic of a network: its precision, its seed and its threads, which all belong to the result."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
# Those of x86 alone. On ARM torch has the numbers too, but not everywhere fast convolutions of them.
BFLOAT16 = ("avx512_bf16", "amx_bf16")


def choose_precision(precision: str, device: torch.device, *, float16: bool = False) -> torch.dtype:
    """The arithmetic of the network; `auto` takes bfloat16 where the processor or GPU is quick with it.

    Nothing is timed: the same machine gives the same answer whatever else it
    does, and with it the same model and the same labels.

    Parameters
    ----------
    precision : {'auto', 'float32', 'bfloat16', 'float16'}
    device : torch.device
    float16 : bool
        Whether float16 is allowed, which `auto` takes on a GPU without
        bfloat16. Predictions of the network fit into it, gradients do not.

    Raises
    ------
    ValueError
        If the name is not known, or is float16 and that is not allowed.
    """
    allowed = [name for name in PRECISIONS if float16 or name != "float16"]
    if precision not in ("auto", *allowed):
        raise ValueError(f"precision is {precision!r}; wanted one of auto, {', '.join(allowed)}")
    if precision != "auto":
        return PRECISIONS[precision]
    if device.type == "cuda":
        quick = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        capabilities = torch.cpu.get_capabilities()
        quick = any(capabilities.get(name, False) for name in BFLOAT16)
    if quick:
        return torch.bfloat16
    return torch.float16 if float16 and device.type == "cuda" else torch.float32


def autocast(device: torch.device, precision: torch.dtype) -> torch.autocast:
    """Inside, the network computes in that precision; its weights stay as they are."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == torch.bfloat16)


@contextmanager
def reproducible(seed: int, threads: int) -> Iterator[None]:
    """Inside, torch draws from the seed and adds up in one order; afterwards it is as before.

    On a GPU an operation that has no such form is carried out as it is, and
    torch warns of it.
    """
    # Read when CUDA's matrix library starts; without it torch refuses to promise an order.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False
        # Fills every new tensor before it is written: costs time, and no operation here reads what nobody wrote.
        torch.utils.deterministic.fill_uninitialized_memory = False
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1], warn_only=before[2])
            torch.backends.cudnn.benchmark = before[3]
            torch.utils.deterministic.fill_uninitialized_memory = before[4]
