"""Choose the device to compute on, and the precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional

from digitcnn.errors import ConfigError
from digitcnn.network.model import DigitCNN
from digitcnn.options import DEVICES


@dataclass(frozen=True)
class Compute:
    """Where and how to compute.

    device: ``cpu``, ``cuda`` or ``mps``.
    autocast: the dtype of autocast regions, None for float32 throughout.
    name: the hardware, for people.
    note: one sentence when a card is there but not used, else empty.
    """

    device: torch.device
    autocast: torch.dtype | None
    name: str
    note: str = ""

    @property
    def precision(self) -> str:
        """Return the type that convolutions compute in, such as float32 or bfloat16."""
        return "float32" if self.autocast is None else str(self.autocast).removeprefix("torch.")

    def __str__(self) -> str:
        return f"{self.name}, {self.precision}"


def choose(device: str = "auto") -> Compute:
    """Return the requested device; ``auto``: CUDA, else mps, after a one-batch trial, else the CPU.

    Raises ConfigError when a device named outright is unknown, absent or fails its trial.
    """
    if device not in DEVICES:
        raise ConfigError(
            f"The device is '{device}'; choose one of {', '.join(DEVICES)}.", field="device"
        )
    if device == "cpu":
        return _cpu()
    notes = []
    for name in ("cuda", "mps") if device == "auto" else (device,):
        try:
            compute = _accelerator(name)
            _trial(compute)
            return compute
        except (RuntimeError, AssertionError, ConfigError) as error:
            if device != "auto":
                text = f"{_reason(name, error)}, or use --device cpu."
                raise ConfigError(text, field="device") from error
            if _is_there(name):
                notes.append(f"{_reason(name, error)}.")
    return _cpu(" ".join(notes))


def _is_there(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.is_available()
    return torch.backends.mps.is_available()


def _accelerator(name: str) -> Compute:
    if not _is_there(name):
        raise ConfigError(
            f"PyTorch {torch.__version__} finds no {name} device on this machine; check its driver"
        )
    if name == "mps":
        return Compute(torch.device("mps"), None, "Apple GPU (mps)")
    # is_bf16_supported() counts emulation; cards before capability 8.0 only emulate it.
    bf16 = torch.cuda.get_device_capability() >= (8, 0)
    return Compute(
        torch.device("cuda"), torch.bfloat16 if bf16 else None, torch.cuda.get_device_name()
    )


def _reason(name: str, error: Exception) -> str:
    """Return what is wrong and what to do, without the full stop."""
    if isinstance(error, ConfigError):
        return str(error)
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip(".")
    if name == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return (
            f"{torch.cuda.get_device_name()} (compute capability {major}.{minor}) cannot run this "
            f"PyTorch {torch.__version__} ({first_line}): install the PyTorch wheel for that "
            "capability from https://pytorch.org/get-started/locally/"
        )
    return f"The mps device failed a trial ({first_line}): update macOS and PyTorch"


def _trial(compute: Compute) -> None:
    """One batch forward and backward; raises RuntimeError where the device cannot."""
    network = DigitCNN().to(compute.device).to(memory_format=torch.channels_last)
    images = torch.zeros(2, 28, 28, dtype=torch.uint8, device=compute.device)
    with torch.autocast(compute.device.type, compute.autocast, compute.autocast is not None):
        loss = functional.cross_entropy(
            network(network.prepare(images)), torch.zeros(2, dtype=torch.long, device=images.device)
        )
    loss.backward()
    if not bool(torch.isfinite(loss)):
        raise RuntimeError("the trial's loss is not a number")


def _cpu(note: str = "") -> Compute:
    capabilities = torch.cpu.get_capabilities()
    # Without these instructions bfloat16 is emulated: ten times slower than float32.
    bf16 = capabilities.get("avx512_bf16") or capabilities.get("amx_bf16")
    threads = torch.get_num_threads()
    name = f"CPU, {threads} thread{'s' if threads > 1 else ''}"
    return Compute(torch.device("cpu"), torch.bfloat16 if bf16 else None, name, note)
