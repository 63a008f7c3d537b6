"""The contract itself; what each backbone makes of it is in test_every_backbone.py."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.networks import Backbone


def test_bare_contract_is_abstract() -> None:
    image = torch.zeros(1, 1, 4, 4, 4)
    with pytest.raises(NotImplementedError):
        Backbone().encode(image, image)
    with pytest.raises(NotImplementedError):
        Backbone().decode([], torch.zeros(1, 4, 2, 2, 2))
