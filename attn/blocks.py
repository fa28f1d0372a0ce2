# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""What several mechanisms share."""

from torch import Tensor, nn
from torch.nn import functional as F


class BatchNorm2d(nn.BatchNorm2d):
    """BatchNorm that can train on a single value a channel.

    PyTorch's own refuses to, because the variance of one value is zero: a batch of one, pooled to 1×1, cannot train.
    There this one normalises by its running statistics, as in evaluation, and leaves them as they are.

    Shapes: x, y: B C H W.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.numel() == x.shape[1]:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(x)
