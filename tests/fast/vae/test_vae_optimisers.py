import pytest
import torch

from pr12.vae.model import optimisers

BETAS, EPSILON = (0.8, 0.99), 1e-4


def start():
    generator = torch.Generator().manual_seed(0)
    return {n: torch.randn(s, generator=generator) for n, s in (("a", (2, 3)), ("b", (2, 1, 4)))}


def gradients(parameters):
    """Give a function's gradients that change in size and sign along the way."""
    return [torch.sin(3 * value) + value * value * value for value in parameters.values()]


def ours(name, steps, decay, state=None, parameters=None):
    parameters = parameters or start()
    state = state or optimisers.start(parameters, name)
    for _ in range(steps):
        optimisers.descend(parameters, gradients(parameters), state, 0.05, decay, BETAS, EPSILON)
    return parameters, state


def torchs(name, steps, decay):
    parameters = start()
    values = list(parameters.values())
    if name == "adagrad":
        optimiser = torch.optim.Adagrad(values, lr=0.05, weight_decay=decay)
    else:
        optimiser = torch.optim.Adam(
            values, lr=0.05, weight_decay=decay, betas=BETAS, eps=EPSILON, foreach=False
        )
    for _ in range(steps):
        for value, gradient in zip(values, gradients(parameters), strict=True):
            value.grad = gradient
        optimiser.step()
    return parameters


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_ten_steps_are_those_of_torch_optim(name, decay):
    actual, _ = ours(name, 10, decay)
    for key, expected in torchs(name, 10, decay).items():
        torch.testing.assert_close(actual[key], expected, rtol=1e-5, atol=1e-6)
        assert not torch.allclose(actual[key], start()[key], atol=0.05)


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_weight_decay_changes_the_way(name):
    plain, decayed = (ours(name, 10, decay)[0] for decay in (0.0, 0.1))
    assert not torch.allclose(plain["a"], decayed["a"], atol=1e-4)


def test_two_steps_of_adagrad_by_hand():
    parameters = {"a": torch.tensor([1.0])}
    state = optimisers.start(parameters, "adagrad")
    for gradient in (3.0, 4.0):
        optimisers.descend(parameters, [torch.tensor([gradient])], state, 0.1, 0.0, BETAS, EPSILON)
    assert parameters["a"].item() == pytest.approx(1 - 0.1 * 3 / 3 - 0.1 * 4 / 5)


def test_the_prior_of_the_parameters_adds_their_share_to_the_gradient():
    parameters = {"a": torch.tensor([2.0])}
    state = optimisers.start(parameters, "adagrad")
    optimisers.descend(parameters, [torch.tensor([0.0])], state, 0.1, 1 / 100, BETAS, EPSILON)
    assert state["sums"][0].item() == pytest.approx(0.02**2)
    assert parameters["a"].item() == pytest.approx(1.9)


def test_adams_first_step_has_the_length_of_the_step_size():
    parameters = {"a": torch.tensor([1.0, 1.0])}
    state = optimisers.start(parameters, "adam")
    optimisers.descend(
        parameters, [torch.tensor([1e-3, -1e3])], state, 0.1, 0.0, (0.9, 0.999), 1e-8
    )
    torch.testing.assert_close(parameters["a"], torch.tensor([0.9, 1.1]))


@pytest.mark.parametrize("name", ["adagrad", "adam"])
def test_all_that_a_step_remembers_is_in_the_state(name):
    whole, _ = ours(name, 10, 0.1)
    half, state = ours(name, 4, 0.1)
    rest, _ = ours(name, 6, 0.1, state, half)
    assert all(torch.equal(rest[key], value) for key, value in whole.items())
