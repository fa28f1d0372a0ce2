# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""Class-specific residual attention against loops written from the paper's equations."""

import math


def loops(x, m, temperatures, lam):
    """The class scores of class-specific residual attention: ŷ_k = Σ_h (s̄_k^h + λ a_k^h), over the heads h.

    In each head s_{k,j} = m_kᵀ x_j / ‖m_k‖ is the score of class k at position j, s̄_k its mean over all positions, and
    a_k its mean weighted by a softmax over the positions of T s_{k,j}; at T = ∞ its maximum.

    Args:
        x: The last feature map, nested B x C x H x W.
        m: The classifiers, one for each head and class, without a bias and of any length, nested heads x K x C.
        temperatures: T of each head, a number, or math.inf for the maximum.
        lam: λ, the weight of the second score.

    Returns:
        ŷ, nested B x K.
    """
    y = []
    for xb in x:
        cs, hs, ws = range(len(xb)), range(len(xb[0])), range(len(xb[0][0]))
        yb = [0.0 for _ in m[0]]
        for mh, t in zip(m, temperatures, strict=True):  # no head sees another
            for k, row in enumerate(mh):
                norm = math.sqrt(sum(w * w for w in row))
                s = [sum(row[c] * xb[c][i][j] for c in cs) / norm for i in hs for j in ws]
                mean, top = sum(s) / len(s), max(s)
                if t == math.inf:
                    a = top
                else:
                    e = [math.exp(t * (score - top)) for score in s]  # the largest subtracted: the quotient stays
                    a = sum(weight / sum(e) * score for weight, score in zip(e, s, strict=True))
                yb[k] += mean + lam * a
        y.append(yb)
    return y
