"""``python -m morphseek_monai`` is ``morphseek``."""

from __future__ import annotations

from .apps.main import main

if __name__ == "__main__":
    main()
