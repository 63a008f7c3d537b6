"""``morphseek register`` in this process, and the pair that its tests register."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from scipy.ndimage import affine_transform

from morphseek_monai.apps.main import main
from morphseek_monai.data import write_phantom
from morphseek_monai.registration.models.bundles import find_bundle
from morphseek_monai.spatial.files.transform_file import read_transform
from morphseek_monai.spatial.transform import map_points

# the network of 48 voxels of 4 mm, from the headers, without pictures: a second or two
QUICK = ("--bundle", "morphseek_phantom", "--affine", "off", "--report", "False")


class Outcome(NamedTuple):
    """What the command left: its exit code and its words."""

    code: int
    out: str
    err: str  # without the estimate, which comes first
    estimate: str

    @property
    def error(self) -> str:
        """The one line of bad input."""
        assert self.code == 2 and self.out == "", self
        assert self.err.startswith("morphseek: ") and self.err.count("\n") == 1, self.err
        return self.err.removeprefix("morphseek: ").rstrip("\n")


def run(*arguments: object) -> Outcome:
    """``morphseek register ...``."""
    out, err, code = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(["register", *map(str, arguments)])
        except SystemExit as stop:
            code = int(stop.code or 0)
    lines = err.getvalue().splitlines(keepends=True)
    estimate = lines.pop(0).rstrip("\n") if lines and lines[0].startswith("estimated memory: ") else ""
    return Outcome(code, out.getvalue(), "".join(lines), estimate)


def write_pair(folder: Path) -> Path:
    """``fixed.nii.gz`` and ``moving.nii.gz``: int16, 48 voxels of 4 mm."""
    write_phantom(folder / "phantom", subjects=4)
    for name, number in (("fixed", "0003"), ("moving", "0004")):
        shutil.copy(folder / f"phantom/imagesTr/PhantomBrain_{number}_0000.nii.gz", folder / f"{name}.nii.gz")
    return folder


def copy_bundle(folder: Path, settings: Mapping[str, Any] | None = None) -> Path:
    """A copy of the phantom bundle with other settings in ``register.json``."""
    source = find_bundle("morphseek_phantom")
    shutil.copytree(source / "configs", folder / "configs")
    (folder / "models").mkdir()
    shutil.copy(source / "models/model.pt", folder / "models")
    path = folder / "configs/register.json"
    content = json.loads(path.read_text())
    content["register"].update(settings or {})
    path.write_text(json.dumps(content))
    return folder


class Pair:
    """A healthy pair of files, a folder for spoilt ones, and what is the result without any fault."""

    def __init__(self, folder: Path) -> None:
        self.folder = write_pair(folder)
        self.files = {role: folder / f"{role}.nii.gz" for role in ("fixed", "moving")}
        self.images: dict[str, Any] = {role: nib.load(path) for role, path in self.files.items()}
        self.arrays = {role: np.asarray(image.dataobj) for role, image in self.images.items()}
        self.affine = self.images["fixed"].affine
        brain = np.argwhere(self.arrays["fixed"] > 300)[::200]
        self.points = apply_affine(self.affine, brain)
        self.clean = folder / "clean"
        assert self.run(self.clean).code == 0

    def run(self, out: Path, *options: object, **spoilt: object) -> Outcome:
        """Register the two files, or others in their place; ``fixed=``, ``moving=``."""
        files = {**self.files, **spoilt}
        return run("--fixed", files["fixed"], "--moving", files["moving"], "--out", out, *QUICK, *options)

    def write(self, array: Any, affine: Any = None, path: Path | None = None) -> Path:
        """A file, of the pair's grid if nothing else is said."""
        path = path or self.folder / "spoilt.nii.gz"
        nib.save(nib.Nifti1Image(array, self.affine if affine is None else affine), path)
        return path

    def patch(self, offset: int, packed: bytes, role: str = "fixed") -> Path:
        """A copy with other bytes in its NIfTI-1 header, past every library."""
        data = bytearray(gzip.decompress(self.files[role].read_bytes()))
        data[offset : offset + len(packed)] = packed
        path = self.folder / "patched.nii.gz"
        path.write_bytes(gzip.compress(bytes(data)))
        return path

    def displacements(self, out: Path, points: Any = None) -> Any:
        """mm, of points in the fixed brain."""
        points = self.points if points is None else points
        return map_points(read_transform(out / "transform.h5"), points) - points

    def differs(self, out: Path) -> Any:
        """mm between the displacements and those of the healthy pair."""
        return np.linalg.norm(self.displacements(out) - self.displacements(self.clean), axis=1)

    def recut(self, role: str, size: tuple[int, int, int], affine: Any, path: Path) -> Path:
        """The same subject at the same place on another grid."""
        into = np.linalg.inv(self.affine) @ affine
        values = affine_transform(self.arrays[role].astype(np.float32), into[:3, :3], into[:3, 3], size, order=3)
        return self.write(values, affine, path)

    def moved(self, out: Path) -> Any:
        """mm, median: how far a pair of one subject was taken apart, which should stay where it is."""
        return np.median(np.linalg.norm(self.displacements(out), axis=1))

    def is_the_clean_result(self, out: Path) -> bool:
        """Bit for bit."""
        images: list[Any] = [nib.load(folder / "warped.nii.gz") for folder in (out, self.clean)]
        same = np.array_equal(images[0].affine, images[1].affine)
        return same and np.array_equal(*(np.asarray(image.dataobj) for image in images))
