"""Whether there is a GPU to train on."""

import torch


def has_gpu() -> bool:
    """PyTorch finds a CUDA device."""
    return bool(torch.cuda.is_available())
