# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Deformable convolution: a convolution that looks where the image tells it to, and weighs what it finds there.

Version 1: Jifeng Dai, Haozhi Qi, Yuwen Xiong, Yi Li, Guodong Zhang, Han Hu, Yichen Wei: Deformable Convolutional
Networks, 2017, arXiv:1703.06211; Figure 2 (the layer), Eqs. 2 to 4 (the moved points, bilinear interpolation).
Version 2: Xizhou Zhu, Han Hu, Stephen Lin, Jifeng Dai: Deformable ConvNets v2: More Deformable, Better Results, 2019,
arXiv:1811.11168; Eq. 1 (the mask).
Chapter: notebooks/spatial/dcn.ipynb
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..registry import Host, Map, register


def _predicted(kernel_size: int, groups: int, mask: bool) -> int:
    return (3 if mask else 2) * groups * kernel_size**2


def _params(
    C: int, kernel_size: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1, mask: bool = True
) -> int:
    return C * C * kernel_size**2 + (C * kernel_size**2 + 1) * _predicted(kernel_size, groups, mask)


def _macs(
    C: int, H: int, W: int, kernel_size: int = 3, stride: int = 1, dilation: int = 1, groups: int = 1, mask: bool = True
) -> int:
    points = kernel_size**2 * -(-H // stride) * -(-W // stride)
    # The two convolutions; three products to interpolate a value between four, and one with the mask.
    return points * (C * C + C * _predicted(kernel_size, groups, mask) + (4 if mask else 3) * C)


@register(
    name="Deformable convolution",
    title="Deformable Convolutional Networks; Deformable ConvNets v2: More Deformable, Better Results",
    authors=(
        *("Jifeng Dai", "Haozhi Qi", "Yuwen Xiong", "Yi Li", "Guodong Zhang", "Han Hu", "Yichen Wei"),
        *("Xizhou Zhu", "Stephen Lin"),
    ),
    year=2017,
    venue="ICCV 2017 (version 1); CVPR 2019 (version 2)",
    paper="https://arxiv.org/abs/1703.06211",
    code="https://github.com/msracver/Deformable-ConvNets",
    code_licence="MIT",
    maps={"offset": Map("B g K 2 H W"), "mask": Map("B g K H W", range=(0, 2))},
    params=_params,
    macs=_macs,
    order="k²·C²·H·W",
    studied={"mask": (True, False), "groups": (1, 4)},
    hosts=(
        Host("resnet50", "conv", 26_428_295, "counted by us on a ResNet-50 (version 2), not printed in the paper"),
        Host(
            *("resnet50", "conv", 26_137_874),
            "counted by us on a ResNet-50 (version 1), not printed in the paper",
            {"mask": False},
        ),
    ),
    detector="replace",
    from_conv={"weight": "weight"},
    rebuild=lambda module, attention, x: module.convolve(x, **attention),
)
class DCN(nn.Module):
    """Deformable convolution (Dai et al., 2017; Zhu et al., 2019).

    y(p) = Σ_k w_k x(p + p_k + Δp_k(p)) Δm_k(p)                        version 2, Eq. 1; version 1 has no Δm
    x(q) = Σ_r max(0, 1 − |q_y − r_y|) max(0, 1 − |q_x − r_x|) x(r)    bilinear, version 1, Eqs. 3 and 4
    Δp = f(x), Δm = 2 σ(h(x))                                          f and h are convolutions like the one replaced

    p and r are positions of whole numbers, p_k the K = k² taps of the kernel, and x is 0 beyond its edge.

    Args:
        channels: C, the number of channels of the input and of the output.
        kernel_size: k, odd.
        stride: the step between two positions of the output.
        dilation: the step between two taps.
        groups: g; each of as many equal parts of the channels has points and a mask of its own.
        mask: whether there is Δm: True is version 2, False version 1.

    Shapes:
        x: B C H W, y: B C H W (H and W divided by the stride, rounded up), attention: offset Δp, B g K 2 H W in pixels,
        the step down before the step right, and mask Δm, B g K H W in (0, 2); their H and W are those of y.

    Raises:
        ValueError: ``kernel_size`` is even or below 1, ``stride`` or ``dilation`` is below 1, or ``groups`` does not
            divide the channels.

    Differs: the paper of version 2 has Δm = σ(h(x)), which starts at 0.5 and halves what the convolution gave. The
    authors' example doubles it, as ours does, so that the layer starts as the convolution whose weights it takes over;
    with w twice as large the paper's is the same function. Their example also trains f and h at a tenth of the learning
    rate, which is left to the optimiser here. Less than a pixel beyond the edge ours interpolates with 0, as their
    second operator does; their first one took 0 above and left, and repeated the edge below and right. Their Faster
    R-CNN of version 1 has 4 groups and dilation 2 in its last stage; the defaults here are those of version 2.
    """

    def __init__(
        self,
        channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        mask: bool = True,
    ):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            good = [k for k in (kernel_size - 1, kernel_size + 1) if k > 0 and k % 2] or [1, 3]
            raise ValueError(
                f"kernel_size must be odd, not {kernel_size!r}, or the taps would have no middle; "
                f"near it: {' and '.join(map(str, good))}"
            )
        for option, value in (("stride", stride), ("dilation", dilation)):
            if value < 1:
                raise ValueError(f"{option} must be at least 1, not {value!r}")
        if groups < 1 or channels % groups:
            good = [g for g in range(1, channels + 1) if channels % g == 0]
            near = sorted(sorted(good, key=lambda g: abs(g - groups))[:2])
            raise ValueError(
                f"groups must divide the {channels} channels, not {groups!r}; near it: {' and '.join(map(str, near))}"
            )
        self.stride, self.dilation, self.groups, self.mask = stride, dilation, groups, mask
        wide = _predicted(kernel_size, groups, mask)
        self.predict = nn.Conv2d(channels, wide, kernel_size, stride, dilation * (kernel_size // 2), dilation)  # f, h
        nn.init.zeros_(self.predict.weight)
        nn.init.zeros_(self.predict.bias)
        self.weight = nn.Conv2d(channels, channels, kernel_size, bias=False).weight  # w

    def attention(self, x: Tensor) -> dict[str, Tensor]:
        """The offsets Δp, B g K 2 H W, and with ``mask`` Δm, B g K H W."""
        taps = self.weight[0, 0].numel()
        p, steps = self.predict(x), 2 * self.groups * taps  # B 2gK H W, or B 3gK H W
        a = {"offset": p[:, :steps].unflatten(1, (self.groups, taps, 2))}
        if self.mask:
            a["mask"] = 2 * p[:, steps:].sigmoid().unflatten(1, (self.groups, taps))
        return a

    def sample(self, x: Tensor, offset: Tensor) -> Tensor:
        """The values x(p + p_k + Δp_k) of every tap at every position, B H W g K C/g."""
        (B, _, H, W), g, k = x.shape, self.groups, self.weight.shape[2]
        # Half precision cannot tell the pixels of a large map apart.
        offset = offset.to(torch.promote_types(x.dtype, torch.float32)).movedim((4, 5), (1, 2))  # B H W g K 2

        def steps(n: int) -> Tensor:
            return torch.arange(n, dtype=offset.dtype, device=x.device)

        h, w = offset.shape[1:3]
        taps = (self.dilation * (steps(k) - k // 2)).expand(k, k)
        down = offset[..., 0] + (self.stride * steps(h))[:, None, None, None] + taps.t().flatten()
        right = offset[..., 1] + (self.stride * steps(w))[:, None, None] + taps.flatten()  # B H W g K

        # Every pixel is a row of a table, and so is every zero of a frame around each image, for all that lies beyond.
        table = F.pad(x, (1, 1, 1, 1)).unflatten(1, (g, -1)).movedim(2, 4).flatten(0, 3)
        images = torch.arange(B * g, device=x.device).unflatten(0, (B, 1, 1, g, 1)) * (H + 2)
        top, left = down.floor(), right.floor()
        lines = [(images + 1 + (top.long() + n).clamp(-1, H)) * (W + 2) for n in (0, 1)]
        columns = [1 + (left.long() + n).clamp(-1, W) for n in (0, 1)]

        def pixels(index: Tensor) -> Tensor:
            return table.index_select(0, index.flatten()).unflatten(0, index.shape)

        v, u = ((at - floor).unsqueeze(-1).to(x.dtype) for at, floor in ((down, top), (right, left)))
        upper, lower = (torch.lerp(*(pixels(line + column) for column in columns), u) for line in lines)
        return torch.lerp(upper, lower, v)

    def convolve(self, x: Tensor, offset: Tensor, mask: Tensor | None = None) -> Tensor:
        """The convolution at the moved points, B C H W."""
        values = self.sample(x, offset)  # B H W g K C/g
        if mask is not None:
            values = values * mask.movedim((3, 4), (1, 2)).unsqueeze(-1)
        weight = self.weight.flatten(2).unflatten(1, (self.groups, -1))  # C g C/g K
        return torch.einsum("bhwgkc,ogck->bohw", values, weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolve(x, **self.attention(x))
