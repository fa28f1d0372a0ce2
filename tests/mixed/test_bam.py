# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""BAM against loops written from the paper's equations, in both of its forms: as released and as printed."""

import math


def loops(x, W, b, f, fb, channel_norms, spatial_norms, d=4, released=True):
    """BAM in evaluation mode, one element at a time, on nested lists: y = (1 + M) x.

    As released: M = sigmoid(M_c * M_s), where BN and ReLU follow every layer of a branch but its last.
    As printed: M = sigmoid(M_c + M_s), where one BN closes each branch, ReLU follows W_0 alone, and nothing stands
    between the convolutions (no ReLU is printed there).

    Args:
        x: the input, B x C x H x W.
        W: [W_0, W_1], the two linear layers of M_c, C/r x C and C x C/r.
        b: [b_0, b_1], their biases.
        f: [f_0, f_1, f_2, f_3], the kernels of M_s, each outputs x inputs x k x k: 1x1 to C/r, two dilated 3x3, and
            1x1 to one map.
        fb: their biases.
        channel_norms: released: one norm, behind W_0; printed: one norm, behind W_1. A norm is (weights, biases,
            running means, running variances, eps), the first four with one number a channel.
        spatial_norms: released: three norms, behind f_0, f_1 and f_2; printed: one norm of one channel, behind f_3.
        d: dilation of the 3x3 convolutions; zeros are padded so that the map keeps its size.
        released: the authors' code, else the paper's equations.
    """
    H, Wd = len(x[0][0]), len(x[0][0][0])
    places = [(i, j) for i in range(H) for j in range(Wd)]

    def normed(s, norm, c):
        weight, bias, mean, variance, eps = norm
        return weight[c] * (s - mean[c]) / math.sqrt(variance[c] + eps) + bias[c]

    out = []
    for image in x:
        z = [sum(plane[i][j] for i, j in places) / (H * Wd) for plane in image]
        for n in (0, 1):
            z = [b[n][o] + sum(W[n][o][c] * z[c] for c in range(len(z))) for o in range(len(W[n]))]
            if n == (0 if released else 1):
                z = [normed(s, channel_norms[0], c) for c, s in enumerate(z)]
            if n == 0:
                z = [max(0.0, s) for s in z]
        maps = image
        for n in range(4):
            k, new = len(f[n][0][0]), []
            for o in range(len(f[n])):
                plane = [[0.0] * Wd for _ in range(H)]
                for i, j in places:
                    s = fb[n][o]
                    for c in range(len(maps)):
                        for u in range(k):
                            for v in range(k):
                                row, column = i + d * (u - k // 2), j + d * (v - k // 2)
                                if 0 <= row < H and 0 <= column < Wd:
                                    s += f[n][o][c][u][v] * maps[c][row][column]
                    if released and n < 3:
                        s = max(0.0, normed(s, spatial_norms[n], o))
                    if not released and n == 3:
                        s = normed(s, spatial_norms[0], o)
                    plane[i][j] = s
                new.append(plane)
            maps = new
        y = [[[0.0] * Wd for _ in range(H)] for _ in image]
        for c in range(len(image)):
            for i, j in places:
                s = z[c] * maps[0][i][j] if released else z[c] + maps[0][i][j]
                y[c][i][j] = (1 + 1 / (1 + math.exp(-s))) * image[c][i][j]
        out.append(y)
    return out
