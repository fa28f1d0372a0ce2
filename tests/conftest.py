# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""One thread a test process, and ATTN_WITHOUT="ultralytics ..." to run the suite as if those were not installed."""

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
for missing in os.environ.get("ATTN_WITHOUT", "").split():
    sys.modules[missing] = None  # importing it raises ModuleNotFoundError

import torch  # noqa: E402

torch.set_num_threads(1)
