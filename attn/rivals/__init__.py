# SPDX-FileCopyrightText: 2026 the attn authors
# SPDX-License-Identifier: Apache-2.0
"""The same mathematics by other hands, for ``attn bench``: a class of another library, or the equations said plainly.

``attn/rivals/<slug>.py`` holds one public function a rival. It takes our module and returns a module with the same
weights, whose result and gradients equal ours, as the tests assert: times of unlike things make no ratio. The first
line of its docstring names what it is (``timm.layers.SEModule``). A library is imported inside the function: where it
is missing it is named, and the others run. A mechanism that nobody else has needs no file.
"""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping

from torch import Tensor, nn

from .. import registry


def rivals(slug: str) -> dict[str, Callable[[nn.Module], nn.Module]]:
    """The rivals of a mechanism by name, in the order of its file; empty where it has none.

    Raises:
        ValueError: there is no such mechanism; the message names the nearest ones.
    """
    registry.card(slug)
    if importlib.util.find_spec(f"{__name__}.{slug}") is None:
        return {}
    module = importlib.import_module(f"{__name__}.{slug}")
    return {
        name: make
        for name, make in vars(module).items()
        if inspect.isfunction(make) and make.__module__ == module.__name__ and not name.startswith("_")
    }


def about(make: Callable[[nn.Module], nn.Module]) -> str:
    """What a rival is: the first line of its docstring."""
    return inspect.getdoc(make).splitlines()[0].rstrip(".")


def renamed(ours: nn.Module, names: Mapping[str, str]) -> dict[str, Tensor]:
    """A copy of the module's state dict, in which each layer has the name that it has at the rival.

    Args:
        names: the path of each of our layers that has tensors: its path there.
    """
    paths = ((name.rpartition("."), tensor) for name, tensor in ours.state_dict().items())
    return {f"{names[layer]}.{tensor}": value.clone() for (layer, _, tensor), value in paths}


class Plain(nn.Module):
    """Equations said plainly: a function of a module, which holds the weights, and of the inputs.

    Args:
        holder: the module. equations: ``equations(holder, *inputs)`` gives the result.
    """

    def __init__(self, holder: nn.Module, equations: Callable[..., Tensor]):
        super().__init__()
        self.holder, self.equations = holder, equations

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.equations(self.holder, *inputs)
