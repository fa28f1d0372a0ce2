# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: AGPL-3.0-only
"""What several tests of attn.yolo start from."""

from torch import nn


def as_trained(module: nn.Module) -> nn.Module:
    """Gives every BatchNorm numbers as training would leave them, drawn from torch's generator; returns the module."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.1)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
    return module
