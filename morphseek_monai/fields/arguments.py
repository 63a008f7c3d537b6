"""Argument checks of the functions on displacement fields (compiled by TorchScript: plain typing only)."""

import torch


def at_least_float32(tensor: torch.Tensor) -> torch.Tensor:
    """Upcast half precision to float32; float32 and float64 pass unchanged."""
    if tensor.dtype == torch.float16 or tensor.dtype == torch.bfloat16:
        return tensor.float()
    return tensor


def check_vectors(ddf: torch.Tensor, function: str, argument: str) -> torch.Tensor:
    """Check vectors on a grid that may have a single slice and return them in at least float32.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`.
        function: name of the calling function, for the error message.
        argument: name of its argument, for the error message.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when the shape is not `(B, 3, D, H, W)`.
    """
    if not ddf.is_floating_point():
        raise TypeError(
            f"{function}() '{argument}' must be floating point, got {ddf.dtype}; call .float() on it"
        )
    if ddf.dim() != 5:
        raise ValueError(f"{function}() '{argument}' must have shape (B, 3, D, H, W), got {list(ddf.shape)}")
    if ddf.shape[1] != 3:
        raise ValueError(f"{function}() '{argument}' must have shape (B, 3, D, H, W), got {list(ddf.shape)}")
    return at_least_float32(ddf)


def check_ddf(ddf: torch.Tensor, function: str, argument: str) -> torch.Tensor:
    """Check one displacement field and return it in at least float32.

    Args:
        ddf: displacement field `(B, 3, D, H, W)`.
        function: name of the calling function, for the error message.
        argument: name of its argument, for the error message.

    Raises:
        TypeError: when `ddf` is not floating point.
        ValueError: when the shape is not `(B, 3, D, H, W)`, or a spatial axis has fewer than two voxels (its
            normalised coordinates and its gradient would divide by zero).
    """
    ddf = check_vectors(ddf, function, argument)
    if ddf.shape[2] < 2 or ddf.shape[3] < 2 or ddf.shape[4] < 2:
        raise ValueError(
            f"{function}() '{argument}' must have at least 2 voxels per axis, got {list(ddf.shape)}; "
            "repeat the single slice"
        )
    return ddf


def check_mask(mask: torch.Tensor, ddf: torch.Tensor, function: str) -> None:
    """Check an evaluation mask of a displacement field.

    Args:
        mask: `(B, 1, D, H, W)` for the field's `(B, 3, D, H, W)`; batch 1 is shared.
        ddf: displacement field, as :func:`check_ddf` lets it pass.
        function: name of the calling function, for the error message.

    Raises:
        ValueError: when the shapes do not fit.
    """
    if list(mask.shape[1:]) != [1] + list(ddf.shape[2:]) or (mask.shape[0] != 1 and mask.shape[0] != ddf.shape[0]):
        raise ValueError(f"{function}() 'mask' must be (B, 1, D, H, W) like 'ddf', got {list(mask.shape)}")


def check_same_grid(
    tensor: torch.Tensor, ddf: torch.Tensor, function: str, argument: str, reference: str
) -> None:
    """Check that `tensor` lies on the grid of `ddf` and that the two batch sizes broadcast.

    Args:
        tensor: what is sampled, `(B, C, D, H, W)`.
        ddf: the field it is sampled by, `(B, 3, D, H, W)`.
        function: name of the calling function, for the error message.
        argument: name of the argument `tensor`.
        reference: name of the argument `ddf`.

    Raises:
        ValueError: when `tensor` is not 5-D, lies on another grid, or has a batch size that is neither that
            of `ddf` nor 1.
    """
    if tensor.dim() != 5:
        raise ValueError(
            f"{function}() '{argument}' must have shape (B, C, D, H, W), got {list(tensor.shape)}"
        )
    if tensor.shape[2] != ddf.shape[2] or tensor.shape[3] != ddf.shape[3] or tensor.shape[4] != ddf.shape[4]:
        raise ValueError(
            f"{function}() '{argument}' must lie on the grid of '{reference}', got {list(tensor.shape)} and "
            f"{list(ddf.shape)}; resample one of them first"
        )
    if tensor.shape[0] != ddf.shape[0] and tensor.shape[0] != 1 and ddf.shape[0] != 1:
        raise ValueError(
            f"{function}() '{argument}' must have the batch size of '{reference}' or 1, "
            f"got {tensor.shape[0]} and {ddf.shape[0]}"
        )
