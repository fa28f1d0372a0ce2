# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The contract over the register: every promise of attn.contract, for every mechanism."""

import pytest

import attn
from attn import contract


def rows():
    for slug in attn.names():
        for promise in contract.CHECKS:
            marks = [pytest.mark.proof] if promise in contract.SLOW else []
            if promise in attn.card(slug).limits:
                marks.append(pytest.mark.xfail(reason=attn.card(slug).limits[promise], strict=True))
            yield pytest.param(slug, promise, id=f"{slug}-{promise}", marks=marks)


@pytest.mark.parametrize(("slug", "promise"), list(rows()))
def test_promise(slug, promise):
    contract.CHECKS[promise](contract.subject(slug))


@pytest.mark.parametrize("slug", attn.names())
def test_limits_are_promises(slug):
    unheard = set(attn.card(slug).limits) - set(contract.CHECKS) - {"detector"}
    assert not unheard, f"limits that no promise is named after: {unheard}"
