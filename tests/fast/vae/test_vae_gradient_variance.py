import json
import sys

import pytest
import torch

from pr12.core import determinism, tensor_files
from pr12.vae import gradient_variance
from pr12.vae.gradient_variance import ESTIMATORS, gradient_moments
from pr12.vae.model import networks, objectives, saved_nets
from pr12.workflow import step
from pr12.workflow.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def setting(seeds=(0, 1), latent_dim=2, likelihood="bernoulli"):
    architecture = networks.Architecture(6, (4,), latent_dim, likelihood)
    parameters = networks.initial(architecture, seeds, "normal", 0.5)
    return parameters, torch.rand(8, 6, generator=torch.Generator().manual_seed(0)).round()


def streams(seeds=(0, 1), purpose="test"):
    return [determinism.generator(seed, purpose) for seed in seeds]


def drawn_one_by_one(objective, parameters, x, samples, draws, generators):
    """Give every draw's gradients, shape (draws, S, P)."""
    names = [name for name in parameters if name.startswith("encoder")]
    ours = {name: value.clone().requires_grad_() for name, value in parameters.items()}
    rows = []
    for _ in range(draws):
        reached = objective(ours, x, samples, generators).mean(dim=1).sum()
        actual = torch.autograd.grad(reached, [ours[name] for name in names])
        rows.append(torch.cat([part.flatten(1) for part in actual], dim=1))
    return torch.stack(rows).double()


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("draws", [2, 10, 23])
def test_moments_are_those_of_gradients_drawn_one_by_one(name, draws):
    parameters, x = setting()
    rows = drawn_one_by_one(ESTIMATORS[name], parameters, x, 3, draws, streams())
    mean, variance = gradient_moments(ESTIMATORS[name], parameters, x, 3, draws, streams())
    torch.testing.assert_close(mean, rows.mean(dim=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        variance, rows.var(dim=0, correction=1).sum(dim=1), rtol=1e-4, atol=0
    )


def test_all_three_have_the_same_mean():
    parameters, x = setting()
    draws = 1000
    actual = {
        name: gradient_moments(
            objective, parameters, x, 5, draws, streams(purpose=f"mean of {name}")
        )
        for name, objective in ESTIMATORS.items()
    }
    exact, _ = gradient_moments(objectives.sgvb_b, parameters, x, 500, 100, streams())
    for mean, variance in actual.values():
        # The squared distance to the truth has the expectation variance / draws
        distance = ((mean - exact) ** 2).sum(dim=1)
        assert (distance < 6 * variance / draws).all()
    b, score = actual["b"][1], actual["score"][1]
    assert (exact.square().sum(dim=1) > 60 * score / draws).all()  # a wrong mean would be seen
    assert (score > 10 * b).all()


@pytest.mark.parametrize("name", ESTIMATORS)
def test_l_samples_divide_the_variance_by_l(name):
    parameters, x = setting()
    one, ten = (
        gradient_moments(ESTIMATORS[name], parameters, x, samples, 500, streams())[1]
        for samples in (1, 10)
    )
    torch.testing.assert_close(one / ten, torch.full((2,), 10.0).double(), rtol=0.25, atol=0)


def test_a_replica_alone_is_as_in_the_stack():
    parameters, x = setting()
    for objective in ESTIMATORS.values():
        together = gradient_moments(objective, parameters, x, 2, 15, streams())
        ours = {name: value[1:] for name, value in parameters.items()}
        alone = gradient_moments(objective, ours, x, 2, 15, streams((1,)))
        for one, all_ in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], all_[1], rtol=1e-5, atol=1e-7)


def test_the_score_function_by_hand():
    # q = N(m, 1) for one code, m the encoder's bias: d log q / dm = z - m
    parameters, x = setting(seeds=(0,), latent_dim=1)
    for name in ("encoder.mean.weight", "encoder.log_variance.weight", "encoder.log_variance.bias"):
        parameters[name].zero_()
    actual, _ = gradient_moments(
        gradient_variance.score_function, parameters, x, 1, 2, streams((0,))
    )
    noise = streams((0,))
    expected = []
    for _ in range(2):
        q = networks.encode(parameters, x)
        z = networks.draw(q, networks.normals(noise, 8, 1, 1))
        f = objectives.log_weights(parameters, x, q, z)
        expected.append((f * (z - q.mean.unsqueeze(2)).squeeze(3)).mean())
    names = [name for name in parameters if name.startswith("encoder")]
    sizes = [parameters[name].numel() for name in names]
    ours = dict(zip(names, actual[0].split(sizes), strict=True))["encoder.mean.bias"]
    assert ours.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)


def test_the_score_function_teaches_the_decoder_nothing():
    parameters, x = setting()
    ours = {name: value.requires_grad_() for name, value in parameters.items()}
    reached = gradient_variance.score_function(ours, x, 1, streams()).sum()
    actual = torch.autograd.grad(reached, list(ours.values()), allow_unused=True)
    for name, gradient in zip(ours, actual, strict=True):
        assert (gradient is None) == name.startswith("decoder")


# The step


def write(folder, latent_dim, objective="sgvb_b"):
    parameters, _ = setting(latent_dim=latent_dim)
    moments = {n: torch.stack([v, 1.5 * v]) for n, v in parameters.items()}
    if objective == "mcem":
        moments = {n: v for n, v in moments.items() if n.startswith("decoder")}
    architecture = networks.Architecture(6, (4,), latent_dim, "bernoulli")
    saved_nets.save(
        folder / f"z{latent_dim}", saved_nets.Saved(architecture, objective, (1, 2), moments)
    )


def write_images(folder):
    pixels = torch.randint(17, (9, 2, 3), generator=torch.Generator().manual_seed(5)).byte()
    tensors = {"images": pixels, "labels": torch.zeros(9, dtype=torch.int64)}
    tensor_files.write_tensors(folder / "train", tensors, {"maximum": "16"})
    return pixels.flatten(1) / 16


def measured(folder, names, **changed):
    values = {"moment": -1, "draws": 5, "samples": (1, 3), "examples": 7} | changed
    paths = {name: folder / name for name in ("train", *names, "metrics")}
    params, module = gradient_variance.Params(**values), "pr12.vae.gradient_variance"
    job = step.Job(params, paths, ("train", *names), module, "command")
    gradient_variance.main(job)
    return json.loads((folder / "metrics").read_text())["metrics"]


def test_the_step_measures_every_model_that_is_given(tmp_path):
    x = write_images(tmp_path)
    for latent_dim in (3, 10):
        write(tmp_path, latent_dim)
    actual = measured(tmp_path, ("z10", "z3"))
    assert sorted(actual) == sorted(
        f"z{z}/gradient_variance_{name}_L{samples}"
        for z in (3, 10)
        for name in ("a", "b", "score")
        for samples in (1, 3)
    )
    parameters = saved_nets.at(saved_nets.load(tmp_path / "z3"), -1)
    noise = streams(purpose="gradient")
    _, variance = gradient_moments(objectives.sgvb_a, parameters, x[:7], 3, 5, noise)
    assert actual["z3/gradient_variance_a_L3"] == pytest.approx(variance.tolist())


def test_the_moment_is_the_one_asked_for(tmp_path):
    write_images(tmp_path)
    write(tmp_path, 3)
    first, last, end = (measured(tmp_path, ["z3"], moment=moment) for moment in (0, 1, -1))
    assert first != last == end


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"moment": 2}, "moment is 2; the model was kept at 2 moments only"),
        ({"moment": -3}, "kept at 2 moments only"),
        ({"examples": 10}, "train has 9 images; examples asks 10"),
    ],
    ids=str,
)
def test_what_is_not_there_is_told(tmp_path, changed, sentence):
    write_images(tmp_path)
    write(tmp_path, 3)
    with pytest.raises(UserError, match=sentence):
        measured(tmp_path, ["z3"], **changed)


def test_no_model_and_one_without_encoder_are_refused(tmp_path):
    write_images(tmp_path)
    with pytest.raises(UserError, match="no model is given; add one or more of z3, z5"):
        measured(tmp_path, [])
    write(tmp_path, 5, "mcem")
    with pytest.raises(UserError, match="a model of mcem has no encoder"):
        measured(tmp_path, ["z5"])


def test_one_draw_has_no_variance(capsys, monkeypatch):
    values = {"moment": -1, "draws": 1, "samples": [1], "examples": 1}
    monkeypatch.setattr(sys, "argv", ["step", "--params", json.dumps(values)])
    with pytest.raises(SystemExit), step.start(gradient_variance.Params):
        pass
    assert "draws is 1; it must be a number of at least 2" in capsys.readouterr().err
