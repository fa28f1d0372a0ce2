# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Multi-head self-attention against loops written from the paper's equations."""

import math


def positions(N, d):
    """The paper's term for the position (Section 3.5), N x d: it is added to the input before the first layer, once.

    PE(pos, 2i) = sin(pos / 10000^(2i/d)), PE(pos, 2i+1) = cos(pos / 10000^(2i/d)); pos counts from 0.
    """
    return [[(math.cos if c % 2 else math.sin)(pos / 10000 ** ((c - c % 2) / d)) for c in range(d)] for pos in range(N)]


def loops(x, WQ, WK, WV, WO, bQ=None, bK=None, bV=None, bO=None, P=None):
    """Multi-head attention with Q = K = V = x, one number at a time, on nested lists.

    head_i = softmax((x W_i^Q) (x W_i^K)^T / sqrt(d_k)) x W_i^V,   y = [head_1, ..., head_h] W^O

    The paper's equations have no biases and no term for the position; no residual, no normalisation and no dropout
    belong to them either.

    Args:
        x: the tokens, B x N x d. A map is flattened to them row by row: token i·W + j is position (i, j).
        WQ, WK: the projections of each head, h x d x d_k, with the input's channel first (row vectors, as the paper).
        WV: h x d x d_v.
        WO: the last projection, h d_v x d; row i d_v + m is number m of head i.
        bQ, bK, bV: biases of the projections, h x d_k, h x d_k and h x d_v, or None as in the paper. bO: d numbers.
        P: N x d numbers added to every image's tokens first (``positions(N, d)`` for instance), or None.

    Returns:
        y, B x N x d, and a, B x h x N x N: a[b][i][n][m] is what query n of head i takes from key m.
    """
    N, d, h, dk, dv = len(x[0]), len(x[0][0]), len(WQ), len(WQ[0][0]), len(WV[0][0])

    def projected(token, W, b, i, m):
        """Number m of head i."""
        return (b[i][m] if b else 0.0) + sum(token[c] * W[i][c][m] for c in range(d))

    y, a = [], []
    for image in x:
        tokens = [[image[n][c] + (P[n][c] if P else 0.0) for c in range(d)] for n in range(N)]
        heads, maps = [[] for _ in range(N)], []
        for i in range(h):
            Q = [[projected(t, WQ, bQ, i, m) for m in range(dk)] for t in tokens]
            K = [[projected(t, WK, bK, i, m) for m in range(dk)] for t in tokens]
            V = [[projected(t, WV, bV, i, m) for m in range(dv)] for t in tokens]
            maps.append([])
            for n in range(N):
                s = [sum(Q[n][m] * K[o][m] for m in range(dk)) / math.sqrt(dk) for o in range(N)]
                total = sum(math.exp(t - max(s)) for t in s)
                row = [math.exp(t - max(s)) / total for t in s]
                maps[i].append(row)
                heads[n] += [sum(row[o] * V[o][m] for o in range(N)) for m in range(dv)]
        y.append(
            [[(bO[c] if bO else 0.0) + sum(z[m] * WO[m][c] for m in range(h * dv)) for c in range(d)] for z in heads]
        )
        a.append(maps)
    return y, a
