import pytest
import torch
from torch.distributions import MultivariateNormal

from pr12.vae.model import hmc

COVARIANCE = torch.tensor([[1.0, 0.8], [0.8, 2.0]])
MEAN = torch.tensor([0.5, -1.0])


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def correlated(z):
    precision = torch.linalg.inv(COVARIANCE)
    centred = z - MEAN
    return -0.5 * (centred @ precision * centred).sum(dim=-1)


def standard(z):
    return -0.5 * (z * z).sum(dim=-1)


def quartic(z):
    return -(z**4).sum(dim=-1) - z[..., 0] * z[..., -1]


def sampled(density, start, step, leapfrog_steps, burn_in, transitions, streams):
    start, step = hmc.burn_in(density, start, step, leapfrog_steps, burn_in, streams)
    return hmc.sample(density, start, step, leapfrog_steps, transitions, streams)


def test_mean_and_covariance_of_a_correlated_gaussian():
    start, step = torch.full((1, 300, 2), 4.0), torch.full((1, 300), 0.2)
    chain = sampled(correlated, start, step, 4, 150, 150, generators(0))
    z = chain.positions.reshape(-1, 2)
    # 45 000 states of correlated chains; the bounds are about 4 standard errors of 300 chains'
    # means, measured over seeds.
    assert torch.allclose(z.mean(dim=0), MEAN, rtol=0, atol=0.06)
    assert torch.allclose(torch.cov(z.T), COVARIANCE, rtol=0, atol=0.1)
    expected = MultivariateNormal(MEAN, COVARIANCE)
    normaliser = expected.log_prob(MEAN)
    oracle = expected.log_prob(chain.positions) - normaliser
    assert torch.allclose(chain.log_densities.float(), oracle, atol=1e-4)


@pytest.mark.parametrize("start_step", [0.02, 5.0])
def test_acceptance_is_near_90_percent_after_tuning(start_step):
    step = torch.full((1, 200), start_step)
    chain = sampled(correlated, torch.zeros(1, 200, 2), step, 4, 300, 100, generators(1))
    assert chain.acceptance.mean().item() == pytest.approx(0.9, abs=0.03)


def test_a_step_size_shared_by_a_replicas_chains_is_tuned_by_their_mean():
    # The two replicas' densities differ in scale by 10, and so must their step sizes.
    scale = torch.tensor([1.0, 0.1])[:, None, None]
    step = torch.full((2, 1), 0.3)
    chain = sampled(
        lambda z: standard(z / scale), torch.zeros(2, 100, 3), step, 4, 300, 100, generators(2, 2)
    )
    assert chain.step_size.shape == (2, 1)
    assert (chain.step_size[0] / chain.step_size[1]).item() == pytest.approx(10, rel=0.2)
    assert torch.allclose(chain.acceptance.mean(dim=1), torch.tensor(0.9).double(), atol=0.03)


def test_tuning_stands_still_at_9_of_10_by_hand():
    step = torch.tensor([2.0])
    for accepted in [True] * 9 + [False]:
        step = hmc.tuned(step, torch.tensor([accepted]))
    assert step.item() == pytest.approx(2.0, rel=1e-5)
    assert hmc.tuned(torch.tensor(1.0), torch.zeros(2, 3, dtype=torch.bool)).item() == (
        pytest.approx(1.02**-9, rel=1e-5)
    )


def test_leapfrog_by_hand_and_its_error_of_second_order():
    start = hmc.evaluate(standard, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    momentum = torch.tensor([[0.3, -0.7]], dtype=torch.float64)
    energy = 0.5 * (momentum**2).sum() - start.log_density
    errors = []
    for steps in (20, 40, 80):  # to the same time, 1
        size = torch.tensor(1.0 / steps, dtype=torch.float64)
        end, last = hmc.leapfrog(standard, start, momentum, size, steps)
        exact = torch.tensor(1.0).double()
        oracle = start.position * exact.cos() + momentum * exact.sin()
        assert torch.allclose(end.position, oracle, atol=2.0 / steps**2)
        errors.append((0.5 * (last**2).sum() - end.log_density - energy).abs().item())
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)
    assert errors[0] > 1e-6


def test_leapfrog_is_reversible_and_keeps_volume():
    position = torch.tensor([0.4, -0.9], dtype=torch.float64)
    momentum = torch.tensor([0.8, 0.1], dtype=torch.float64)
    size = torch.tensor(0.2, dtype=torch.float64)
    end, last = hmc.leapfrog(quartic, hmc.evaluate(quartic, position), momentum, size, 7)
    assert (end.position - position).abs().max() > 0.1
    back, first = hmc.leapfrog(quartic, end, -last, size, 7)
    assert torch.allclose(back.position, position, atol=1e-12)
    assert torch.allclose(-first, momentum, atol=1e-12)

    def flow(state):
        point, after = hmc.leapfrog(quartic, hmc.evaluate(quartic, state[:2]), state[2:], size, 7)
        return torch.cat([point.position, after])

    state, shift = torch.cat([position, momentum]), 1e-5
    columns = [
        (flow(state + shift * axis) - flow(state - shift * axis)) / (2 * shift)
        for axis in torch.eye(4, dtype=torch.float64)
    ]
    assert torch.linalg.det(torch.stack(columns)).item() == pytest.approx(1, abs=1e-7)


def test_detailed_balance_and_invariance_at_a_large_step():
    # At 1.7, near the leapfrog's limit of 2, a fifth of the proposals or more is rejected; were
    # they all accepted, the variance would grow by half.
    chains = 40_000
    z = torch.randn(1, chains, 1, generator=torch.Generator().manual_seed(3))
    point = hmc.evaluate(standard, z)
    after, accepted = hmc.transition(standard, point, torch.tensor(1.7), 1, generators(4))
    assert 0.6 < accepted.double().mean() < 0.85
    before, now = z[0, :, 0], after.position[0, :, 0]
    assert now.mean().abs() < 4 / chains**0.5
    assert (now.square().mean() - 1).abs() < 4 * (2 / chains) ** 0.5
    for low, high in ((-0.3, 0.3), (0.5, 1.0), (-1.5, -0.2)):  # moves into and out of a set
        inside, inside_now = (
            (low < before) & (before < high),
            (low < now) & (now < high),
        )
        tail, tail_now = before.abs() > 1.2, now.abs() > 1.2
        there, back = (inside & tail_now).sum().item(), (tail & inside_now).sum().item()
        assert there > 100
        assert abs(there - back) < 4 * (there + back) ** 0.5


def test_tails_are_as_long_as_they_should_be():
    # E |z|^4 = 1/4 under exp(-z^4), by parts.
    chain = sampled(
        lambda z: -(z**4).sum(dim=-1),
        torch.zeros(1, 1000, 1),
        torch.full((1, 1), 0.3),
        4,
        50,
        50,
        generators(5),
    )
    assert chain.positions.double().pow(4).mean().item() == pytest.approx(0.25, abs=0.01)


def test_energies_that_are_not_finite_are_rejected():
    def walled(z):  # NaN left of 0, +inf right of 3
        inside = torch.where(z > 3, torch.inf, standard(z[..., None]))
        return torch.where(z < 0, torch.nan, inside)[..., 0]

    chain = hmc.sample(walled, torch.ones(1, 50, 1), torch.tensor(0.8), 2, 40, generators(6))
    assert chain.positions.isfinite().all()
    assert chain.log_densities.isfinite().all()
    assert ((chain.positions >= 0) & (chain.positions <= 3)).all()
    assert 0.1 < chain.acceptance.mean() < 0.95


@pytest.mark.parametrize("inside", [-torch.inf, torch.nan])
def test_a_chain_without_density_moves_nowhere_or_to_where_there_is_some(inside):
    def hollow(z):  # in the hole the gradient is that of a parabola
        return torch.where(z.abs() < 0.1, inside, 1.0)[..., 0] + standard(z)

    chain = hmc.sample(hollow, torch.zeros(1, 20, 1), torch.tensor(0.5), 2, 20, generators(7))
    assert chain.positions.isfinite().all()
    assert (chain.positions[-1].abs() >= 0.1).all()
    lost = hmc.sample(lambda z: z[..., 0] * torch.nan, torch.zeros(1, 3, 1), torch.tensor(0.5), 2,
                      5, generators(7))  # fmt: skip
    assert torch.equal(lost.positions, torch.zeros(5, 1, 3, 1))
    assert torch.equal(lost.acceptance, torch.zeros(1, 3).double())


def test_a_replica_alone_goes_as_in_the_stack():
    start = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(8))
    step = torch.full((3, 1), 0.9)
    stacked = sampled(quartic, start, step, 3, 10, 20, generators(10, 11, 12))
    for index, seed in enumerate((10, 11, 12)):
        ours = slice(index, index + 1)
        alone = sampled(quartic, start[ours], step[ours], 3, 10, 20, generators(seed))
        assert torch.allclose(alone.positions, stacked.positions[:, ours], atol=1e-5)
        assert torch.equal(alone.acceptance, stacked.acceptance[ours])
        assert torch.allclose(alone.step_size, stacked.step_size[ours])
    assert not torch.allclose(stacked.positions[:, 0], stacked.positions[:, 1], atol=0.1)


def test_every_leapfrog_step_costs_one_evaluation_and_the_start_one():
    calls = []

    def counted(z):
        calls.append(z.shape)
        return standard(z)

    chain = hmc.sample(counted, torch.zeros(2, 3, 4), torch.tensor(0.1), 5, 7, generators(0, 1))
    assert len(calls) == 1 + 5 * 7
    assert set(calls) == {(2, 3, 4)}
    assert chain.positions.shape == (7, 2, 3, 4)
    assert not chain.positions.requires_grad


def test_one_transition_at_a_time_is_the_same_chain():
    start, step = torch.ones(1, 6, 2), torch.full((1, 1), 0.7)
    position, tuned = hmc.burn_in(quartic, start, step, 3, 8, generators(9))
    point, streams, stepwise = hmc.evaluate(quartic, start), generators(9), step
    for _ in range(8):
        # Monte Carlo EM changes the density in between and evaluates it anew
        point = hmc.evaluate(quartic, point.position)
        point, accepted = hmc.transition(quartic, point, stepwise, 3, streams)
        stepwise = hmc.tuned(stepwise, accepted)
    assert torch.equal(point.position, position)
    assert torch.equal(stepwise, tuned)


def test_parameters_that_ask_for_gradients_get_none():
    weight = torch.ones(2, requires_grad=True)
    hmc.sample(lambda z: standard(z * weight), torch.ones(1, 3, 2), torch.tensor(0.3), 2, 2,
               generators(0))  # fmt: skip
    assert weight.grad is None
