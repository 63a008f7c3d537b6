"""Package metadata of morphseek_monai; tools are configured in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = next(
    line.split('"')[1]
    for line in (ROOT / "morphseek_monai" / "base" / "version.py").read_text().splitlines()
    if line.startswith("__version__")
)
TEST = [
    "pytest>=8",
    "pytest-xdist>=3.7",
    "SimpleITK>=2.3",
    "onnx>=1.16",
    "onnxruntime>=1.20",
    "onnxscript>=0.3",
    "jsonschema>=3.2",
    "hypothesis>=6.100",
    "pydicom>=3",
    "highdicom>=0.25",  # an oracle for multi-frame DICOM
    "einops>=0.7",  # MONAI's Swin layers, an oracle
    "mlflow-skinny>=3",  # with what its SQLite store needs
    "sqlalchemy>=2",
    "alembic>=1.13",
    "nbformat>=5.7",
    "ipython>=8",
]
# ruff formats the signatures; mkdocs-jupyter shows the notebooks
DOCS = ["mkdocs-material>=9.7", "mkdocstrings[python]>=1.0.8", "mkdocs-jupyter>=0.26.3", "ruff>=0.9"]
# Formats of FSL, FreeSurfer and X5; the others need nothing.
TRANSFORMS = ["fslpy>=3.20", "surfa>=0.6", "nitransforms>=25"]
# What a bundle needs to register: an installed package finds it where a clone has bundles/.
BUNDLE_FILES = ("LICENSE", "configs/*.*", "docs/*.*", "models/model.*")
INSTALLED: dict[str, list[str]] = {}
for pattern in BUNDLE_FILES:
    for path in sorted(ROOT.glob(f"bundles/morphseek_*/{pattern}")):
        relative = path.relative_to(ROOT)
        INSTALLED.setdefault(f"share/morphseek_monai/{relative.parent}", []).append(str(relative))

setup(
    name="morphseek_monai",
    version=VERSION,
    description="MorphSeek as MONAI bundles: latent-space policy optimisation for deformable registration",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The MorphSeek MONAI developers",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["morphseek_monai", "morphseek_monai.*"]),
    package_data={
        "morphseek_monai": ["py.typed", *(f"registration/report/*.{kind}" for kind in ("html", "css", "js"))],
    },
    data_files=list(INSTALLED.items()),
    install_requires=[
        "monai>=1.6",
        "torch>=2.6",
        "numpy>=1.26",
        "nibabel>=5.2",
        "pytorch-ignite>=0.5",
        "fire>=0.6",
        "itk>=5.4",
        "h5py>=3.10",
        "scipy>=1.11",
        "matplotlib>=3.8",
        "pillow>=10.1",
        "contourpy>=1.2",
        "jinja2>=3.1",
        "tensorboard>=2.16",
        "tqdm>=4.66",
    ],
    extras_require={
        "dicom": ["pydicom>=3"],
        "transforms": TRANSFORMS,
        "test": TEST,
        "docs": DOCS,
        "dev": [*TEST, "ruff>=0.9", "mypy>=1.13", "pre-commit>=4"],
    },
    entry_points={"console_scripts": ["morphseek = morphseek_monai.apps.main:main"]},
    classifiers=[
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: Apache Software License",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Medical Science Apps.",
        "Typing :: Typed",
    ],
)
