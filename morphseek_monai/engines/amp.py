"""Automatic mixed precision on either device."""

from __future__ import annotations

from typing import Any

import torch


def autocast(device: torch.device, enabled: bool, amp_kwargs: dict[str, Any] | None = None) -> torch.autocast:
    """Autocast context for ``device``; bfloat16 unless ``amp_kwargs`` says otherwise.

    MONAI's engines autocast on CUDA only. bfloat16 needs no loss scaling and makes 3-D convolutions 2.5 to 4 times
    faster on CPUs with AVX512-BF16. Only the networks run inside the context: fields, losses and log-densities stay
    float32.
    """
    kwargs: dict[str, Any] = {"dtype": torch.bfloat16, **(amp_kwargs or {})}
    if isinstance(kwargs["dtype"], str):
        kwargs["dtype"] = getattr(torch, kwargs["dtype"])
    return torch.autocast(device.type, enabled=enabled, **kwargs)
