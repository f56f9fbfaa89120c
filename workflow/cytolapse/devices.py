"""What to compute on: a GPU where one can be used, else the CPU, and why."""

import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

import torch

log = logging.getLogger(__name__)

DRIVER_FILE = Path("/proc/driver/nvidia/version")


def choose_device(device: str) -> torch.device:
    """The device to compute on; 'auto' takes a GPU that can be used, else the CPU.

    A GPU that was given to this job (CUDA_VISIBLE_DEVICES names one, as SLURM
    does) counts as asked for: 'auto' does not leave it idle.

    Parameters
    ----------
    device : {'auto', 'cuda', 'cpu'}

    Raises
    ------
    ValueError
        If the name is none of these.
    RuntimeError
        If CUDA is asked for, or a GPU was given, and cannot be used: which of
        build, driver and card is at fault, and what to do.
    """
    if device not in ("auto", "cuda", "cpu"):
        raise ValueError(f"device is {device!r}; wanted auto, cuda or cpu")
    if device == "cpu":
        return torch.device("cpu")
    problem = cuda_problem()
    if problem is None:
        return torch.device("cuda")
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if device == "cuda" or given not in ("", "-1", "NoDevFiles"):
        said = "device is cuda" if device == "cuda" else f"this job was given a GPU (CUDA_VISIBLE_DEVICES {given})"
        raise RuntimeError(f"{said}, but {problem}; or set device to cpu in config.yaml")
    log.warning("device is auto, the CPU computes: %s", problem)
    return torch.device("cpu")


def cuda_problem() -> str | None:
    """Why CUDA cannot be used and what to do about it; None where it can be used."""
    build = f"torch {torch.__version__}"
    if torch.version.cuda is None:
        return f"{build} is built without CUDA; install the packages pinned in envs/requirements.txt"
    build = f"{build} (CUDA {torch.version.cuda})"
    try:
        torch.cuda.init()
        name, capability = torch.cuda.get_device_name(), torch.cuda.get_device_capability()
    except (RuntimeError, AssertionError) as error:
        said = str(error).splitlines()[0]
        return (
            f"{build} finds no GPU that it can use: {said} (driver {driver_version()}, "
            f"CUDA_VISIBLE_DEVICES {os.environ.get('CUDA_VISIBLE_DEVICES', 'not set')}); run the job on a partition "
            "with GPUs and ask for one, or have the driver installed or updated"
        )
    built_for = torch.cuda.get_arch_list()
    if not _serves(built_for, capability):
        return (
            f"the GPU {name} has compute capability {capability[0]}.{capability[1]}, and {build} serves "
            f"{', '.join(built_for)} (driver {driver_version()}); choose a newer card (constraint in the profile), "
            "or install a torch that was built for this one"
        )
    try:
        torch.zeros(1, device="cuda").add_(1).cpu()
    except RuntimeError as error:
        said = str(error).splitlines()[0]
        return (
            f"the GPU {name} (compute capability {capability[0]}.{capability[1]}, driver {driver_version()}, {build}) "
            f"does not compute: {said}; see with nvidia-smi whether it is broken or taken, and update the driver"
        )
    return None


def _serves(built_for: Sequence[str], capability: tuple[int, int]) -> bool:
    """Machine code runs on cards of the same generation and later; code to be compiled (compute_) on any later one."""
    for architecture in built_for:
        kind, number = re.match(r"(\w+)_(\d+)", architecture).groups()
        major, minor = divmod(int(number), 10)
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= tuple(capability):
            return True
    return False


def driver_version() -> str:
    """Version of the NVIDIA driver, or 'not found'."""
    try:
        found = re.search(r"Module\s.*?(\d+\.[\d.]+)", DRIVER_FILE.read_text())
    except OSError:
        found = None
    return found.group(1) if found else "not found"


def device_name(device: torch.device) -> str:
    """What the tables say of a device: 'cpu', or 'cuda' and the card."""
    return f"cuda ({torch.cuda.get_device_name()})" if device.type == "cuda" else "cpu"
