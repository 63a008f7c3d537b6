"""Affine files are written by the programs that users have, SimpleITK before all, and by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from morphseek_monai.base.errors import DataError
from morphseek_monai.spatial.files.affine_file import read_affine

sitk = pytest.importorskip("SimpleITK")

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def general(seed: int = 0) -> NDArray[np.float64]:
    """A RAS matrix with rotation, scale, shear and shift, different in every number."""
    rng = np.random.default_rng(seed)
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", [10, -20, 35], degrees=True).as_matrix() @ np.diag([1.1, 0.9, 1.3])
    matrix[:3, :3] += rng.normal(0, 0.02, (3, 3))
    matrix[:3, 3] = [15.0, -7.5, 42.25]
    return matrix


def sitk_affine(matrix: NDArray[np.float64]):  # type: ignore[no-untyped-def]
    lps = FLIP @ matrix @ FLIP
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(lps[:3, :3].ravel().tolist())
    transform.SetTranslation(lps[:3, 3].tolist())
    return transform


def maps_as(path: Path, transform) -> None:  # type: ignore[no-untyped-def]
    """The matrix read from ``path`` sends points where SimpleITK sends them."""
    matrix = read_affine(path)
    assert matrix.shape == (4, 4) and matrix.dtype == np.float64
    for point in np.random.default_rng(1).uniform(-100, 100, (5, 3)):
        lps = np.array(transform.TransformPoint((point * [-1, -1, 1]).tolist()))
        np.testing.assert_allclose(matrix[:3, :3] @ point + matrix[:3, 3], lps * [-1, -1, 1], atol=1e-9)


@pytest.mark.parametrize("suffix", [".tfm", ".txt", ".mat", ".h5", ".hdf5"])
def test_affine_of_simpleitk(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteTransform(sitk_affine(general()), str(path))
    np.testing.assert_allclose(read_affine(path), general(), atol=1e-12)


@pytest.mark.parametrize("suffix", [".tfm", ".h5", ".mat"])
def test_centre_of_rotation_counts(suffix: str, tmp_path: Path) -> None:
    transform = sitk.Euler3DTransform((10.0, 20.0, -30.0), 0.3, -0.2, 0.1, (5.0, 6.0, 7.0))
    sitk.WriteTransform(transform, str(tmp_path / f"a{suffix}"))
    maps_as(tmp_path / f"a{suffix}", transform)


@pytest.mark.parametrize(
    "transform",
    [
        sitk.TranslationTransform(3, (1.0, 2.0, 3.0)),
        sitk.VersorRigid3DTransform((0.1, 0.2, 0.3, 0.9), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),
        sitk.Similarity3DTransform(1.2, (0.1, 0.2, 0.3, 0.9), (4.0, 5.0, 6.0), (7.0, 8.0, 9.0)),
        sitk.ScaleTransform(3, (1.1, 1.2, 1.3)),
    ],
    ids=lambda transform: transform.GetName(),
)
def test_every_linear_kind(transform, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    sitk.WriteTransform(transform, str(tmp_path / "a.tfm"))
    maps_as(tmp_path / "a.tfm", transform)


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_composite_of_linear_ones_in_the_order_of_itk(suffix: str, tmp_path: Path) -> None:
    rigid = sitk.Euler3DTransform((10.0, 20.0, -30.0), 0.3, -0.2, 0.1, (5.0, 6.0, 7.0))
    inner = sitk.CompositeTransform([sitk.ScaleTransform(3, (1.1, 1.2, 1.3)), rigid])
    composite = sitk.CompositeTransform([sitk_affine(general()), inner])
    composite.FlattenTransform()
    sitk.WriteTransform(composite, str(tmp_path / f"a{suffix}"))
    maps_as(tmp_path / f"a{suffix}", composite)


@pytest.mark.parametrize("kind", ["float", "double"])
def test_generic_affine_of_ants(kind: str, tmp_path: Path) -> None:
    """A MATLAB 4 file of two vectors, with the centre of rotation apart, as ``antsRegistration`` writes it."""
    from scipy.io import savemat

    rng = np.random.default_rng(3)
    parameters = np.concatenate([np.eye(3).ravel() + rng.normal(0, 0.1, 9), [4, 5, 6]])
    centre = np.array([1.0, -20, 30])
    dtype = np.float32 if kind == "float" else np.float64
    vectors = {f"AffineTransform_{kind}_3_3": parameters, "fixed": centre}
    path = tmp_path / "out_0GenericAffine.mat"
    savemat(path, {name: vector.astype(dtype)[:, None] for name, vector in vectors.items()}, format="4")
    linear, shift = parameters[:9].reshape(3, 3), parameters[9:]
    lps = np.eye(4)
    lps[:3, :3], lps[:3, 3] = linear, shift + centre - linear @ centre
    np.testing.assert_allclose(read_affine(path), FLIP @ lps @ FLIP, atol=1e-5 if kind == "float" else 1e-12)


@pytest.mark.parametrize("separator", [" ", "\t", ",", ", ", ";"])
def test_plain_text_is_ras_as_it_stands(separator: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    rows = [separator.join(repr(float(number)) for number in row) for row in general()]
    path.write_text("# fixed -> moving, RAS mm\n" + "\r\n".join(rows) + "  # end\n\n", encoding="utf-8-sig")
    if separator == ";":
        with pytest.raises(DataError):
            read_affine(path)
    else:
        np.testing.assert_array_equal(read_affine(path), general())


@pytest.mark.parametrize("name", ["a.csv", "a", "a.greedy"])
def test_plain_text_of_any_name(name: str, tmp_path: Path) -> None:
    np.savetxt(tmp_path / name, general(), fmt="%.17g")
    np.testing.assert_array_equal(read_affine(tmp_path / name), general())


class TestErrors:
    def write(self, tmp_path: Path, matrix: NDArray[np.float64]) -> Path:
        np.savetxt(tmp_path / "a.txt", matrix, fmt="%.17g")
        return tmp_path / "a.txt"

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"a\.h5 does not exist"):
            read_affine(tmp_path / "a.h5")

    @pytest.mark.parametrize("first", [True, False])
    def test_displacement_field(self, first: bool, tmp_path: Path) -> None:
        field = sitk.DisplacementFieldTransform(sitk.Image([4, 4, 4], sitk.sitkVectorFloat64))
        parts = [field, sitk_affine(general())]
        sitk.WriteTransform(sitk.CompositeTransform(parts if first else parts[::-1]), str(tmp_path / "a.h5"))
        with pytest.raises(DataError, match="a.h5 must be linear, got a DisplacementFieldTransform in it; give"):
            read_affine(tmp_path / "a.h5")

    def test_spline(self, tmp_path: Path) -> None:
        sitk.WriteTransform(sitk.BSplineTransform(3), str(tmp_path / "a.tfm"))
        with pytest.raises(DataError, match=r"must be linear, got a BSpline\w* in it"):
            read_affine(tmp_path / "a.tfm")

    def test_two_dimensions(self, tmp_path: Path) -> None:
        sitk.WriteTransform(sitk.Euler2DTransform(), str(tmp_path / "a.tfm"))
        with pytest.raises(DataError, match="must be .*Euler2DTransform"):
            read_affine(tmp_path / "a.tfm")

    @pytest.mark.parametrize("name", ["a.h5", "a.tfm", "a.mat", "a.txt", "a.lta"])
    @pytest.mark.parametrize("content", [b"no transform at all\n", b"\0\1\2\3\xff" * 100])
    def test_garbage(self, name: str, content: bytes, tmp_path: Path) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=r"a\.\w+ (cannot be read|must hold)[^\n]*$"):
            read_affine(tmp_path / name)

    @pytest.mark.parametrize("rows", ["1 0 0 5\n0 1 0 0\n0 0 1 0\n", "1 0 0\n0 1 0\n0 0 1", "\n# nothing\n", "1 " * 16])
    def test_other_rows(self, rows: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text(rows)
        with pytest.raises(DataError, match="must hold four rows of four numbers, got .*; write the matrix in full"):
            read_affine(tmp_path / "a.txt")

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_not_finite(self, value: float, tmp_path: Path) -> None:
        matrix = general()
        matrix[1, 3] = value
        with pytest.raises(DataError, match="must hold finite numbers"):
            read_affine(self.write(tmp_path, matrix))

    def test_transposed(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must have the last row 0 0 0 1, got .*; transpose it"):
            read_affine(self.write(tmp_path, general().T))

    def test_projective(self, tmp_path: Path) -> None:
        matrix = general()
        matrix[3, 0] = 0.01
        with pytest.raises(DataError, match="must have the last row 0 0 0 1, got .*; write an affine matrix"):
            read_affine(self.write(tmp_path, matrix))

    @pytest.mark.parametrize("scale", [0.0, 1e-9])
    def test_flat(self, scale: float, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="must have an inverse"):
            read_affine(self.write(tmp_path, general() @ np.diag([1, scale, 1, 1])))

    def test_mirror(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"must not mirror, got the determinant -1\.\d+; correct the sign"):
            read_affine(self.write(tmp_path, general() @ np.diag([-1, 1, 1, 1])))
