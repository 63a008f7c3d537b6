"""MorphSeek as MONAI parts: latent-space policy optimisation for deformable registration of 3-D images.

Floors, each importing only from those below: ``apps``; ``engines``, ``handlers``; ``networks``, ``losses``,
``metrics``, ``rewards``; ``data``, ``transforms``; ``fields``.
"""

from morphseek_monai.version import __version__

__all__ = ["__version__"]
