# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Dual attention: every position takes from all positions, and every channel from all channels, side by side.

Jun Fu, Jing Liu, Haijie Tian, Yong Li, Yongjun Bao, Zhiwei Fang, Hanqing Lu: Dual Attention Network for Scene
Segmentation, 2019, arXiv:1809.02983; the position attention module and the channel attention module.
Chapter: notebooks/pairwise/danet.ipynb
"""

import torch
from torch import Tensor, nn

from ..registry import Host, Map, register, unknown

BRANCHES = ("both", "position", "channel")


def _params(C: int, reduction: int = 8, branch: str = "both", flipped: bool = False) -> int:
    D = max(1, C // reduction)
    return {"position": 2 * (C * D + D) + C * C + C + 1, "channel": 1, "both": 2 * (C * D + D) + C * C + C + 2}[branch]


def _macs(C: int, H: int, W: int, reduction: int = 8, branch: str = "both", flipped: bool = False) -> int:
    D, N = max(1, C // reduction), H * W
    # The three layers; the scores, their scale and the weighted sum of every pair of positions; α.
    position = N * (2 * C * D + C * C) + N * N * (D + 1 + C) + C * N
    # The same for every pair of channels, without a layer; β.
    channel = C * C * (N + 1 + N) + C * N
    return {"position": position, "channel": channel, "both": position + channel}[branch]


def _scores(a: Tensor, b: Tensor) -> Tensor:
    """The products of all rows of a with all rows of b, B i n and B j n to B i j, at least in float32.

    They are taken of numbers of at most 1/√n, so that none overflows in float16.
    """
    wide = torch.promote_types(a.dtype, torch.float32)
    sizes = [t.detach().abs().amax((1, 2), keepdim=True).to(wide).clamp_min(1e-12) * t.shape[2] ** 0.5 for t in (a, b)]
    small = [(t / size).to(t.dtype) for t, size in zip((a, b), sizes, strict=True)]
    return (small[0] @ small[1].transpose(1, 2)).to(wide).mul_(torch.stack(sizes).prod(0))


def _rebuild(module: nn.Module, a: dict[str, Tensor], x: Tensor) -> Tensor:
    position = torch.einsum("bij,bcj->bci", a["position"], module.v(x).flatten(2))
    channel = torch.einsum("bij,bjn->bin", a["channel"], x.flatten(2))
    return x + (module.alpha * position + module.beta * channel).unflatten(2, x.shape[2:])


@register(
    name="Dual Attention",
    title="Dual Attention Network for Scene Segmentation",
    authors=("Jun Fu", "Jing Liu", "Haijie Tian", "Yong Li", "Yongjun Bao", "Zhiwei Fang", "Hanqing Lu"),
    year=2019,
    venue="CVPR 2019",
    paper="https://arxiv.org/abs/1809.02983",
    code="https://github.com/junfu1115/DANet",
    code_licence="MIT",
    maps={
        "position": Map("B N N", range=(0, 1), sums="N"),
        "channel": Map("B C C", range=(0, 1), sums="C"),
    },
    params=_params,
    macs=_macs,
    order="C²·H·W + C·(H·W)²",
    studied={"branch": ("position", "channel")},
    hosts=(
        Host(
            *("danet_head", "branches", 23_954_619, "the authors' DANetHead(2048, 19, BatchNorm2d), built and counted"),
            inputs=("2048 96 96",),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
    rebuild=_rebuild,
)
class DualAttention(nn.Module):
    """The position and the channel attention module of DANet (Fu et al., 2019), side by side on one map.

    A is x as C × N, N = H·W; B, C, D are 1×1 convolutions of A with biases, the first two to C/r channels:

    s_ji = softmax_i(B_j · C_i)                position j over all positions i: not scaled, N × N
    x_ji = softmax_i(A_j · A_i)                channel j over all channels i: rows of A, no layer, not scaled, C × C
    y_j = A_j + α Σ_i s_ji D_i + β Σ_i x_ji A_i, the first sum at position j, the second in channel j; α = β = 0 at the
    start

    Args:
        channels: C, the number of channels of the input and of the output.
        reduction: r; queries and keys have C/r channels, rounded down, at least one.
        branch: ``"position"`` or ``"channel"`` leaves the other sum out, ``"both"`` has both.
        flipped: whether the channels' scores are negated before their softmax, as in the authors' code: a channel then
            takes most from those that are least like it.

    Shapes:
        x: B C H W, y: B C H W, attention: position B N N and channel B C C, in [0, 1], row j being what j takes from
        each, adding up to one.

    Raises:
        ValueError: ``reduction`` is below 1, or there is no such ``branch``.

    Differs: the paper's formula of the channels is the default, the authors' code is ``flipped=True``. Their modules
    stand in a segmentation head, each behind a 3×3 convolution of its own and before another; the sum of the two is
    taken there, and so counts the shortcut twice. Here both read one map, it is added once, and a fresh module returns
    it unchanged. Up to its third version the paper puts a BN and a ReLU behind B, C and D, which the first author took
    back (issues 45 and 61 of their repository). Where C < r one channel stays in B and C, where theirs has none left.
    Scores are taken of numbers scaled down and are scaled back in float32, so that no product overflows in float16.
    """

    def __init__(self, channels: int, *, reduction: int = 8, branch: str = "both", flipped: bool = False):
        super().__init__()
        if reduction < 1:
            raise ValueError(f"reduction must be at least 1, not {reduction!r}; the authors' is 8")
        if branch not in BRANCHES:
            raise ValueError(unknown("branch", branch, BRANCHES))
        self.branch = branch
        self.flipped = flipped
        if branch != "channel":
            self.q = nn.Conv2d(channels, max(1, channels // reduction), 1)  # B
            self.k = nn.Conv2d(channels, max(1, channels // reduction), 1)  # C
            self.v = nn.Conv2d(channels, channels, 1)  # D
            self.alpha = nn.Parameter(torch.zeros(1))
        if branch != "position":
            self.beta = nn.Parameter(torch.zeros(1))

    def extra_repr(self) -> str:
        return f"branch={self.branch}, flipped={self.flipped}"

    def _qkv(self, x: Tensor) -> list[Tensor]:
        return [layer(x).flatten(2) for layer in (self.q, self.k, self.v)]  # B C/r N twice, B C N

    def _position(self, q: Tensor, k: Tensor) -> Tensor:
        return _scores(q.transpose(1, 2), k.transpose(1, 2)).softmax(2)  # s_ji, B N N

    def _channel(self, a: Tensor) -> Tensor:
        s = _scores(a, a)
        return (-s if self.flipped else s).softmax(2)  # x_ji, B C C

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """What each position takes from each, B N N, and each channel from each, B C C."""
        maps = {}
        if self.branch != "channel":
            maps["position"] = self._position(*self._qkv(x)[:2])
        if self.branch != "position":
            maps["channel"] = self._channel(x.flatten(2))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        a = y = x.flatten(2)  # B C N
        if self.branch != "channel":
            q, k, v = self._qkv(x)
            y = y + self.alpha * (v @ self._position(q, k).to(v.dtype).transpose(1, 2))
        if self.branch != "position":
            y = y + self.beta * (self._channel(a).to(a.dtype) @ a)
        return y.unflatten(2, x.shape[2:])
