"""Kernels in Triton, an optional package. The modules in here import it; they are imported only when they are used."""

import importlib.util
import os

import torch

INTERPRETER = "TRITON_INTERPRET"  # with this environment variable Triton runs kernels in Python, on a CPU too


def why_not(device: torch.device | None = None) -> str | None:
    """What the kernels need and do not have, as the end of a sentence; None where they can run.

    Args:
        device: of the model; None where that is not known yet.
    """
    if not installed():
        return "needs the package triton, which is not installed (the extra `gpu`)"
    if device is not None and device.type != "cuda" and not _interpreted():
        return (
            f"needs the model on a GPU, or {INTERPRETER}=1 in the environment, which is slow; got a model on {device}"
        )
    return None


def installed() -> bool:
    return importlib.util.find_spec("triton") is not None


def _interpreted() -> bool:
    return os.environ.get(INTERPRETER, "").lower() in ("1", "true", "yes", "on", "y")
