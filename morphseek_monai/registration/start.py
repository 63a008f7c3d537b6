"""Where the network starts: from the alignment, or from the headers where they are as good."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from morphseek_monai.registration.checks import moved, similarities
from morphseek_monai.registration.prepare.pair import NetworkPair

# Images that were aligned before, as a data set's often are by their labels, keep that: an affine that only raises the
# similarity a little costs Dice there (docs/benchmarks/affine.md).
WORTH = 0.02
CLEAR = 0.05  # an alignment that raises the similarity so much needs no second run of the network


Network = Callable[[Tensor], Tensor]


class Start(NamedTuple):
    """What :func:`choose_start` chose.

    Attributes:
        pair: its ``image`` and ``affine`` are those of the start.
        ddf: the network's field from there, ``(1, 3, D, H, W)``.
    """

    pair: NetworkPair
    ddf: Tensor


@torch.no_grad()
def choose_start(pair: NetworkPair, network: Network) -> Start:
    """Keep the headers, unless the alignment is clearly more similar, or the network comes out better from there.

    Args:
        pair: with the moving image aligned.
        network: tries both where it is not clear; ``(1, 2, D, H, W)`` -> ``(1, 3, D, H, W)``.
    """
    headers, aligned = similarities(pair, [pair.by_headers, pair.aligned])
    if aligned - headers > CLEAR:
        return Start(pair, network(pair.image))
    at_headers = pair.network_input(pair.by_headers)
    from_headers = network(at_headers)
    if aligned > headers:
        from_aligned = network(pair.image)
        after = similarities(pair, [moved(pair.by_headers, from_headers), moved(pair.aligned, from_aligned)])
        if after[1] - after[0] > WORTH:
            return Start(pair, from_aligned)
        start = f"auto, the headers: similarity {after[0]:.3f} after the network, {after[1]:.3f} from the alignment"
    else:
        start = f"auto, the headers: similarity {headers:.3f}, {aligned:.3f} after the alignment"
    return Start(pair._replace(image=at_headers, view=pair.by_headers, affine=np.eye(4), start=start), from_headers)
