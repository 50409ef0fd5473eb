import math

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pr12.vae.model import likelihood
from pr12.workflow.errors import UserError

NOISE = 0.5  # standard deviation of x given z


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def linear_gaussian(replicas=2, points=6, pixels=4, latent_dim=2, seed=0):
    """Give W (S, Z, D), b (S, D) and data (S, B, D) drawn from x = z W + b + noise."""
    stream = torch.Generator().manual_seed(seed)
    weight = torch.randn(replicas, latent_dim, pixels, generator=stream)
    bias = torch.randn(replicas, pixels, generator=stream)
    z = torch.randn(replicas, points, latent_dim, generator=stream)
    noise = torch.randn(replicas, points, pixels, generator=stream)
    return weight, bias, z @ weight + bias[:, None] + NOISE * noise


def exact(weight, bias, x):
    rows = []
    for w, b, ours in zip(weight.double(), bias.double(), x.double(), strict=True):
        covariance = w.T @ w + NOISE**2 * torch.eye(w.shape[1], dtype=torch.float64)
        rows.append(multivariate_normal(b.numpy(), covariance.numpy()).logpdf(ours.numpy()))
    return torch.from_numpy(np.stack(rows))


def posterior(weight, bias, x):
    """Give the posterior's mean (S, B, Z) and covariance (S, Z, Z)."""
    latent_dim = weight.shape[1]
    precision = torch.eye(latent_dim) + weight @ weight.mT / NOISE**2
    covariance = torch.linalg.inv(precision)
    return (x - bias[:, None]) @ weight.mT @ covariance / NOISE**2, covariance


def log_normal(value, scale):
    return -0.5 * (value / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)


def log_likelihood_of(weight, bias, x):
    def log_likelihood(z):
        mean = torch.einsum("sbkz,szd->sbkd", z, weight) + bias[:, None, None]
        return log_normal(x[:, :, None] - mean, NOISE).sum(dim=-1)

    return log_likelihood


def log_joint_of(weight, bias, x):
    log_likelihood = log_likelihood_of(weight, bias, x)
    return lambda z: log_likelihood(z) + log_normal(z, 1.0).sum(dim=-1)


def proposal(weight, bias, x):
    """Give a q(z|x) that is near the posterior, but diagonal, shifted and too wide."""
    mean, covariance = posterior(weight, bias, x)
    variance = 1.5 * covariance.diagonal(dim1=-2, dim2=-1)[:, None].expand_as(mean)
    return mean + 0.1, variance.log()


def test_importance_against_the_exact_marginal():
    system = linear_gaussian()
    estimate = likelihood.importance(
        log_joint_of(*system), *proposal(*system), 20_000, 1000, generators(0, 1)
    )
    assert estimate.dtype == torch.float64
    assert torch.allclose(estimate, exact(*system), rtol=0, atol=0.05)


def test_importance_with_the_posterior_is_exact_from_one_sample():
    weight, bias, x = linear_gaussian(latent_dim=1)
    mean, covariance = posterior(weight, bias, x)
    log_variance = covariance[:, :, 0, None].log().expand_as(mean)
    estimate = likelihood.importance(
        log_joint_of(weight, bias, x), mean, log_variance, 1, 1, generators(0, 1)
    )
    assert torch.allclose(estimate, exact(weight, bias, x), rtol=0, atol=1e-4)


def test_more_samples_raise_the_bound_towards_the_marginal():
    system = linear_gaussian(points=300, latent_dim=3)
    counts = [1, 3, 10, 1000]
    estimates = likelihood.importance_at(
        log_joint_of(*system), *proposal(*system), counts, 100, generators(2, 3)
    )
    assert estimates.shape == (4, 2, 300)
    gaps = (exact(*system) - estimates).mean(dim=-1)
    assert (gaps[:-1] > gaps[1:] + 0.01).all()
    assert (gaps[0] > 0.2).all()
    assert (gaps[-1].abs() < 0.02).all()


def test_the_first_sample_alone_gives_the_elbo():
    # E of the bound at k = 1: log p(x) - KL(q || p(z|x)), the Kullback-Leibler divergence by hand.
    system = linear_gaussian(points=4000, latent_dim=2)
    mean, log_variance = proposal(*system)
    true_mean, covariance = posterior(*system)
    q = torch.distributions.MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    p = torch.distributions.MultivariateNormal(true_mean, covariance[:, None])
    elbo = exact(*system) - torch.distributions.kl_divergence(q, p)
    estimate = likelihood.importance(log_joint_of(*system), mean, log_variance, 1, 1,
                                     generators(0, 1))  # fmt: skip
    assert torch.allclose(estimate.mean(dim=1), elbo.mean(dim=1), rtol=0, atol=0.08)


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_change_nothing_but_memory(chunk):
    system = linear_gaussian()
    sizes = []

    def log_joint(z):
        sizes.append(z.shape[2])
        assert torch.is_inference_mode_enabled()
        return log_joint_of(*system)(z)

    counts = [1, 10, 100]
    estimates = likelihood.importance_at(log_joint, *proposal(*system), counts, chunk,
                                         generators(4, 5))  # fmt: skip
    assert max(sizes) <= chunk
    assert sum(sizes) == 100
    for count, estimate in zip(counts, estimates, strict=True):
        whole = likelihood.importance(log_joint_of(*system), *proposal(*system), count, count,
                                      generators(4, 5))  # fmt: skip
        assert torch.allclose(estimate, whole, rtol=0, atol=1e-5)


def test_importance_of_densities_far_below_what_floats_hold():
    weight, bias, x = linear_gaussian(latent_dim=1)
    mean, covariance = posterior(weight, bias, x)
    log_variance = covariance[:, :, 0, None].log().expand_as(mean)
    log_joint = log_joint_of(weight, bias, x)
    estimate = likelihood.importance(
        lambda z: log_joint(z).double() - 5000, mean, log_variance, 20, 4, generators(0, 1)
    )
    assert torch.allclose(estimate, exact(weight, bias, x) - 5000, rtol=0, atol=1e-3)


def reciprocal(system, streams, samples=50):
    start = torch.zeros(*system[2].shape[:2], system[0].shape[1])
    return likelihood.reciprocal_importance(
        log_joint_of(*system), start, 0.2, 4, 100, samples, streams
    )


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_reciprocal_importance_against_the_exact_marginal(latent_dim):
    system = linear_gaussian(points=200, latent_dim=latent_dim, pixels=8)
    error = reciprocal(system, generators(0, 1)) - exact(*system)
    assert (error.mean(dim=1).abs() < 0.15).all()
    assert (error.std(dim=1) < 0.5).all()


@pytest.mark.slow
def test_more_samples_sharpen_reciprocal_importance():
    system = linear_gaussian(points=40, latent_dim=3, pixels=8)
    few, many = (
        (reciprocal(system, generators(0, 1), samples) - exact(*system)).abs().mean()
        for samples in (20, 300)
    )
    assert many < 0.5 * few
    assert many < 0.06


def test_a_fitted_normal_against_scipy():
    fit_to = torch.randn(40, 1, 3, generator=torch.Generator().manual_seed(0)) @ torch.tensor(
        [[1.0, 0.5, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 2.0]]
    )
    at = torch.randn(5, 1, 3, generator=torch.Generator().manual_seed(1))
    samples = fit_to[:, 0].double()
    covariance = torch.cov(samples.T)
    ridge = likelihood.RIDGE * covariance.trace() / 3 * torch.eye(3)
    oracle = multivariate_normal(samples.mean(dim=0).numpy(), (covariance + ridge).numpy())
    actual = likelihood._log_fitted_normal(fit_to, at)[:, 0]
    assert torch.allclose(actual, torch.from_numpy(oracle.logpdf(at[:, 0].numpy())), atol=1e-6)


@pytest.mark.parametrize("around", [-math.inf, math.nan])
def test_a_chain_that_stood_still_gives_nan_and_spoils_no_other(around):
    system = linear_gaussian(replicas=1, points=3)
    log_joint = log_joint_of(*system)
    second = (torch.arange(3) == 1)[None, :, None]

    def walled(z):  # the second point's density is finite at the start alone
        return torch.where(second & (z != 0).any(dim=-1), around, log_joint(z))

    estimate = likelihood.reciprocal_importance(
        walled, torch.zeros(1, 3, 2), 0.2, 4, 100, 50, generators(0)
    )
    assert estimate.isnan().tolist() == [[False, True, False]]


def test_reciprocal_importance_refuses_more_than_five_latent_dimensions():
    with pytest.raises(UserError, match="at most 5 latent dimensions, not 6"):
        reciprocal(linear_gaussian(latent_dim=6), generators(0, 1))


def annealed(system, streams, chains=8, temperatures=60):
    return likelihood.annealed(
        log_likelihood_of(*system),
        system[2].shape[1],
        system[0].shape[1],
        chains,
        likelihood.sigmoidal_schedule(temperatures),
        0.5,
        4,
        streams,
    )


@pytest.mark.slow
def test_annealing_against_the_exact_marginal():
    system = linear_gaussian(points=40, latent_dim=6, pixels=10)
    error = annealed(system, generators(0, 1), chains=16, temperatures=300) - exact(*system)
    assert (error.mean(dim=1).abs() < 0.1).all()
    assert (error.std(dim=1) < 0.5).all()


def test_the_annealed_weights_are_unbiased_however_few_the_temperatures():
    # One chain and four temperatures: logarithms are far too low, the mean weight is right.
    system = linear_gaussian(replicas=1, points=1, latent_dim=1, pixels=2, seed=4)
    weight, bias, x = system
    many = (weight, bias, x.expand(1, 20_000, 2))
    error = annealed(many, generators(6), chains=1, temperatures=4)[0] - exact(*system)[0]
    assert error.mean() < -0.05
    ratios = error.exp()
    assert (ratios.mean() - 1).abs() < 4 * ratios.std() / len(ratios) ** 0.5
    assert ratios.std() / len(ratios) ** 0.5 < 0.02


@pytest.mark.slow
def test_more_temperatures_raise_the_annealed_bound():
    system = linear_gaussian(points=40, latent_dim=4, pixels=8)
    gaps = [
        (exact(*system) - annealed(system, generators(0, 1), 2, temperatures)).mean().item()
        for temperatures in (5, 30, 200)
    ]
    assert gaps[0] > gaps[1] > gaps[2] > -0.05
    assert gaps[2] < 0.4 < gaps[1]


def test_annealing_costs_one_evaluation_a_leapfrog_step():
    system = linear_gaussian()
    sizes = []

    def log_likelihood(z):
        sizes.append(z.shape[2])
        return log_likelihood_of(*system)(z)

    likelihood.annealed(
        log_likelihood, 6, 2, 8, likelihood.sigmoidal_schedule(9), 0.5, 4, generators(0, 1)
    )
    assert sizes == [2] * (1 + 9 * 4) + [8] * (1 + 9 * 4)


def test_the_sigmoidal_schedule_rises_from_0_to_1_and_is_symmetric():
    schedule = likelihood.sigmoidal_schedule(100)
    assert schedule[0].item() == 0
    assert schedule[-1].item() == 1
    assert (schedule.diff() > 0).all()
    assert torch.allclose(schedule + schedule.flip(0), torch.ones(101).double())
    assert schedule.diff()[0] < 0.2 * schedule.diff()[50]


@pytest.mark.parametrize("estimator", [reciprocal, annealed])
def test_a_replica_alone_is_estimated_as_in_the_stack(estimator):
    system = linear_gaussian(replicas=3, points=4)
    stacked = estimator(system, generators(0, 1, 2))
    for index in range(3):
        ours = tuple(part[index : index + 1] for part in system)
        alone = estimator(ours, generators(index))
        assert torch.allclose(alone, stacked[index : index + 1], rtol=0, atol=1e-3)


def test_a_replica_alone_is_weighed_as_in_the_stack():
    system = linear_gaussian(replicas=3, points=4)
    stacked = likelihood.importance(
        log_joint_of(*system), *proposal(*system), 30, 8, generators(0, 1, 2)
    )
    for index in range(3):
        ours = tuple(part[index : index + 1] for part in system)
        alone = likelihood.importance(
            log_joint_of(*ours), *proposal(*ours), 30, 8, generators(index)
        )
        assert torch.allclose(alone, stacked[index : index + 1], rtol=0, atol=1e-5)
