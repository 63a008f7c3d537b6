"""Non-diffeomorphic volume of fields whose folds are known."""

from __future__ import annotations

import pytest
import torch

from morphseek_monai.fields import ndv_percent, njd_percent
from morphseek_monai.fields import non_diffeomorphic as module

SIZE = (8, 6, 10)


def linear(matrix: torch.Tensor) -> torch.Tensor:
    """Field ``(1, 3, *SIZE)`` of ``x -> matrix x``."""
    axes = torch.meshgrid(*(torch.arange(float(n), dtype=matrix.dtype) for n in SIZE), indexing="ij")
    places = torch.stack(axes)
    return (torch.einsum("ij,j...->i...", matrix, places) - places)[None]


@pytest.mark.parametrize("seed", range(3))
def test_a_linear_map_folds_all_or_nothing(seed: int) -> None:
    """The ten tetrahedra of a voxel fill it twice: half their volume is the determinant's."""
    torch.manual_seed(seed)
    matrix = torch.eye(3, dtype=torch.float64) + 0.4 * torch.randn(3, 3, dtype=torch.float64)
    matrix *= torch.det(matrix).sign()
    assert float(ndv_percent(linear(matrix))) == 0
    assert float(ndv_percent(linear(-matrix))) == pytest.approx(100 * float(torch.det(matrix)), rel=1e-12)


@pytest.mark.parametrize("axis", range(3))
def test_a_fold_between_two_voxels_is_seen_which_central_differences_miss(axis: int) -> None:
    """Every second plane steps 1.4 ahead: central differences are 1, and the gaps are 2.4 and -0.4 wide in turn."""
    field = torch.zeros(1, 3, *SIZE, dtype=torch.float64)
    field[0, axis] = 1.4 * (torch.arange(SIZE[axis]) % 2).view([-1 if a == axis else 1 for a in range(3)])
    assert float(njd_percent(field)) == 0
    assert float(ndv_percent(field)) == pytest.approx(100 * 0.4 / 2)


def test_one_voxel_that_overtakes_its_neighbour_by_half() -> None:
    """The four corners on that side are -0.5 / 6 each; the two centres keep their hands."""
    field = torch.zeros(1, 3, 3, 3, 3)
    field[0, 0, 1, 1, 1] = 1.5
    assert float(ndv_percent(field)) == pytest.approx(100 * 0.5 * 4 * 0.5 / 6)


def test_the_mask_says_what_counts_and_the_border_never_does() -> None:
    field = linear(-torch.eye(3, dtype=torch.float64))
    field[:, :, :4] = 0
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., :3, :, :] = 1
    assert float(ndv_percent(field, mask)) == 0
    assert torch.equal(ndv_percent(field.expand(2, -1, -1, -1, -1), mask), torch.zeros(2, dtype=torch.float64))
    border = torch.ones_like(mask)
    border[..., 1:-1, 1:-1, 1:-1] = 0
    assert ndv_percent(field, border).isnan()
    assert float(ndv_percent(field)) == float(ndv_percent(field, torch.ones_like(mask))) > 0


def test_nan_tells_itself_where_it_counts() -> None:
    field = torch.zeros(1, 3, *SIZE)
    field[0, 1, 0, 0, 0] = torch.nan  # a neighbour of no inner voxel along a tetrahedron's edge
    assert float(ndv_percent(field)) == 0
    field[0, 1, 3, 3, 3] = torch.nan
    assert ndv_percent(field).isnan()


def test_slabs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    field = torch.randn(1, 3, *SIZE, dtype=torch.float64)
    whole = float(ndv_percent(field))
    monkeypatch.setattr(module, "SLAB_VOXELS", 100)  # two planes each
    assert float(ndv_percent(field)) == pytest.approx(whole, rel=1e-14) and whole > 10


@pytest.mark.parametrize(
    ("shape", "mask", "message"),
    [
        ((1, 3, 2, 4, 4), None, r"must have at least 3 voxels per axis"),
        ((1, 3, 4, 4, 4), (1, 1, 4, 4, 5), r"'mask' must be \(B, 1, D, H, W\) like 'ddf'"),
        ((2, 3, 4, 4, 4), (3, 1, 4, 4, 4), r"'mask' must be \(B, 1, D, H, W\) like 'ddf'"),
    ],
)
def test_shapes_that_do_not_fit(shape: tuple[int, ...], mask: tuple[int, ...] | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ndv_percent(torch.zeros(shape), None if mask is None else torch.ones(mask))
