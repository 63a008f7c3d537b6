"""Canonical anatomies of the phantoms: which structure is where, as functions of position, without voxels.

Positions are RAS in half fields of view: each axis runs from -1 to 1, +x is the patient's right, +y front, +z
up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Anatomy", "Structure", "brain", "paint", "torso"]

Array = NDArray[np.float64]
Inside = Callable[[Array], NDArray[np.bool_]]


class Structure(NamedTuple):
    """One tissue class.

    Attributes:
        name: as in the dataset's table of labels.
        label: its id; 0 where it is drawn but not labelled.
        signal: mean intensity per modality number.
        inside: positions ``(3, ...)`` -> bool ``(...)``.
    """

    name: str
    label: int
    signal: dict[str, float]
    inside: Inside


class Anatomy(NamedTuple):
    """A task.

    Attributes:
        task: prefix of the file names.
        field_of_view: edge of the image cube, mm.
        modality: name of each modality number.
        air: intensity of the surroundings per modality number.
        noise: standard deviation per modality number.
        jitter: spread of each structure's mean between subjects, per modality number.
        motion: root mean square velocity of the deformation of a subject, and of one scan of a subject where
            there are several modalities; in half fields of view.
        bias: amplitude of the multiplicative bias field per modality number.
        scale: factor to the stored int16 values, per modality number.
        structures: in drawing order, a later one covers an earlier one.
    """

    task: str
    field_of_view: float
    modality: dict[str, str]
    air: dict[str, float]
    noise: dict[str, float]
    jitter: dict[str, float]
    motion: tuple[float, float]
    bias: dict[str, float]
    scale: dict[str, float]
    structures: tuple[Structure, ...]

    def label_names(self) -> dict[int, str]:
        """Names of the label ids, background included."""
        return {0: "background"} | {s.label: s.name for s in self.structures if s.label}


def paint(anatomy: Anatomy, position: Array) -> NDArray[np.uint8]:
    """Find the structure at each position.

    Args:
        anatomy: the task.
        position: ``(3, ...)``.

    Returns:
        ``(...)``, 0 for air, ``1 + index`` into ``anatomy.structures`` elsewhere.
    """
    drawn = np.zeros(position.shape[1:], dtype=np.uint8)
    for index, structure in enumerate(anatomy.structures, start=1):
        drawn[structure.inside(position)] = index
    return drawn


def _radius(position: Array, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
    """Distance from ``centre`` in units of ``radii``: 1 on the ellipsoid; an infinite one is a cylinder."""
    x, y, z = (((position[axis] - centre[axis]) / radii[axis]) ** 2 for axis in range(3))
    radius: Array = np.sqrt(x + y + z)
    return radius


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Inside:
    return lambda position: _radius(position, centre, radii) < 1


def _paired(
    name: str,
    labels: tuple[int, int],
    signal: dict[str, float],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> tuple[Structure, Structure]:
    x, y, z = centre
    return (
        Structure(f"Left-{name}", labels[0], signal, _ellipsoid((-x, y, z), radii)),
        Structure(f"Right-{name}", labels[1], signal, _ellipsoid((x, y, z), radii)),
    )


def _folds(position: Array) -> Array:
    x, y, z = 11.0 * position
    folds: Array = np.sin(x) * np.sin(y + 1) + np.sin(y) * np.sin(z + 0.5) + np.sin(z) * np.sin(x + 2)
    return folds


def brain() -> Anatomy:
    """T1-like head without skull: folded cortical ribbon, white matter, paired deep structures, hindbrain."""
    centre, radii = (0.0, 0.0, 0.08), (0.70, 0.84, 0.66)

    def cerebrum(size: float, depth: float) -> Inside:
        return lambda position: _radius(position, centre, radii) < size + depth * _folds(position)

    def t1(value: float) -> dict[str, float]:
        return {"0000": value}

    structures = (
        Structure("cerebrospinal fluid", 0, t1(0.22), cerebrum(1.06, 0.0)),
        Structure("Cerebral-Cortex", 1, t1(0.55), cerebrum(0.98, 0.03)),
        Structure("Cerebral-White-Matter", 2, t1(0.88), cerebrum(0.74, 0.08)),
        Structure("Cerebellum", 3, t1(0.62), _ellipsoid((0.0, -0.46, -0.52), (0.46, 0.32, 0.26))),
        Structure("Brain-Stem", 4, t1(0.76), _ellipsoid((0.0, -0.14, -0.56), (0.15, 0.15, 0.38))),
        *_paired("Lateral-Ventricle", (5, 6), t1(0.18), (0.14, 0.06, 0.26), (0.10, 0.38, 0.13)),
        *_paired("Thalamus", (7, 8), t1(0.70), (0.17, -0.12, 0.02), (0.13, 0.20, 0.14)),
        *_paired("Putamen", (9, 10), t1(0.62), (0.38, 0.12, 0.04), (0.11, 0.27, 0.17)),
        *_paired("Hippocampus", (11, 12), t1(0.50), (0.37, -0.16, -0.27), (0.11, 0.29, 0.11)),
    )
    return Anatomy(
        task="PhantomBrain",
        field_of_view=192.0,
        modality={"0000": "MR"},
        air={"0000": 0.0},
        noise={"0000": 0.03},
        jitter={"0000": 0.03},
        motion=(0.033, 0.0),
        bias={"0000": 0.10},
        scale={"0000": 1000.0},
        structures=structures,
    )


def torso() -> Anatomy:
    """An abdomen seen by MR (0000) and by CT (0001, Hounsfield units).

    Ids 1 to 4 are those of Learn2Reg's Abdomen MR<-CT: liver, spleen, right and left kidney. Spine (5) and aorta (6)
    come on top; ``SelectLabelsd("label", [1, 2, 3, 4])`` turns either data set into the task of four organs.
    """
    endless = float("inf")

    def spine(position: Array) -> NDArray[np.bool_]:
        vertebrae = 1 + 0.12 * np.sin(14 * position[2])
        within: NDArray[np.bool_] = _radius(position, (0.0, -0.36, 0.0), (0.14, 0.13, endless)) < vertebrae
        return within

    def seen(mr: float, ct: float) -> dict[str, float]:
        return {"0000": mr, "0001": ct}

    structures = (
        Structure("fat", 0, seen(0.90, -100.0), _ellipsoid((0.0, 0.0, 0.0), (0.88, 0.66, endless))),
        Structure("soft tissue", 0, seen(0.35, 45.0), _ellipsoid((0.0, 0.0, 0.0), (0.80, 0.58, endless))),
        *_paired("lung", (0, 0), seen(0.05, -800.0), (0.40, 0.0, 1.0), (0.30, 0.42, 0.42)),
        Structure("stomach", 0, seen(0.20, 10.0), _ellipsoid((-0.28, 0.24, 0.16), (0.20, 0.20, 0.22))),
        Structure("liver", 1, seen(0.52, 115.0), _ellipsoid((0.36, 0.06, 0.24), (0.38, 0.40, 0.38))),
        Structure("spleen", 2, seen(0.72, 140.0), _ellipsoid((-0.54, -0.14, 0.22), (0.17, 0.26, 0.27))),
        Structure("right kidney", 3, seen(0.62, 200.0), _ellipsoid((0.38, -0.26, -0.32), (0.14, 0.13, 0.25))),
        Structure("left kidney", 4, seen(0.62, 200.0), _ellipsoid((-0.38, -0.26, -0.28), (0.14, 0.13, 0.25))),
        Structure("spine", 5, seen(0.46, 400.0), spine),
        Structure("aorta", 6, seen(0.10, 170.0), _ellipsoid((-0.08, -0.12, 0.0), (0.09, 0.09, endless))),
    )
    return Anatomy(
        task="PhantomTorso",
        field_of_view=384.0,
        modality={"0000": "MR", "0001": "CT"},
        air={"0000": 0.0, "0001": -1000.0},
        noise={"0000": 0.03, "0001": 18.0},
        jitter={"0000": 0.03, "0001": 8.0},
        motion=(0.055, 0.045),
        bias={"0000": 0.15, "0001": 0.0},
        scale={"0000": 1000.0, "0001": 1.0},
        structures=structures,
    )
