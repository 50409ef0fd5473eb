import json

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA

from pr12.core import determinism, tensor_files
from pr12.vae import evaluate_linear, train
from pr12.vae.model import densities, networks, saved_nets
from pr12.workflow import step
from pr12.workflow.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def data(n=400, seed=0):
    """Give data of two strong directions in six pixels, one of which is constant."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 6, generator=torch.Generator().manual_seed(9))
    x = torch.randn(n, 2, generator=generator) @ weight
    x = x + 0.3 * torch.randn(n, 6, generator=generator) + 1
    x[:, 3] = 0.0
    return x


def parameters(seeds=(0, 1), latent_dim=2):
    ours = networks.initial(
        networks.Architecture(6, (), latent_dim, "linear"), seeds, "normal", 0.7
    )
    ours["decoder.log_variance"] += torch.tensor([0.4, -1.1])[: len(seeds), None, None]
    return ours


def optimum(x, latent_dim=2):
    """Give probabilistic PCA's maximum as the parameters of a model (Tipping & Bishop 1999)."""
    fitted = PCA(n_components=latent_dim, svd_solver="full").fit(x.double().numpy())
    variance = fitted.noise_variance_
    scales = np.sqrt(fitted.explained_variance_ - variance)
    weight = torch.tensor(scales[:, None] * fitted.components_)[None]
    bias = torch.tensor(fitted.mean_)[None, None]
    precision = 1 + (weight * weight).sum(dim=2) / variance
    to_mean = weight.transpose(1, 2) / variance / precision
    return {
        "encoder.mean.weight": to_mean,
        "encoder.mean.bias": -bias @ to_mean,
        "encoder.log_variance.weight": torch.zeros(1, x.shape[1], latent_dim).double(),
        "encoder.log_variance.bias": -precision.log()[None],
        "decoder.mean.weight": weight,
        "decoder.mean.bias": bias,
        "decoder.log_variance": torch.tensor(np.log(variance)).view(1, 1, 1),
    }


def saved(ours, objective="sgvb_b", likelihood="linear", hidden=()):
    latent_dim, pixels = ours["decoder.mean.weight"].shape[1:]
    architecture = networks.Architecture(pixels, hidden, latent_dim, likelihood)
    return saved_nets.Saved(
        architecture, objective, (1,), {n: v.float()[None] for n, v in ours.items()}
    )


def test_the_likelihood_is_scipys():
    ours, x = parameters(), data(20)
    actual = evaluate_linear.log_marginal_likelihood(ours, x)
    assert actual.dtype == torch.float64
    for replica in range(2):
        weight = ours["decoder.mean.weight"][replica].double().numpy()
        variance = ours["decoder.log_variance"][replica].double().exp().item()
        covariance = weight.T @ weight + variance * np.eye(6)
        mean = ours["decoder.mean.bias"][replica, 0].double().numpy()
        expected = multivariate_normal(mean, covariance).logpdf(x.double().numpy()).mean()
        assert actual[replica].item() == pytest.approx(expected, rel=1e-9)


def test_the_bound_is_the_mean_over_draws():
    ours, x = parameters(), data(5)
    q = networks.encode(ours, x)
    z = networks.draw(
        q, networks.normals([determinism.generator(s, "test") for s in (0, 1)], 5, 10000, 2)
    )
    values = (densities.log_likelihood(ours, x, z) - densities.kl(q).unsqueeze(2)).double()
    error = values.std(dim=2, correction=1).max().item() / (5 * 10000) ** 0.5
    expected = values.mean(dim=(1, 2))
    torch.testing.assert_close(evaluate_linear.elbo(ours, x), expected, rtol=0, atol=4 * error)


def test_the_bound_is_below_the_likelihood():
    ours, x = parameters(), data()
    gap = evaluate_linear.log_marginal_likelihood(ours, x) - evaluate_linear.elbo(ours, x)
    assert (gap > 1).all()


def test_at_the_optimum_bound_and_likelihood_are_pcas_score():
    x = data()
    ours = optimum(x)
    score, _ = evaluate_linear.pca_scores(2, x, x)
    assert evaluate_linear.log_marginal_likelihood(ours, x).item() == pytest.approx(score, abs=1e-6)
    assert evaluate_linear.elbo(ours, x).item() == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize(
    "name", ["decoder.mean.weight", "decoder.mean.bias", "decoder.log_variance"]
)
@pytest.mark.parametrize("change", [-0.1, 0.1])
def test_beside_the_optimum_the_likelihood_is_lower(name, change):
    x = data()
    ours = optimum(x)
    ours[name] = ours[name] + change
    score, _ = evaluate_linear.pca_scores(2, x, x)
    assert evaluate_linear.log_marginal_likelihood(ours, x).item() < score - 1e-3


def test_a_rotated_code_has_the_same_likelihood_and_a_lower_bound():
    x = data()
    ours = optimum(x)
    c, s = np.cos(0.5), np.sin(0.5)
    turn = torch.tensor([[c, -s], [s, c]])
    score, _ = evaluate_linear.pca_scores(2, x, x)
    ours["decoder.mean.weight"] = turn @ ours["decoder.mean.weight"]
    ours["encoder.mean.weight"] = ours["encoder.mean.weight"] @ turn.T
    ours["encoder.mean.bias"] = ours["encoder.mean.bias"] @ turn.T
    assert evaluate_linear.log_marginal_likelihood(ours, x).item() == pytest.approx(score, abs=1e-6)
    assert evaluate_linear.elbo(ours, x).item() < score - 0.01  # its posterior is not diagonal


def test_pcas_score_is_near_the_exact_maximum():
    x = data().double().numpy()
    values = np.linalg.eigvalsh(np.cov(x.T, ddof=0))[::-1]  # maximum likelihood divides by N
    noise = values[2:].mean()
    expected = -0.5 * (np.log(values[:2]).sum() + 4 * np.log(noise) + 6 * (1 + np.log(2 * np.pi)))
    score, _ = evaluate_linear.pca_scores(2, data(), data())
    assert expected - 2 * 6 / (4 * 400**2) < score < expected


def test_the_test_score_is_of_the_fit_to_training_data():
    fitted = PCA(n_components=2, svd_solver="full").fit(data().double().numpy())
    expected = [fitted.score(ours.double().numpy()) for ours in (data(), data(50, seed=1))]
    actual = evaluate_linear.pca_scores(2, data(), data(50, seed=1))
    assert actual == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("latent_dim", [5, 6, 7])
def test_components_that_span_the_data_are_refused(latent_dim):
    # 5 pixels vary: with 5 components the noise of the sixth would have variance 0
    with pytest.raises(UserError, match="lower latent_dim"):
        evaluate_linear.pca_scores(latent_dim, data(), data())
    assert np.isfinite(evaluate_linear.pca_scores(4, data(), data())).all()


@pytest.mark.parametrize(
    "changed", [{"likelihood": "gaussian"}, {"hidden": (3,)}, {"objective": "mcem"}], ids=str
)
def test_a_model_that_is_not_linear_is_refused(changed):
    with pytest.raises(UserError, match="not a linear encoder and decoder"):
        evaluate_linear.metrics(saved(parameters(), **changed), data(), data())


def test_the_step_writes_gaps_to_pca_on_both_splits(tmp_path):
    pixels = {
        name: (16 * torch.sigmoid(data(n, seed))).round().byte().view(n, 2, 3)
        for seed, (name, n) in enumerate((("train", 60), ("test", 40)))
    }
    for name, ours in pixels.items():
        tensors = {"images": ours, "labels": torch.zeros(len(ours), dtype=torch.int64)}
        tensor_files.write_tensors(tmp_path / name, tensors, {"maximum": "16"})
    saved_nets.save(tmp_path / "model", saved(parameters()))
    reads = ("model", "train", "test")
    paths = {name: tmp_path / name for name in (*reads, "metrics")}
    params, module = evaluate_linear.Params(), "pr12.vae.evaluate_linear"
    evaluate_linear.main(step.Job(params, paths, reads, module, "command"))
    actual = json.loads((tmp_path / "metrics").read_text())["metrics"]
    assert len(actual) == 10
    scores = evaluate_linear.pca_scores(2, *(ours.flatten(1) / 16 for ours in pixels.values()))
    for name, score in zip(("train", "test"), scores, strict=True):
        x = pixels[name].flatten(1) / 16
        likelihood = evaluate_linear.log_marginal_likelihood(parameters(), x).tolist()
        bound = evaluate_linear.elbo(parameters(), x).tolist()
        assert actual[f"{name}/likelihood_nats"] == pytest.approx(likelihood)
        assert actual[f"{name}/elbo_nats"] == pytest.approx(bound)
        assert actual[f"{name}/likelihood_pca_nats"] == pytest.approx([score] * 2)
        assert actual[f"{name}/gap_pca_nats"] == pytest.approx([score - v for v in likelihood])
        assert actual[f"{name}/gap_elbo_nats"] == pytest.approx([score - v for v in bound])


def test_training_the_bound_finds_principal_components():
    params = train.Params(
        seeds=(0, 1), images="digits", objective="sgvb_b", samples=1, hidden=(), width_scale=1.0,
        latent_dim=2, likelihood="linear", binarise=False, train_examples=None, batch_size=100,
        snapshots=(80000,), init="normal", init_std=0.1, weight_prior=False, optimiser="adam",
        learning_rate=0.03, schedule="linear", adam_beta1=0.9, adam_epsilon=1e-8,
        matmul_precision="highest",
    )  # fmt: skip
    *_, state = train.train(params, data())
    actual = evaluate_linear.metrics(saved(state["parameters"]), data(), data(seed=1))
    for replica in range(2):
        assert -1e-4 < actual["train/gap_pca_nats"][replica] < 0.05
        assert 0 < actual["train/gap_elbo_nats"][replica] < 0.1
