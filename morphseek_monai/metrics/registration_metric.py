"""What the registration metrics have in common: they judge a displacement field and a pair of label maps."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from monai.metrics.metric import CumulativeIterationMetric
from torch import Tensor


class RegistrationMetric(CumulativeIterationMetric):
    """Metric of predicted displacement fields, for use with ``monai.handlers.IgniteMetricHandler``.

    ``y_pred`` is the displacement field, ``(B, 3, D, H, W)`` in voxels on the fixed grid, and ``y`` the pair
    of label maps, ``(B, 2, D, H, W)`` integers (channel 0 moving, 1 fixed); lists of decollated
    ``(3, D, H, W)`` and ``(2, D, H, W)`` items do as well. Metrics that need no labels ignore ``y``.

    The buffer holds one row per pair, ``(pairs, values)``. The handler stores it in
    ``engine.state.metric_details``, from where ``MetricsSaver(metric_details="*")`` writes one line per pair.

    Example:
        >>> from monai.handlers import IgniteMetricHandler, from_engine
        >>> from morphseek_monai.metrics import RegistrationDice
        >>> handler = IgniteMetricHandler(
        ...     metric_fn=RegistrationDice(num_labels=36), output_transform=from_engine(["pred", "label"])
        ... )
    """

    @abstractmethod
    def measure(self, ddf: Tensor, label: Tensor | None) -> Tensor:
        """Measure a batch.

        Args:
            ddf: displacement fields ``(B, 3, D, H, W)`` in voxels.
            label: pairs of label maps ``(B, 2, D, H, W)``, channel 0 moving, or None.

        Returns:
            One row of values per pair, ``(B, values)``; NaN where a value is undefined.
        """

    def _compute_tensor(self, y_pred: Tensor, y: Tensor | None = None, **kwargs: Any) -> Tensor:
        name = type(self).__name__
        if y_pred.ndim != 5 or y_pred.shape[1] != 3:
            raise ValueError(f"{name}() 'y_pred' must be a field (B, 3, D, H, W), got {tuple(y_pred.shape)}")
        # Plain tensors: MetaTensor bookkeeping would cost time in every operation and be thrown away.
        return self.measure(y_pred.as_subclass(Tensor), None if y is None else y.as_subclass(Tensor))

    def aggregate(self) -> Tensor:
        """Mean over the pairs of each pair's mean, as Learn2Reg aggregates.

        NaN values (absent labels) do not count within a pair, and a pair without any value does not count
        among the pairs.

        Returns:
            Scalar; NaN when no pair has a value.

        Raises:
            ValueError: When no pair has been seen since the last ``reset()``.
        """
        values: Tensor | None = self.get_buffer()  # type: ignore[no-untyped-call]
        if values is None:
            raise ValueError(f"{type(self).__name__}.aggregate() needs at least one pair, got none")
        return torch.nanmean(values.nanmean(dim=1))


def split_pair(label: Tensor | None, name: str) -> tuple[Tensor, Tensor]:
    """Moving and fixed label map, ``(B, 1, D, H, W)`` each, of a pair ``(B, 2, D, H, W)``.

    Raises:
        ValueError: When ``label`` is missing or has another shape.
    """
    if label is None or label.ndim != 5 or label.shape[1] != 2:
        got = None if label is None else tuple(label.shape)
        raise ValueError(f"{name}() 'y' must be a pair of label maps (B, 2, D, H, W), got {got}")
    return label[:, :1], label[:, 1:]
