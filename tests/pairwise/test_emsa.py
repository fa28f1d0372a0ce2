# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Efficient multi-head self-attention (ResT) against loops written from the paper's equations."""

import math


def normalised(v, eps):
    """v with mean 0 and variance 1 (divided by the count, not by one less), as both normalisations take it."""
    mean = sum(v) / len(v)
    return [(t - mean) / math.sqrt(sum((u - mean) ** 2 for u in v) / len(v) + eps) for t in v]


def loops(x, WQ, WK, WV, WO, bQ, bK, bV, bO, h, s=1, dw=None, ln=None, mix=None, eps=1e-5):
    """EMSA on one map, one number at a time, on nested lists.

    x' = LN(DWConv(x)),   Q = x W^Q,   K = x' W^K,   V = x' W^V,
    A_i = IN(softmax(Conv(Q K^T / sqrt(d)))_i),   y = [A_1 V_1, ..., A_h V_h] W^O

    The convolution over the heads acts on the scores before the softmax, the instance norm on the weights after it:
    once for each image and head over all the N x N' weights of that head, without a learned scale or shift.
    With s = 1 there is neither DWConv nor LN (x' = x), with h = 1 neither Conv nor IN.
    No residual, no normalisation of x and no term for the position belong to it.

    Args:
        x: The map, nested B x C x H x W. Token n = i·W + j is position (i, j); x' is flattened in the same way.
        WQ, WK, WV, WO: Nested C x C, the input's channel first (row vectors, as the paper). Channels i·d to i·d + d - 1
            of Q, K and V, with d = C / h, belong to head i; the heads are put side by side in that order before W^O.
        bQ, bK, bV, bO: C numbers each.
        h: Heads.
        s: The reduction.
        dw: (weight, bias) of DWConv: C x (s+1) x (s+1), cross-correlated as torch does, and C numbers. Stride s, s // 2
            zeros around the map. None where s = 1.
        ln: (weight, bias, eps) of the LN over the channels of each token, C numbers twice. None where s = 1.
        mix: (weight, bias) of the 1 x 1 convolution over the heads, h x h with the output's head first, and h numbers.
            None where h = 1.
        eps: Of IN.

    Returns:
        y, nested B x C x H x W, and A, B x h x N x N', after IN.
    """
    C, H, W = len(x[0]), len(x[0][0]), len(x[0][0][0])
    cs, d = range(C), C // h

    def projected(token, weight, b):
        return [b[m] + sum(token[c] * weight[c][m] for c in cs) for m in cs]

    def shrunk(image):
        """x', token by token."""
        if s == 1:
            return [[image[c][i][j] for c in cs] for i in range(H) for j in range(W)]
        k, pad, tokens = s + 1, s // 2, []
        for i in range((H + 2 * pad - k) // s + 1):
            for j in range((W + 2 * pad - k) // s + 1):
                token = [dw[1][c] for c in cs]
                for c in cs:
                    for p in range(k):
                        for t in range(k):
                            row, col = i * s + p - pad, j * s + t - pad
                            if 0 <= row < H and 0 <= col < W:  # outside the map the padding is zero
                                token[c] += dw[0][c][p][t] * image[c][row][col]
                tokens.append([ln[0][c] * v + ln[1][c] for c, v in zip(cs, normalised(token, ln[2]), strict=True)])
        return tokens

    y, a = [], []
    for image in x:
        Q = [projected([image[c][i][j] for c in cs], WQ, bQ) for i in range(H) for j in range(W)]
        small = shrunk(image)
        K, V = ([projected(t, weight, b) for t in small] for weight, b in ((WK, bK), (WV, bV)))
        ns, os = range(len(Q)), range(len(K))
        scores = [
            [[sum(Q[n][i * d + m] * K[o][i * d + m] for m in range(d)) / math.sqrt(d) for o in os] for n in ns]
            for i in range(h)
        ]
        maps = []
        for i in range(h):
            weights = []
            for n in ns:
                row = [scores[i][n][o] for o in os]
                if h > 1:
                    row = [mix[1][i] + sum(mix[0][i][g] * scores[g][n][o] for g in range(h)) for o in os]
                e = [math.exp(t - max(row)) for t in row]
                weights += [t / sum(e) for t in e]
            if h > 1:
                weights = normalised(weights, eps)
            maps.append([weights[n * len(K) : (n + 1) * len(K)] for n in ns])
        heads = [[sum(maps[c // d][n][o] * V[o][c] for o in os) for c in cs] for n in ns]
        out = [projected(z, WO, bO) for z in heads]
        y.append([[[out[i * W + j][c] for j in range(W)] for i in range(H)] for c in cs])
        a.append(maps)
    return y, a
