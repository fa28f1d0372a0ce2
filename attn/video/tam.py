# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Temporal Adaptive Module: each clip makes its own filter along time, a short kernel for every channel.

Zhaoyang Liu, Limin Wang, Wayne Wu, Chen Qian, Tong Lu: TAM: Temporal Adaptive Module for Video Recognition, 2021,
arXiv:2005.06803; the module with its local and its global branch, and TANet, the network.
Chapter: notebooks/video/tam.ipynb
"""

from torch import Tensor, nn

from ..registry import Host, Map, Printed, register


def _hidden(C: int, reduction: int) -> int:
    return max(1, C // reduction)


def _params(C: int, frames: int = 8, kernel_size: int = 3, reduction: int = 4, expansion: int = 2) -> int:
    hidden, wide = _hidden(C, reduction), frames * expansion
    local = C * hidden * kernel_size + 2 * hidden + hidden * C
    return local + frames * wide + 2 * wide + wide * kernel_size


def _macs(C: int, H: int, W: int, frames: int = 8, kernel_size: int = 3, reduction: int = 4, expansion: int = 2) -> int:
    hidden, wide = _hidden(C, reduction), frames * expansion
    branches = frames * C * hidden * (kernel_size + 1) + C * wide * (frames + kernel_size)
    # The importance scales every number of the clip once, the kernel every number once a tap.
    return branches + (1 + kernel_size) * frames * C * H * W


def _filtered(z: Tensor, kernel: Tensor) -> Tensor:
    """z, B T C H W, along time with a kernel of its own for each clip and channel, B C K; zeros beyond the ends.

    One convolution with B·C groups, one a clip and channel.
    """
    B, T, C, H, W = z.shape
    z = z.transpose(1, 2).reshape(1, B * C, T, H * W)
    theta = kernel.reshape(B * C, 1, -1, 1)
    y = nn.functional.conv2d(z, theta, padding=(theta.shape[2] // 2, 0), groups=B * C)
    return y.reshape(B, C, T, H, W).transpose(1, 2)


@register(
    name="Temporal Adaptive Module",
    title="TAM: Temporal Adaptive Module for Video Recognition",
    authors=("Zhaoyang Liu", "Limin Wang", "Wayne Wu", "Chen Qian", "Tong Lu"),
    year=2021,
    venue="ICCV 2021",
    paper="https://arxiv.org/abs/2005.06803",
    code="https://github.com/liu-zhy/temporal-adaptive-module",
    code_licence="Apache-2.0",
    shape_in=("B T C H W",),
    shape_out="B T C H W",
    maps={"importance": Map("B T C 1 1", range=(0, 1)), "kernel": Map("B C K", range=(0, 1), sums="K")},
    params=_params,
    macs=_macs,
    order="C² + T² + K·T·C·H·W",
    studied={"frames": (8, 16)},
    hosts=(
        Host(
            *("resnet50", "reduced", 26_819_720, "the authors' make_temporal_modeling, 8 frames, 1000 classes"),
            inputs=("8 3 224 224",),
        ),
        Host(
            *("resnet50", "reduced", 25_590_320, "the same with the 400 classes of Kinetics-400"),
            classes=400,
            inputs=("8 3 256 256",),
            printed=(Printed("mmaction2, README of tanet: Kinetics-400", "25.6 M", "43.0 G", "norms"),),
        ),
        Host(
            *("resnet50", "reduced", 25_127_246, "the same with the 174 classes of Something-Something"),
            classes=174,
            inputs=("8 3 256 256",),
            printed=(
                Printed(
                    *("mmaction2, README of tanet: Something-Something v1", "25.1 M", "43.1 G", "norms"),
                    why="with fewer classes it cannot cost more than on Kinetics-400; why it does is not known",
                ),
            ),
        ),
    ),
    symmetries=("shift", "flip", "transpose", "permute"),
    detector=None,
    rebuild=lambda module, attention, x: _filtered(x * attention["importance"], attention["kernel"]),
    limits={"detector": "it filters over the frames of a clip, and a detector's loader shuffles single pictures"},
    dims={"T": 8},
)
class TAM(nn.Module):
    """Temporal Adaptive Module (Liu et al., 2021).

    X̂_{t,c} = 1/(H·W) Σ_ij x_{t,c}(i, j)                       a table of T × C means
    V = σ(W₂ * δ(BN(W₁ * X̂))) ∈ (0, 1)^{T×C}                   importance: * along time, C → C/β → C, δ = ReLU
    Θ_c = softmax(F₂ δ(BN(F₁ X̂_{:,c}))) ∈ (0, 1)^K             kernel: T → αT → K, the same F for all channels
    z = V ⊙ x
    y_{t,c} = Σ_j Θ_{c,j} z_{t+j−(K−1)/2, c}, j = 0 … K − 1     zeros beyond the ends of the clip

    Args:
        channels: C, the number of channels of a frame, in and out.
        frames: T, the length of a clip, at least 2; F₁ has a column for each frame, so that no other length runs.
        kernel_size: K, odd: the taps of the kernel, and the length of W₁.
        reduction: β; W₁ leaves C/β channels, rounded down, at least one.
        expansion: α; F₁ leaves αT numbers.

    Shapes:
        x: B T C H W, y: B T C H W, attention: importance B T C 1 1 in (0, 1), kernel B C K that adds up to one over K.

    Raises:
        ValueError: an option is out of range, or, in use, x is not a batch of clips of ``frames`` frames.

    Differs: the authors' code takes the frames of all clips in a row, (B·T) C H W, which is ``x.flatten(0, 1)``, and
    their result is ``y.flatten(0, 1)``. Their padding is 1 by default whatever K is, ours (K − 1)/2, so that a kernel
    of 5 keeps the length. Where C < β one hidden channel stays. mmaction2 starts the two F with a deviation of 0.001,
    hence all kernels near 1/K; the authors and ours start them as PyTorch does.
    """

    def __init__(self, channels: int, *, frames: int = 8, kernel_size: int = 3, reduction: int = 4, expansion: int = 2):
        super().__init__()
        for name, value, least in (("frames", frames, 2), ("reduction", reduction, 1), ("expansion", expansion, 1)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, not {value!r}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, not {kernel_size!r}; the authors' is 3")
        self.frames = frames
        hidden, wide = _hidden(channels, reduction), frames * expansion
        self.importance = nn.Sequential(
            nn.Conv1d(channels, hidden, kernel_size, padding=kernel_size // 2, bias=False),  # W₁
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, channels, 1, bias=False),  # W₂
            nn.Sigmoid(),
        )
        # A linear layer over the T means of each channel: a convolution of length 1 whose channels are the frames.
        self.kernel = nn.Sequential(
            nn.Conv1d(frames, wide, 1, bias=False),  # F₁
            nn.BatchNorm1d(wide),  # over the B·C rows of the table
            nn.ReLU(),
            nn.Conv1d(wide, kernel_size, 1, bias=False),  # F₂
            nn.Softmax(1),
        )

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The importance V, B T C 1 1, and the kernels Θ, B C K."""
        if x.dim() != 5 or x.shape[1] != self.frames:
            raise ValueError(
                f"x must be clips of {self.frames} frames, B {self.frames} C H W, not {' '.join(map(str, x.shape))}; "
                f"frames in a row become clips by x.unflatten(0, (-1, {self.frames}))"
            )
        z = x.mean((3, 4))  # B T C, X̂
        importance = self.importance(z.mT).mT  # B T C, V
        return {"importance": importance[..., None, None], "kernel": self.kernel(z).mT}

    def forward(self, x: Tensor) -> Tensor:
        a = self.attention(x)
        return _filtered(x * a["importance"], a["kernel"])
