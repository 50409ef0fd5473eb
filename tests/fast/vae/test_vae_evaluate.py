import contextlib
import dataclasses
import io
import json
import math
import re
import runpy
import sys
import types
from unittest import mock

import pytest
import torch
from torch import distributions

from pr12.core import determinism, tensor_files
from pr12.vae import evaluate, evaluate_likelihood
from pr12.vae.data.images import load as read_images
from pr12.vae.model import densities, estimators, evaluation, networks, saved_nets
from pr12.workflow.errors import UserError

ARCHITECTURE = networks.Architecture(6, (5,), 2, "bernoulli")
CHECK = evaluate.Params(bound_samples=4, bound_examples=100, train_examples=None, batch=7)
ESTIMATE = evaluate_likelihood.Params(
    estimators=("posterior", "importance", "annealed"),
    points=5,
    train_examples=None,
    binarise=False,
    batch=4,
    posterior_samples=50,
    leapfrog=4,
    burn_in=60,
    step_size=0.3,
    importance_samples=(1, 2000),
    chunk=100,
    temperatures=60,
    chains=16,
)


@pytest.fixture
def x():
    return torch.rand(20, 6, generator=determinism.generator(0, "x"))


def saved(seeds=(0, 1), objective="sgvb_b", std=1.0, moments=1):
    parameters = networks.initial(ARCHITECTURE, seeds, "normal", std)
    stacked = {name: torch.stack([value] * moments) for name, value in parameters.items()}
    return saved_nets.Saved(
        ARCHITECTURE, objective, tuple(range(100, 100 * moments + 1, 100)), stacked
    )


def test_the_bound_is_that_of_torch_distributions(x):
    parameters = saved_nets.at(saved(seeds=(0,)), -1)
    bound, divergence, _ = evaluation.elbo(parameters, x, samples=3000, batch=20)
    q = networks.encode(parameters, x)
    approximate = distributions.Normal(q.mean[0], torch.exp(q.log_variance[0] / 2))
    kl = distributions.kl_divergence(approximate, distributions.Normal(0.0, 1.0)).sum(dim=-1)
    torch.manual_seed(1)
    z = approximate.sample((3000,))
    h = torch.tanh(z @ parameters["decoder.0.weight"][0] + parameters["decoder.0.bias"][0])
    logits = h @ parameters["decoder.mean.weight"][0] + parameters["decoder.mean.bias"][0]
    pixels = distributions.Bernoulli(logits=logits, validate_args=False)
    expected = pixels.log_prob(x).sum(dim=-1).mean() - kl.mean()
    assert divergence.item() == pytest.approx(kl.mean().item(), rel=1e-5)
    assert bound.item() == pytest.approx(expected.item(), abs=0.05)


def test_batches_and_replicas_do_not_change_a_bound(x):
    together = evaluation.elbo(saved_nets.at(saved(seeds=(3, 1)), -1), x, samples=2, batch=20)
    alone = evaluation.elbo(saved_nets.at(saved(seeds=(1,)), -1), x, samples=2, batch=20)
    for both, one in zip(together, alone, strict=True):
        torch.testing.assert_close(both[1:], one)
    parted = evaluation.reconstruction(saved_nets.at(saved(), -1), x, batch=3)
    whole = evaluation.reconstruction(saved_nets.at(saved(), -1), x, batch=20)
    torch.testing.assert_close(parted, whole)


def test_metrics_hold_every_moment_and_the_parts_of_the_bound(x):
    actual = evaluate.metrics(saved(moments=2), [("train", x[:9]), ("test", x[9:])], CHECK)
    assert actual["test/elbo_100_nats"] == actual["test/elbo_200_nats"] == actual["test/elbo_nats"]
    for replica in range(2):
        parts = actual["test/expected_nll_nats"][replica] + actual["test/kl_nats"][replica]
        assert parts == pytest.approx(-actual["test/elbo_nats"][replica], rel=1e-5)
        gap = actual["train/elbo_nats"][replica] - actual["test/elbo_nats"][replica]
        assert actual["test/gap_nats"][replica] == pytest.approx(gap)


def test_a_code_that_follows_the_data_is_active_and_a_constant_one_is_not(x):
    parameters = saved_nets.at(saved(seeds=(0,)), -1)
    parameters["encoder.mean.weight"][0, :, 1] = 0.0
    _, _, variances = evaluation.elbo(parameters, x, samples=1, batch=20)
    assert (variances > evaluate.ACTIVE).tolist() == [[True, False]]


def test_an_autoencoder_has_no_bound(x):
    actual = evaluate.metrics(saved(objective="autoencoder"), [("train", x), ("test", x)], CHECK)
    assert not [key for key in actual if "elbo" in key]
    assert actual["test/reconstruction_mse"] == actual["train/reconstruction_mse"]


def quadrature(parameters, x):
    """Integrate p(x|z) p(z) over a fine grid of the plane."""
    axis = torch.linspace(-6, 6, 241, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis).expand(len(x), -1, -1)[None]
    doubles = {name: value.double() for name, value in parameters.items()}
    log_joint = densities.log_likelihood(doubles, x.double(), z) + densities.log_prior(z)
    return log_joint.logsumexp(dim=-1) + 2 * math.log(12 / 240)


def test_all_three_estimators_give_the_integral(x):
    kept = saved(seeds=(0,), std=0.5)
    exact = quadrature(saved_nets.at(kept, -1), x[:5]).mean().item()
    actual = evaluate_likelihood.metrics(kept, x[:5], x[:5], ESTIMATE)
    assert actual["test/likelihood_posterior_nats"][0] == pytest.approx(exact, abs=0.15)
    assert actual["test/likelihood_importance_k2000_nats"][0] == pytest.approx(exact, abs=0.03)
    assert actual["test/likelihood_annealed_nats"][0] == pytest.approx(exact, abs=0.03)
    assert actual["test/likelihood_importance_k1_nats"][0] < exact - 0.02
    assert actual["test/nll_importance_nats"] == [
        -actual["test/likelihood_importance_k2000_nats"][0]
    ]
    assert actual["test/gap_annealed_importance_nats"][0] < 0.2


def test_an_estimate_that_is_not_finite_is_told():
    with pytest.raises(
        UserError, match=r"1 of 2 estimates of test/x are not finite; raise burn_in"
    ):
        estimators.mean(torch.tensor([[0.0, math.nan]]), "test/x")


def write_split(path, images):
    tensors = {"images": images, "labels": torch.zeros(len(images), dtype=torch.int64)}
    tensor_files.write_tensors(path, tensors, {"maximum": "255"})


def step_arguments(folder, module, params, **names):
    given = [f"{name}={folder / file}" for name, file in names.items()]
    stderr, code = io.StringIO(), 0
    loaded = sys.modules.pop(module, None)  # runpy warns of a module that it runs once more
    with (
        mock.patch.object(sys, "argv", [module, "--params", json.dumps(params), *given]),
        contextlib.redirect_stderr(stderr),
    ):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as stopped:
            code = stopped.code
        finally:
            if loaded:
                sys.modules[module] = loaded
    return types.SimpleNamespace(returncode=code, stderr=stderr.getvalue())


def test_a_model_of_other_images_is_refused_in_one_sentence(tmp_path):
    saved_nets.save(tmp_path / "model.safetensors", saved())
    for name in ("train", "test"):
        write_split(tmp_path / f"{name}.safetensors", torch.zeros(3, 2, 4, dtype=torch.uint8))
    done = step_arguments(
        tmp_path,
        "pr12.vae.evaluate",
        {"bound_samples": 1, "bound_examples": 3, "train_examples": None, "batch": 2},
        model="model.safetensors",
        train="train.safetensors",
        test="test.safetensors",
        metrics="metrics.json",
    )
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "trained on images of 6 pixels and the data have 8" in line
    assert not (tmp_path / "metrics.json").exists()


@pytest.mark.parametrize("change", ["decoder.mean.weight", "decoder.0.bias", "surplus"])
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, change):
    kept = saved()
    kept.parameters[change] = torch.zeros(1, 2, 3)
    saved_nets.save(tmp_path / "model.safetensors", kept)
    with pytest.raises(UserError, match=rf"another architecture.*at {change}.*run its training"):
        saved_nets.load(tmp_path / "model.safetensors")


def test_a_file_that_is_no_model_is_refused(tmp_path):
    write_split(tmp_path / "split.safetensors", torch.zeros(3, 2, 4, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"is no model of vae"):
        saved_nets.load(tmp_path / "split.safetensors")


@pytest.mark.parametrize(
    ("images", "maximum", "sentence"),
    [
        (torch.full((2, 1, 2), math.nan), "1", "image 0 of .* has pixels that are no numbers"),
        (torch.tensor([[[0.0, 2.0]]] * 2), "1", r"pixels from 0 to 2; they must lie in \[0, 1\]"),
        (torch.zeros(1, 1, 2), "1", "has 1 images; at least two are needed"),
    ],
)
def test_images_that_cannot_be_judged_on_are_refused(tmp_path, images, maximum, sentence):
    path = tmp_path / "test.safetensors"
    tensors = {"images": images, "labels": torch.zeros(len(images), dtype=torch.int64)}
    tensor_files.write_tensors(path, tensors, {"maximum": maximum})
    with pytest.raises(UserError, match=sentence):
        read_images(path)


def likelihood_step(folder, kept, **changes):
    saved_nets.save(folder / "model.safetensors", kept)
    for name in ("train", "test"):
        write_split(folder / f"{name}.safetensors", torch.zeros(9, 2, 3, dtype=torch.uint8))
    params = dataclasses.asdict(ESTIMATE) | changes
    names = {name: f"{name}.safetensors" for name in ("model", "train", "test")}
    done = step_arguments(
        folder, "pr12.vae.evaluate_likelihood", params, metrics="metrics.json", **names
    )
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return done.returncode, errors


@pytest.mark.parametrize(
    ("objective", "changes", "sentence"),
    [
        ("autoencoder", {}, "a plain autoencoder has no prior and hence no likelihood"),
        ("sgvb_b", {"importance_samples": [50, 5]}, r"importance_samples is \[50, 5\]; .* rising"),
        ("sgvb_b", {"estimators": []}, "estimators is empty; name posterior"),
    ],
)
def test_a_likelihood_that_does_not_exist_is_refused(tmp_path, objective, changes, sentence):
    code, errors = likelihood_step(tmp_path, saved(objective=objective), **changes)
    assert code == 2
    assert len(errors) == 1
    assert re.search(sentence, errors[0])


@pytest.mark.slow
def test_training_likelihoods_are_of_images_that_were_learnt_from(tmp_path, x):
    # The second half of the training data is far from the model: it must not be counted
    kept = saved(std=0.5)
    images = torch.cat([x[:4].round(), 1 - x[:4].round()]).view(8, 2, 3)
    saved_nets.save(tmp_path / "model.safetensors", kept)
    for name, part in (("train", images), ("test", images[:4])):
        write_split(tmp_path / f"{name}.safetensors", (255 * part).byte())
    params = dataclasses.asdict(ESTIMATE) | {"train_examples": 4, "estimators": ["posterior"]}
    names = {name: f"{name}.safetensors" for name in ("model", "train", "test")}
    done = step_arguments(
        tmp_path, "pr12.vae.evaluate_likelihood", params, metrics="metrics.json", **names
    )
    assert done.returncode == 0, done.stderr
    actual = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    assert actual["train/likelihood_posterior_nats"] == actual["test/likelihood_posterior_nats"]
