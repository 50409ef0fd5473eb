import io
import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from pr12.photostyle.model import optimise
from pr12.photostyle.model.optimise import minimise
from pr12.workflow.errors import UserError

SIZE = (1, 3, 4, 4)


class Counted:
    """An objective that counts how often it is asked."""

    def __init__(self, function):
        self.function, self.count = function, 0

    def __call__(self, image):
        self.count += 1
        return {"loss": self.function(image.flatten())}


def quadratic(seed, ridge=0.1, spread=1.0):
    generator = torch.Generator().manual_seed(seed)
    factor = torch.randn(48, 48, generator=generator, dtype=torch.float64)
    matrix = factor @ factor.T / 48 + ridge * torch.eye(48, dtype=torch.float64)
    target = 0.5 + spread * torch.randn(48, generator=generator, dtype=torch.float64)
    return lambda x: (x - target) @ matrix @ (x - target) / 2


def rosenbrock(x):
    return (10 * (x[1:] - x[:-1] ** 2) ** 2 + (0.8 - x[:-1]) ** 2).sum()


def by_scipy(function, start):
    def with_gradient(values):
        leaf = torch.tensor(values, requires_grad=True)
        loss = function(leaf)
        loss.backward()
        return loss.item(), leaf.grad.numpy()

    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": 5000, "maxfun": 20000}
    actual = scipy.optimize.minimize(
        with_gradient,
        start.flatten().numpy(),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0, 1)] * start.numel(),
        options=options,
    )
    return actual.fun, actual.x


def start(value=None, seed=0, dtype=torch.float64):
    if value is not None:
        return torch.full(SIZE, value, dtype=dtype)
    return torch.rand(SIZE, generator=torch.Generator().manual_seed(seed), dtype=dtype)


FUNCTIONS = {
    "quadratic": (quadratic(0), start(seed=1)),
    "quadratic_within": (quadratic(1, spread=0.05), start(seed=2)),
    "quadratic_from_a_corner": (quadratic(2), start(0.0)),
    "ill_conditioned": (quadratic(3, ridge=1e-3), start(seed=3)),
    "rosenbrock": (rosenbrock, start(0.3)),
    "rosenbrock_of_noise": (rosenbrock, start(seed=4)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_minimum_is_that_of_scipys_bounded_lbfgs(name):
    function, first = FUNCTIONS[name]
    loss, image = by_scipy(function, first)
    *_, last = minimise(first, Counted(function), iterations=600, history=20)
    assert last.parts["loss"] == pytest.approx(loss, rel=1e-8, abs=1e-12)
    np.testing.assert_allclose(last.image.flatten(), image, atol=2e-4)


def test_the_bounds_of_the_oracle_are_felt():
    # else the test above would say nothing of bounds
    for name, touched in (("quadratic", True), ("quadratic_within", False)):
        _, image = by_scipy(*FUNCTIONS[name])
        assert bool(((image == 0) | (image == 1)).any()) == touched


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_loss_never_rises_and_the_image_stays_in_its_range(name, dtype):
    function, first = FUNCTIONS[name]
    first = first.to(dtype)

    def objective(image):
        return {"loss": function(image.flatten().double())}

    before = objective(first)["loss"].item()
    for step in minimise(first, objective, iterations=100, history=5):
        assert step.parts["loss"] <= before
        assert step.parts["loss"] == objective(step.image)["loss"].item()
        assert step.image.min() >= 0
        assert step.image.max() <= 1
        assert step.image.dtype == dtype
        assert step.image.shape == SIZE
        before = step.parts["loss"]


def test_a_step_is_not_taken_where_cut_off_at_the_bounds_it_would_climb():
    # the first pixel has no room left; the second would climb by a hair
    image = torch.tensor([1 - 1e-9, 0.5], dtype=torch.float64)
    slope = torch.tensor([-10.0, 1.0], dtype=torch.float64)
    step = torch.tensor([1.0, 1.0], dtype=torch.float64)
    change = torch.tensor([1.0, 0.0], dtype=torch.float64)
    memory = optimise.Memory([step], [change], [1.0])
    held = torch.zeros(2, dtype=torch.bool)
    asked = []

    def evaluate(flat):
        asked.append(flat.clone())
        return {"loss": 1.0 + 1e-6}, slope

    assert optimise._searched(image, slope, memory, held, 1.0, evaluate) is None
    assert all(torch.equal(one[:1], image[:1]) or one[0] == 1 for one in asked)


@pytest.mark.parametrize("name", ["quadratic", "quadratic_within", "rosenbrock"])
def test_most_iterations_need_one_evaluation(name):
    function, first = FUNCTIONS[name]
    counted = Counted(function)
    lowest, _ = by_scipy(function, first)
    for step in minimise(first, counted, iterations=40, history=20):
        if step.parts["loss"] < lowest + 1e-10 * abs(lowest):  # below that, rounding decides
            break
    assert step.iteration >= 15
    assert counted.count <= 1.3 * step.iteration + 1


def test_every_step_moves_and_the_search_ends_at_the_minimum():
    for seed in range(8):
        function = quadratic(seed, ridge=0.5)
        images = [start(seed=seed)]
        for step in minimise(images[0], Counted(function), iterations=400, history=20):
            images.append(step.image)
        assert len(images) < 400
        assert not any(torch.equal(a, b) for a, b in itertools.pairwise(images))


def test_pixels_on_a_bound_that_would_leave_it_are_held():
    first = start(0.5)
    first[0, 0], first[0, 1] = 0.0, 1.0
    target = torch.full_like(first, 0.4)
    target[0, 0], target[0, 1] = -1.0, 2.0

    def objective(image):
        return {"loss": (image - target).square().sum()}

    for step in minimise(first, objective, iterations=20, history=5):
        assert torch.equal(step.image[0, :2], first[0, :2])
    torch.testing.assert_close(step.image[0, 2], target[0, 2])


def test_pixels_on_a_bound_that_want_to_come_back_do():
    first = start(0.0)
    first[0, 1] = 1.0
    *_, last = minimise(first, lambda x: {"loss": (x - 0.5).square().sum()}, 20, history=5)
    torch.testing.assert_close(last.image, start(0.5))


def test_held_pixels_do_not_turn_the_search_of_the_others():
    # two pixels are coupled; the first is held at 0, so that the second's minimum is 0.2
    def objective(image):
        x = image.flatten()
        return {"loss": (x[1] - 0.2) ** 2 + 0.9 * x[0] * (x[1] - 0.2) + x[0] + x[2:].square().sum()}

    first = start(0.0)
    first[0, 0, 0, 1] = 0.9
    *_, last = minimise(first, objective, 60, history=5)
    assert last.image.flatten()[0] == 0
    assert last.image.flatten()[1].item() == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize("history", [1, 3, 20])
def test_going_on_from_any_state_gives_the_same_images(history):
    first = start(seed=5, dtype=torch.float32)

    def objective(image):
        return {"loss": rosenbrock(image.flatten()), "mean": image.mean()}

    whole = list(minimise(first, objective, iterations=12, history=history))
    assert [step.iteration for step in whole] == list(range(1, 13))
    for step in whole[:-1]:
        file = io.BytesIO()
        torch.save(step.state, file)
        state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
        rest = list(minimise(first, objective, 12, history, state=state))
        assert [ours.iteration for ours in rest] == list(range(step.iteration + 1, 13))
        for ours, other in zip(rest, whole[step.iteration :], strict=True):
            assert torch.equal(ours.image, other.image)
            assert ours.parts == other.parts


def test_a_state_of_the_end_has_nothing_to_go_on_with():
    *_, last = minimise(start(seed=5), Counted(rosenbrock), iterations=3, history=2)
    assert list(minimise(start(seed=5), Counted(rosenbrock), 3, 2, state=last.state)) == []


@pytest.mark.parametrize("history", [1, 4])
def test_no_more_is_remembered_than_the_history_and_it_is_the_newest(history):
    images = [start(0.3)]
    for step in minimise(images[0], Counted(rosenbrock), iterations=15, history=history):
        images.append(step.image)
        kept = step.state["steps"]
        assert len(kept) == len(step.state["changes"]) == len(step.state["products"])
        assert len(kept) <= min(history, step.iteration)
        if len(kept):
            torch.testing.assert_close(kept[-1], (images[-1] - images[-2]).flatten())
    assert len(kept) == history


def test_a_short_history_finds_the_minimum_too():
    function, first = FUNCTIONS["quadratic"]
    loss, _ = by_scipy(function, first)
    *_, last = minimise(first, Counted(function), iterations=600, history=1)
    assert last.parts["loss"] == pytest.approx(loss, rel=1e-7)


def test_no_iterations_give_no_step():
    assert list(minimise(start(0.3), Counted(rosenbrock), iterations=0, history=3)) == []


def test_a_flat_loss_ends_early():
    counted = Counted(lambda x: (0 * x).sum())
    assert list(minimise(start(0.3), counted, iterations=50, history=3)) == []
    assert counted.count < 5


def test_a_start_in_the_minimum_ends_early_also_on_the_bounds():
    counted = Counted(lambda x: x.sum())
    assert list(minimise(start(0.0), counted, iterations=50, history=3)) == []
    assert counted.count < 5


def collect(steps, actual):
    for step in steps:  # so that those before an error are kept
        actual.append(step)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_stops_being_finite_is_told_with_its_iteration(value):
    counted = Counted(lambda x: rosenbrock(x) + (value if counted.count > 6 else 0.0))
    steps = []
    with pytest.raises(UserError, match="iteration") as caught:
        collect(minimise(start(0.3), counted, iterations=50, history=3), steps)
    assert len(steps) >= 2
    assert f"iteration {len(steps) + 1} " in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_first_loss_that_is_not_finite_is_refused(value):
    with pytest.raises(UserError, match="first image"):
        next(minimise(start(0.3), Counted(lambda x: (x * value).sum()), 5, 3))


def test_a_gradient_that_is_not_finite_is_refused():
    # the root's gradient at 0 is infinite, its value finite
    with pytest.raises(UserError, match="finite"):
        next(minimise(start(0.0), Counted(lambda x: (x - x**2).sqrt().sum()), 5, 3))


def test_a_step_into_a_place_without_a_value_is_halved():
    # finite only left of 0.6: the search has to come back from beyond
    def objective(image):
        return {"loss": (image - 0.55).square().sum() - 1e-6 * torch.log(0.6 - image).sum()}

    *_, last = minimise(start(0.0), objective, iterations=60, history=5)
    torch.testing.assert_close(last.image, start(0.55), atol=1e-4, rtol=0)


def test_two_loops_are_the_product_with_the_explicit_bfgs_matrix():
    generator = torch.Generator().manual_seed(0)
    factor = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    hessian = factor @ factor.T + torch.eye(6, dtype=torch.float64)
    steps = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    changes = steps @ hessian
    vector = torch.randn(6, generator=generator, dtype=torch.float64)
    identity = torch.eye(6, dtype=torch.float64)
    inverse = identity * (steps[-1] @ changes[-1]) / (changes[-1] @ changes[-1])
    for step, change in zip(steps, changes, strict=True):
        rho = 1 / (step @ change)
        left = identity - rho * torch.outer(step, change)
        inverse = left @ inverse @ left.T + rho * torch.outer(step, step)
    products = (steps * changes).sum(dim=1).tolist()
    memory = optimise.Memory(list(steps), list(changes), products)
    actual = optimise._times_inverse_hessian(vector, memory)
    torch.testing.assert_close(actual, inverse @ vector, rtol=1e-10, atol=1e-12)
    newest = optimise._times_inverse_hessian(changes[-1], memory)
    torch.testing.assert_close(newest, steps[-1], rtol=1e-10, atol=1e-12)  # the secant condition
    assert torch.equal(optimise._times_inverse_hessian(vector, optimise.Memory([], [], [])), vector)


def test_the_first_step_has_the_same_length_at_every_scale_of_the_loss():
    for scale in (1e-6, 1.0, 1e6):
        step = next(
            minimise(start(0.5), Counted(lambda x, s=scale: s * (x - 0.9).sum() ** 2), 1, 3)
        )
        length = (step.image - 0.5).square().mean().sqrt().item()
        assert length == pytest.approx(optimise.FIRST, rel=1e-6)


def test_the_start_is_left_as_it_was_and_may_be_channels_last():
    first = start(seed=6).contiguous(memory_format=torch.channels_last)
    before = first.clone()
    target = start(seed=7)

    def objective(image):
        return {"loss": (image - target).square().sum()}

    *_, last = minimise(first, objective, iterations=20, history=5)
    assert torch.equal(first, before)
    torch.testing.assert_close(last.image, target)


def test_noise_is_near_the_middle_and_its_seeds_tell():
    first = optimise.noise(20, 30, seed=0)
    assert first.shape == (1, 3, 20, 30)
    assert first.mean().item() == pytest.approx(0.5, abs=1e-3)
    assert first.std().item() == pytest.approx(0.01, rel=0.1)
    assert torch.equal(first, optimise.noise(20, 30, seed=0))
    assert not torch.equal(first, optimise.noise(20, 30, seed=1))
