import os
import subprocess
import sys

import pytest
import torch
from torch import nn

from pr12.shared import address, optimisers

KINDS = {
    "adam": ("Adam", {"lr": 0.01, "betas": (0.8, 0.9), "weight_decay": 0.1, "fused": True}),
    "plain adam": ("Adam", {"lr": 0.01}),
    "sgd": ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 0.1, "fused": True}),
    "no momentum": ("SGD", {"lr": 0.01, "momentum": 0.0}),
}
KIND = pytest.mark.parametrize("kind", KINDS)


def trained(library, kind, steps=3, state=None):
    """Return a net after some steps of a library's optimiser with two groups, and its state."""
    name, arguments = KINDS[kind]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3))
    if state:
        net.load_state_dict(state[0])
    groups = [{"params": net[0].parameters()}, {"params": net[2].parameters(), "lr": 0.3}]
    optimiser = getattr(library, name)(groups, **arguments)
    if state:
        optimiser.load_state_dict(state[1])
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        net(torch.arange(14.0).reshape(2, 7)).square().mean().backward()
        optimiser.param_groups[0]["lr"] *= 0.5
        optimiser.step()
    assert torch.is_grad_enabled()
    return net.state_dict(), optimiser.state_dict()


def flat(value):
    """Return all leaves of nested dicts and lists, tensors as bytes."""
    if isinstance(value, dict):
        return [(key, flat(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [flat(item) for item in value]
    return value.numpy().tobytes() if isinstance(value, torch.Tensor) else value


@KIND
def test_steps_are_those_of_torch_to_the_bit(kind):
    assert flat(trained(optimisers, kind)) == flat(trained(torch.optim, kind))
    assert flat(trained(optimisers, kind)) != flat(trained(optimisers, kind, steps=2))


@KIND
def test_a_state_can_be_taken_up_again(kind):
    half = trained(optimisers, kind, steps=2)
    assert flat(trained(optimisers, kind, 1, half)) == flat(trained(optimisers, kind))


def test_neither_determinism_nor_an_optimiser_imports_a_compiler():
    code = """
import sys, torch
from pr12.shared import optimisers, replicas, run
run.deterministic()
assert torch.is_deterministic_algorithms_warn_only_enabled() is False
for kind in (optimisers.Adam, optimisers.SGD):
    x = torch.ones(1, requires_grad=True)
    one = kind([x], lr=0.1)
    one.zero_grad()
    x.sum().backward()
    one.step()
    one.load_state_dict(one.state_dict())
torch.func.vmap(lambda a: a)(torch.ones(1))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""
    env = {**os.environ, "PYTHONPATH": str(address.SRC)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env
    )
    assert done.stdout == "[]\n"
