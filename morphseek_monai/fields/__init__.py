"""Pure functions on displacement fields. The contract, stated once for the whole package:

    warped(x) = moving(x + u(x))    for every voxel x of the fixed grid

- `u` (called `ddf`) has shape `(B, 3, D, H, W)`, is measured in **voxels** and lives on the **fixed** grid.
- Channel `c` of `u` moves along spatial axis `c`; axes are in the array order of NiBabel, none is reversed.
- Voxel `x` is the centre of a voxel: sampling uses `align_corners=True`.
- A step `d` is added to an accumulated field `u` by `u'(x) = d(x) + u(x + d(x))` (`compose(u, d)`), so that
  the original moving image is always warped once, by the accumulated field.
- Fields stay float32 (or float64). Half precision is upcast: at voxel 200 a bfloat16 step is a whole voxel.
- A field that leaves the program is converted by `ddf_to_world` to LPS millimetres, the convention of ITK,
  ANTs and 3D Slicer; `morphseek_monai.spatial.displacement_file` writes it to disk together with its grid.

`warp`, `compose`, `resize_ddf`, `integrate_velocity` compile under TorchScript and export to ONNX (opset 20).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from morphseek_monai.base.lazy import lazy_names

if TYPE_CHECKING:
    from .algebra import Inverse, compose, integrate_velocity, invert, resize_ddf
    from .inversion import invert_by_voxel
    from .jacobian import displacement_magnitude, jacobian_determinant, njd_percent, sdlogj, sdlogj_l2r
    from .non_diffeomorphic import ndv_percent
    from .transfer import transfer_ddf
    from .warping import warp, warp_labels
    from .world import ddf_to_world, world_to_ddf
else:
    __getattr__, __dir__ = lazy_names(__name__, __file__)

__all__ = [
    "Inverse",
    "compose",
    "ddf_to_world",
    "displacement_magnitude",
    "integrate_velocity",
    "invert",
    "invert_by_voxel",
    "jacobian_determinant",
    "ndv_percent",
    "njd_percent",
    "resize_ddf",
    "sdlogj",
    "sdlogj_l2r",
    "transfer_ddf",
    "warp",
    "warp_labels",
    "world_to_ddf",
]
