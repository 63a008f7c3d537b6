"""Let every Python process of a test run believe that this processor has, or lacks, fast bfloat16.

``pytest --amp on|off`` (tests/conftest.py) puts this folder on PYTHONPATH, so that programs that tests start obey too.
"""

import os

if os.environ.get("FORCED_AMP"):
    import torch

    torch.cpu._is_avx512_bf16_supported = lambda: os.environ["FORCED_AMP"] == "on"
