import math

import pytest
import torch
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence

from pr12.core import determinism
from pr12.vae import evaluate_linear
from pr12.vae.model import densities, networks, objectives

SEEDS = (0, 1)
LIKELIHOODS = ("bernoulli", "gaussian", "linear")


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def setting(likelihood="bernoulli", hidden=(4,), seeds=SEEDS, batch=3, dtype=torch.float64):
    architecture = networks.Architecture(5, hidden, 2, likelihood)
    parameters = networks.initial(architecture, seeds, "normal", 0.7)
    if likelihood == "linear":  # 0 at first: a variance that does not stand out
        parameters["decoder.log_variance"] += torch.tensor([0.3, -0.8])[: len(seeds), None, None]
    parameters = {name: value.to(dtype) for name, value in parameters.items()}
    x = torch.rand(len(seeds), batch, 5, generator=torch.Generator().manual_seed(3))
    return parameters, x.to(dtype)


def streams(seeds=SEEDS):
    return [determinism.generator(seed, "test") for seed in seeds]


def random_normal(shape=(2, 3, 2)):
    mean, log_variance = torch.randn(2, *shape, generator=torch.Generator().manual_seed(1)).double()
    return networks.Normal(mean, log_variance)


def distribution(normal):
    return Independent(Normal(normal.mean, (0.5 * normal.log_variance).exp()), 1)


def decoder_by_hand(parameters, replica, z):
    ours = {name: value[replica] for name, value in parameters.items()}
    h = torch.tanh(z @ ours["decoder.0.weight"] + ours["decoder.0.bias"])
    outputs = h @ ours["decoder.mean.weight"] + ours["decoder.mean.bias"]
    if "decoder.log_variance" in ours:
        return outputs, ours["decoder.log_variance"].expand_as(outputs)
    if "decoder.log_variance.weight" in ours:
        log_variance = h @ ours["decoder.log_variance.weight"] + ours["decoder.log_variance.bias"]
        return torch.sigmoid(outputs), log_variance
    return outputs, None


# Densities


@pytest.mark.parametrize("likelihood", ["gaussian", "linear"])
def test_a_gaussian_likelihood_is_that_of_torch(likelihood):
    parameters, x = setting(likelihood)
    z = random_normal().mean
    actual = densities.log_likelihood(parameters, x, z)
    for replica in range(2):
        mean, log_variance = decoder_by_hand(parameters, replica, z[replica])
        expected = Independent(Normal(mean, (log_variance / 2).exp()), 1).log_prob(x[replica])
        torch.testing.assert_close(actual[replica], expected)
        torch.testing.assert_close(networks.decode(parameters, z)[replica], mean)


@pytest.mark.parametrize("binary", [True, False])
def test_a_bernoulli_likelihood_is_that_of_torch_also_for_real_valued_pixels(binary):
    parameters, x = setting("bernoulli")
    x = x.round() if binary else x
    z = random_normal().mean
    actual = densities.log_likelihood(parameters, x, z)
    for replica in range(2):
        logits, _ = decoder_by_hand(parameters, replica, z[replica])
        expected = Independent(Bernoulli(logits=logits, validate_args=binary), 1)
        torch.testing.assert_close(actual[replica], expected.log_prob(x[replica]))
        torch.testing.assert_close(networks.decode(parameters, z)[replica], torch.sigmoid(logits))


def test_a_bernoulli_likelihood_stays_finite_where_the_probability_is_rounded_to_1():
    parameters, x = setting("bernoulli")
    parameters["decoder.mean.bias"] += 800.0
    actual = densities.log_likelihood(
        parameters, torch.zeros_like(x), torch.zeros(2, 3, 2).double()
    )
    assert torch.isfinite(actual).all()
    assert (actual < -3900).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_many_codes_per_data_point_are_as_one_after_the_other(likelihood):
    parameters, x = setting(likelihood)
    z = torch.randn(2, 3, 7, 2, generator=torch.Generator().manual_seed(2)).double()
    actual = densities.log_likelihood(parameters, x, z)
    each = [densities.log_likelihood(parameters, x, z[:, :, k]) for k in range(7)]
    torch.testing.assert_close(actual, torch.stack(each, dim=2))


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_data_without_a_replica_dimension_are_shared_by_all(likelihood):
    parameters, x = setting(likelihood)
    shared = x[0]
    for function in (objectives.sgvb_a, objectives.autoencoder):
        actual = function(parameters, shared, 1, streams())
        torch.testing.assert_close(
            actual, function(parameters, shared.expand(2, 3, 5), 1, streams())
        )


def test_log_prior_is_that_of_torch():
    z = random_normal().mean
    expected = MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double()).log_prob(z)
    torch.testing.assert_close(densities.log_prior(z), expected)


def test_log_normal_is_that_of_torch():
    normal = random_normal()
    z = torch.randn(2, 3, 2, generator=torch.Generator().manual_seed(4)).double()
    expected = distribution(normal).log_prob(z)
    torch.testing.assert_close(densities.log_normal(z, normal), expected)


def test_kl_is_that_of_torch():
    normal = random_normal()
    prior = Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    expected = kl_divergence(distribution(normal), prior)
    torch.testing.assert_close(densities.kl(normal), expected)


def test_kl_is_never_negative_and_0_for_the_prior():
    assert (densities.kl(random_normal((2, 500, 3))) > 0).all()
    assert densities.kl(networks.Normal(torch.zeros(4), torch.zeros(4))) == 0


def test_the_encoder_by_hand():
    parameters, x = setting()
    actual = networks.encode(parameters, x)
    ours = {name: value[1] for name, value in parameters.items()}
    h = torch.tanh(x[1] @ ours["encoder.0.weight"] + ours["encoder.0.bias"])
    for name, value in actual._asdict().items():
        expected = h @ ours[f"encoder.{name}.weight"] + ours[f"encoder.{name}.bias"]
        torch.testing.assert_close(value[1], expected)


def test_two_hidden_layers_are_mirrored_in_the_decoder():
    sizes = networks.layers(networks.Architecture(9, (5, 3), 2, "gaussian"))
    assert sizes == {
        "encoder.0": (9, 5),
        "encoder.1": (5, 3),
        "encoder.mean": (3, 2),
        "encoder.log_variance": (3, 2),
        "decoder.0": (2, 3),
        "decoder.1": (3, 5),
        "decoder.mean": (5, 9),
        "decoder.log_variance": (5, 9),
    }


def test_pixels_are_drawn_with_the_decoders_mean_and_variance():
    for likelihood in LIKELIHOODS:
        parameters, _ = setting(likelihood)
        z = random_normal((2, 1, 2)).mean.expand(2, 20000, 2)
        x = networks.sample_pixels(parameters, z, streams())
        mean = networks.decode(parameters, z)[:, 0]
        if likelihood == "bernoulli":
            variance = mean * (1 - mean)
        else:
            hand = [decoder_by_hand(parameters, r, z[r, :1])[1].exp()[0] for r in range(2)]
            variance = torch.stack(hand)
        error = (x.mean(dim=1) - mean) / (variance / 20000).sqrt()
        assert error.abs().max() < 4
        torch.testing.assert_close(x.var(dim=1, correction=1), variance, rtol=0.06, atol=0)


# Initial parameters


def test_normal_initial_parameters_have_the_deviation_asked_for():
    architecture = networks.Architecture(50, (40,), 5, "bernoulli")
    parameters = networks.initial(architecture, [0], "normal", 0.01)
    for name in ("encoder.0.weight", "decoder.mean.weight"):
        assert parameters[name].std(correction=1).item() == pytest.approx(0.01, rel=0.1)
        assert parameters[name].mean().abs() < 0.001
    assert parameters["decoder.mean.bias"].abs().min() > 0


def test_glorot_initial_parameters_fill_their_bounds_and_biases_are_0():
    architecture = networks.Architecture(50, (40,), 5, "bernoulli")
    parameters = networks.initial(architecture, [0], "glorot", 1.0)
    bound = math.sqrt(6 / 90)
    assert 0.98 * bound < parameters["encoder.0.weight"].abs().max() <= bound
    assert not any(value.any() for name, value in parameters.items() if name.endswith("bias"))


@pytest.mark.parametrize("init", ["normal", "glorot"])
def test_a_seed_starts_the_same_alone_and_in_a_stack(init):
    architecture = networks.Architecture(6, (4,), 2, "gaussian")
    together = networks.initial(architecture, [5, 6, 7], init, 0.1)
    alone = networks.initial(architecture, [6], init, 0.1)
    assert all(torch.equal(value[0], together[name][1]) for name, value in alone.items())
    assert not torch.equal(together["encoder.0.weight"][0], together["encoder.0.weight"][1])


# The bound


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_both_estimators_have_the_same_expectation(likelihood):
    parameters, x = setting(likelihood)
    with torch.no_grad():
        q = networks.encode(parameters, x)
        z = networks.draw(q, networks.normals(streams(), 3, 20000, 2))
        a = objectives.log_weights(parameters, x, q, z)
        b = densities.log_likelihood(parameters, x, z) - densities.kl(q).unsqueeze(2)
        # From the same noise: what is left of their difference is small
        difference = a - b
        error = difference.std(dim=2, correction=1) / math.sqrt(20000)
        assert (difference.mean(dim=2).abs() < 4 * error).all()
        assert (densities.kl(q) > 20 * error).all()  # half a KL too much would be seen
        for objective, values in ((objectives.sgvb_a, a), (objectives.sgvb_b, b)):
            actual = objective(parameters, x, 20000, streams())
            torch.testing.assert_close(actual, values.mean(dim=2))


@pytest.mark.parametrize("objective", [objectives.sgvb_a, objectives.sgvb_b])
def test_the_estimators_agree_with_the_linear_models_exact_bound(objective):
    parameters, x = setting("linear", hidden=())
    exact = evaluate_linear.elbo(parameters, x[0])
    # Antithetic noise would be exact for B; plain noise has an error of some hundredths
    actual = objective(parameters, x[0], 20000, streams()).mean(dim=1)
    torch.testing.assert_close(actual, exact, rtol=0, atol=0.1)


def test_estimator_b_varies_less_where_the_code_says_little():
    parameters, x = setting("bernoulli")
    parameters["decoder.0.weight"] *= 0.01  # then log p(x|z) hardly depends on z
    draws = [
        torch.stack([objective(parameters, x, 1, noise) for _ in range(200)])
        for objective in (objectives.sgvb_a, objectives.sgvb_b)
        for noise in [streams()]
    ]
    a, b = (ours.var(dim=0, correction=1) for ours in draws)
    assert (b < 0.1 * a).all()


def test_gradcheck_of_the_reparameterised_sample():
    normal = random_normal()
    noise = torch.randn(2, 3, 4, 2, generator=torch.Generator().manual_seed(5)).double()

    def sample(mean, log_variance):
        return networks.draw(networks.Normal(mean, log_variance), noise)

    assert torch.autograd.gradcheck(sample, [value.requires_grad_() for value in normal])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("name", ["sgvb_a", "sgvb_b", "importance"])
def test_gradcheck_of_the_bound(likelihood, name):
    parameters, x = setting(likelihood, seeds=(0,), batch=2)

    def bound(*values):
        ours = dict(zip(parameters, values, strict=True))
        return getattr(objectives, name)(ours, x, 2, streams((0,)))  # the same noise at each call

    values = [value.requires_grad_() for value in parameters.values()]
    assert torch.autograd.gradcheck(bound, values, fast_mode=True)


@pytest.mark.parametrize("name", ["sgvb_a", "sgvb_b", "importance", "wake_sleep", "autoencoder"])
def test_a_replica_gives_the_same_alone_and_in_a_stack(name):
    objective = getattr(objectives, name)
    parameters, x = setting("gaussian", dtype=torch.float32)
    together = objective(parameters, x, 3, streams())
    for replica, seed in enumerate(SEEDS):
        ours = {key: value[replica : replica + 1] for key, value in parameters.items()}
        alone = objective(ours, x[replica : replica + 1], 3, streams((seed,)))
        torch.testing.assert_close(alone[0], together[replica])


# Importance weighting


def test_importance_with_one_sample_is_estimator_a():
    parameters, x = setting()
    actual = objectives.importance(parameters, x, 1, streams())
    assert torch.equal(actual, objectives.sgvb_a(parameters, x, 1, streams()))


def test_the_importance_bound_rises_with_k_to_the_likelihood():
    parameters, x = setting("linear", hidden=(), seeds=(0,))
    x = x[0]
    many = x.repeat(500, 1)  # 500 estimates for each data point
    with torch.no_grad():
        bounds = [
            objectives.importance(parameters, many, k, streams((0,))).mean().item()
            for k in (1, 5, 50, 500)
        ]
    exact = evaluate_linear.log_marginal_likelihood(parameters, x).item()
    assert bounds[0] < bounds[1] < bounds[2] < exact
    assert bounds[0] < exact - 0.5
    assert bounds[3] == pytest.approx(exact, abs=0.05)


def test_the_gradient_of_the_importance_bound_weighs_samples_by_their_share():
    parameters, x = setting()
    for value in parameters.values():
        value.requires_grad_()
    values = list(parameters.values())
    actual = torch.autograd.grad(objectives.importance(parameters, x, 4, streams()).sum(), values)
    q = networks.encode(parameters, x)
    z = networks.draw(q, networks.normals(streams(), 3, 4, 2))
    weights = objectives.log_weights(parameters, x, q, z)
    share = torch.softmax(weights.detach(), dim=2)  # Burda et al. 2015, Eq. 13
    expected = torch.autograd.grad((share * weights).sum(), values)
    for ours, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(ours, other)


# Wake-sleep


def linear():
    return setting("linear", hidden=(), dtype=torch.float32)


def gradients(objective):
    parameters, _ = linear()
    values = {name: value.requires_grad_() for name, value in parameters.items()}
    actual = torch.autograd.grad(objective(values).sum(), list(values.values()), allow_unused=True)
    return dict(zip(values, actual, strict=True))


def test_the_wake_phase_teaches_the_decoder_by_hand():
    parameters, x = linear()
    actual = gradients(lambda ours: objectives.wake_sleep(ours, x, 4, streams()))
    q = networks.encode(parameters, x)
    z = networks.draw(q, networks.normals(streams(), 3, 4, 2))
    variance = parameters["decoder.log_variance"].exp().unsqueeze(1)
    slope = (x.unsqueeze(2) - networks.decode(parameters, z)) / variance / 4
    torch.testing.assert_close(actual["decoder.mean.bias"], slope.sum(dim=(1, 2)).unsqueeze(1))
    torch.testing.assert_close(
        actual["decoder.mean.weight"], torch.einsum("sbkz,sbkd->szd", z, slope)
    )


def test_the_sleep_phase_teaches_the_encoder_by_hand():
    parameters, x = linear()
    actual = gradients(lambda ours: objectives.wake_sleep(ours, x, 4, streams()))
    noise = streams()
    networks.normals(noise, 3, 4, 2)  # the wake phase's
    dreamt = networks.normals(noise, 3, 2)
    dream = networks.sample_pixels(parameters, dreamt, noise)
    q = networks.encode(parameters, dream)
    slope = (dreamt - q.mean) / q.log_variance.exp()
    torch.testing.assert_close(actual["encoder.mean.bias"], slope.sum(dim=1, keepdim=True))
    torch.testing.assert_close(
        actual["encoder.mean.weight"], torch.einsum("sbd,sbz->sdz", dream, slope)
    )
    half = 0.5 * ((dreamt - q.mean) * slope - 1)
    torch.testing.assert_close(actual["encoder.log_variance.bias"], half.sum(dim=1, keepdim=True))


def test_no_gradient_crosses_the_phases():
    _, x = linear()
    one = gradients(lambda ours: objectives.wake_sleep(ours, x, 1, streams()))
    other = gradients(lambda ours: objectives.wake_sleep(ours, x + 1, 1, streams()))
    for name in one:  # the encoder never sees the data
        assert torch.equal(one[name], other[name]) == name.startswith("encoder")

    wake = gradients(lambda ours: reparameterised_wake(ours, x))
    assert wake["encoder.mean.weight"].abs().max() > 0.1  # is kept from the encoder
    torch.testing.assert_close(wake["decoder.mean.weight"], one["decoder.mean.weight"])


def reparameterised_wake(ours, x):
    q = networks.encode(ours, x)
    return densities.log_likelihood(ours, x, networks.draw(q, networks.normals(streams(), 3, 1, 2)))


def known_posterior():
    """Give a linear model of one code whose encoder is the exact posterior."""
    weight = torch.tensor([[[1.0, -2.0, 0.5]]])
    bias, variance = torch.tensor([[[0.3, 0.0, -1.0]]]), 0.5
    precision = 1 + (weight * weight).sum() / variance
    to_mean = weight.transpose(1, 2) / variance / precision
    return {
        "encoder.mean.weight": to_mean,
        "encoder.mean.bias": -bias @ to_mean,
        "encoder.log_variance.weight": torch.zeros(1, 3, 1),
        "encoder.log_variance.bias": -precision.log().view(1, 1, 1),
        "decoder.mean.weight": weight,
        "decoder.mean.bias": bias,
        "decoder.log_variance": torch.full((1, 1, 1), math.log(variance)),
    }


def mean_gradients(parameters):
    """Give wake-sleep's mean gradients over 400 groups of 100 data points, over their errors."""
    truth = known_posterior()
    noise = [determinism.generator(0, "data")]
    z = networks.normals(noise, 40000, 1)
    x = networks.sample_pixels(truth, z, noise)[0].view(400, 100, 3)
    values = {n: v.repeat_interleave(400, dim=0).requires_grad_() for n, v in parameters.items()}
    same = [determinism.generator(1, "noise")] * 400  # one stream drawn from 400 times
    reached = objectives.wake_sleep(values, x, 1, same).mean(dim=1).sum()
    actual = torch.autograd.grad(reached, list(values.values()))
    rows = torch.cat([ours.flatten(1) for ours in actual], dim=1)
    scores = rows.mean(dim=0) / (rows.std(dim=0, correction=1) / 20)
    return dict(zip(values, scores.split([ours[0].numel() for ours in actual]), strict=True))


def test_both_phases_rest_at_the_truth():
    for ours in mean_gradients(known_posterior()).values():
        assert ours.abs().max() < 4


@pytest.mark.parametrize("name", ["encoder.mean.bias", "decoder.mean.weight"])
def test_and_not_beside_it(name):
    parameters = known_posterior()
    parameters[name] = parameters[name] + 0.1
    assert (mean_gradients(parameters)[name] < -8).all()


# The plain autoencoder


def test_an_autoencoder_sees_the_mean_and_never_the_variance():
    parameters, x = setting()
    actual = objectives.autoencoder(parameters, x, 1, [])
    expected = densities.log_likelihood(parameters, x, networks.encode(parameters, x).mean)
    assert torch.equal(actual, expected)
    parameters["encoder.log_variance.bias"] += 3.0
    assert torch.equal(objectives.autoencoder(parameters, x, 1, []), expected)
