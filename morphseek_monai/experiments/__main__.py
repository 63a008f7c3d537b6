"""``python -m morphseek_monai.experiments``."""

from __future__ import annotations

import signal
import sys

from .main import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the driver ends the runs it has started
    main()
