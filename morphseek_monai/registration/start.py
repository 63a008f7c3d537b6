"""Where the network starts: from the alignment, or from the headers where they are as good."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from morphseek_monai.fields import warp
from morphseek_monai.registration.model import RegistrationModel
from morphseek_monai.registration.pairing import NetworkPair
from morphseek_monai.registration.similarity import foreground, local_correlation

# Images that were aligned before, as a data set's often are by their labels, keep that: an affine that only raises the
# similarity a little costs Dice there (docs/benchmarks/affine.md).
WORTH = 0.02


def choose_start(pair: NetworkPair, model: RegistrationModel) -> tuple[NetworkPair, Tensor]:
    """Keep the headers, unless the network comes out better by 0.02 in similarity when it starts from the alignment.

    Args:
        pair: with the moving image aligned.
        model: whose network tries both.

    Returns:
        the pair, with the moving image as the headers place it where that is enough, and the network's field for it.
    """
    fixed = pair.image[:, 1:]
    fields, after = [], []
    for moving in (pair.by_headers, pair.aligned):
        with torch.no_grad():
            fields.append(model.network(torch.cat([moving, fixed], dim=1)))
        after.append(float(local_correlation(fixed, warp(moving, fields[-1]), foreground(fixed))))
    if after[1] - after[0] > WORTH:
        return pair, fields[1]
    start = f"auto, the headers: similarity {after[0]:.3f} after the network, {after[1]:.3f} from the alignment"
    image = torch.cat([pair.by_headers, fixed], dim=1)
    return pair._replace(image=image, affine=np.eye(4), start=start), fields[0]
