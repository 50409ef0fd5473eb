import dataclasses
import json
import runpy
import sys

import pytest
import torch

from pr12.core import checkpoints, determinism, tensor_files
from pr12.vae import evaluate_linear, mcem
from pr12.vae.model import densities, networks, saved_nets
from pr12.workflow import files
from pr12.workflow.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PARAMS = mcem.Params(
    seeds=(0, 1),
    images="digits",
    hidden=(6,),
    width_scale=1.0,
    latent_dim=2,
    likelihood="bernoulli",
    train_examples=None,
    batch_size=10,
    snapshots=(60, 300, 420),  # after minibatches 1, 5 and 7
    init="normal",
    init_std=0.1,
    weight_prior=True,
    optimiser="adam",
    learning_rate=0.01,
    adam_beta1=0.9,
    adam_epsilon=1e-8,
    matmul_precision="highest",
    leapfrog_steps=3,
    weight_updates=2,
)


def change(**values):
    return dataclasses.replace(PARAMS, **values)


def images(n=35):
    """Give random pixels in 255ths: three batches of 10 and a rest."""
    x = torch.rand(n, 4, 4, generator=torch.Generator().manual_seed(0))
    return (x * 255).round() / 255


def states(params, state=None):
    return mcem.train(params, images().flatten(1), state)


def last(params, **names):
    *_, state = states(params, **names)
    return state


@pytest.fixture(scope="module")
def whole():
    return last(PARAMS)


def linear(**changed):
    sizes = {"hidden": (), "likelihood": "linear", "weight_prior": False}
    return change(**(sizes | changed))


@pytest.mark.slow
def test_a_linear_decoder_reaches_the_maximum_of_the_likelihood():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(2, 6, generator=generator)
    x = torch.randn(300, 2, generator=generator) @ weight + 1
    x = x + 0.5 * torch.randn(300, 6, generator=generator)
    params = linear(
        batch_size=100, leapfrog_steps=10, weight_updates=5, snapshots=(1600, 1600 * 250),
        optimiser="adagrad", learning_rate=0.1,
    )  # fmt: skip
    *_, state = mcem.train(params, x)
    maximum, _ = evaluate_linear.pca_scores(2, x, x)
    begin, end = (evaluate_linear.log_marginal_likelihood(ours, x) for ours in state["snapshots"])
    assert (begin < maximum - 2).all()
    assert (end > maximum - 0.05).all()
    assert (end < maximum + 1e-3).all()


def test_the_step_size_is_brought_to_90_percent_acceptance():
    x = 2 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    params = linear(
        batch_size=100, leapfrog_steps=5, weight_updates=1, snapshots=(700 * 300,),
        learning_rate=1e-30, optimiser="adagrad",
    )  # fmt: skip
    *_, state = mcem.train(params, x)
    accepted = torch.tensor([row["train/acceptance"] for row in state["history"][25:]])
    assert (accepted.mean(dim=0) - 0.9).abs().max() < 0.03
    assert (state["step_size"] > 3 * mcem.STEP_SIZE).all()


def test_codes_of_a_decoder_that_stands_still_are_the_posteriors():
    x = torch.randn(1, 6, generator=torch.Generator().manual_seed(2)).repeat(2000, 1)
    params = linear(
        batch_size=2000, leapfrog_steps=10, weight_updates=1, snapshots=(2000 * 12 * 100,),
        learning_rate=1e-30, optimiser="adagrad", init_std=0.7, seeds=(3,),
    )  # fmt: skip
    *_, state = mcem.train(params, x)
    weight = state["parameters"]["decoder.mean.weight"][0].double()
    bias = state["parameters"]["decoder.mean.bias"][0].double()
    covariance = torch.linalg.inv(torch.eye(2) + weight @ weight.T)  # sigma is 1
    mean = covariance @ weight @ (x[0].double() - bias[0])
    codes = state["codes"][0].double()
    assert ((codes.mean(dim=0) - mean).abs() < 4 * (covariance.diag() / 2000).sqrt()).all()
    torch.testing.assert_close(torch.cov(codes.T, correction=1), covariance, rtol=0.1, atol=0.03)
    assert covariance.diag().max() < 0.7  # it is not the prior


@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_learns_the_same_alone_and_in_a_stack(whole, seed):
    alone = last(change(seeds=(seed,)))
    for name, value in alone["parameters"].items():
        torch.testing.assert_close(value[0], whole["parameters"][name][seed], rtol=0, atol=1e-5)
    torch.testing.assert_close(alone["codes"][0], whole["codes"][seed], rtol=0, atol=1e-5)
    assert alone["step_size"][0].item() == pytest.approx(whole["step_size"][seed].item())


@pytest.mark.parametrize("row", range(1, 7))
def test_going_on_after_any_row_is_as_if_nothing_had_happened(whole, tmp_path, row):
    for number, state in enumerate(states(PARAMS), start=1):
        if number == row:
            checkpoints.save_state(tmp_path / "resume.pt", state, "digest")
            break
    actual = last(PARAMS, state=checkpoints.load_state(tmp_path / "resume.pt", "digest"))
    assert actual["history"] == whole["history"]
    assert actual["samples_seen"] == whole["samples_seen"]
    assert torch.equal(actual["codes"], whole["codes"])
    for ours, expected in zip(actual["snapshots"], whole["snapshots"], strict=True):
        assert all(torch.equal(ours[name], value) for name, value in expected.items())


@pytest.mark.parametrize(
    "changed",
    [
        {"hidden": (7,)},
        {"width_scale": 0.5},
        {"latent_dim": 3},
        {"likelihood": "gaussian"},
        {"batch_size": 11},
        {"init": "glorot"},
        {"init_std": 0.2},
        {"weight_prior": False},
        {"optimiser": "adagrad"},
        {"learning_rate": 0.02},
        {"adam_beta1": 0.5},
        {"adam_epsilon": 0.1},
        {"leapfrog_steps": 2},
        {"weight_updates": 3},
        {"seeds": (0, 2)},
    ],
    ids=str,
)
def test_each_param_changes_what_is_learnt(whole, changed):
    other = last(change(**changed))
    actual, expected = (s["history"][-1]["train/objective_nats"] for s in (other, whole))
    assert actual != expected


def test_every_evaluation_of_the_decoder_is_counted(monkeypatch, whole):
    counts = []
    likelihood = densities.log_likelihood

    def watched(parameters, x, z):
        counts.append(x.shape[1])
        return likelihood(parameters, x, z)

    monkeypatch.setattr(densities, "log_likelihood", watched)
    for row in states(PARAMS):
        assert sum(counts) == row["history"][-1]["samples_seen"]
    assert row["samples_seen"] == whole["samples_seen"] == [60, 300, 420]


def test_parameters_are_kept_at_every_snapshot(whole):
    rows = list(states(PARAMS))
    assert len(rows) == 7
    for place, minibatch in enumerate((1, 5, 7)):
        for name, value in rows[minibatch - 1]["parameters"].items():
            assert torch.equal(whole["snapshots"][place][name], value)


def test_an_epoch_moves_the_codes_of_whole_batches_of_different_images():
    rows = [state["codes"] for state in states(change(snapshots=(360,), learning_rate=1e-30))]
    prior = [determinism.generator(seed, "prior") for seed in (0, 1)]
    before = networks.normals(prior, 35, 2)
    moved = [(ours != other).any(dim=2) for ours, other in zip(rows, [before, *rows], strict=False)]
    for replica in range(2):
        for epoch in (moved[:3], moved[3:]):
            visits = torch.stack([ours[replica] for ours in epoch]).sum(dim=0)
            assert visits.max() == 1  # whoever was rejected did not move
            assert 20 < visits.sum() <= 30


def test_the_decoder_starts_as_that_of_the_other_systems(whole):
    other = networks.initial(networks.Architecture(16, (6,), 2, "bernoulli"), (0, 1), "normal", 0.1)
    state = next(states(change(learning_rate=1e-30)))
    assert state["parameters"].keys() == {n for n in other if n.startswith("decoder")}
    assert all(torch.equal(value, other[name]) for name, value in state["parameters"].items())


def test_the_optimiser_is_given_what_the_case_says(monkeypatch):
    steps = []
    descend = mcem.optimisers.descend

    def watched(parameters, gradients, state, *rest):
        steps.append(rest)
        descend(parameters, gradients, state, *rest)

    monkeypatch.setattr(mcem.optimisers, "descend", watched)
    last(change(adam_beta1=0.8, adam_epsilon=1e-4))
    assert steps == [(0.01, 1 / 35, (0.8, 0.999), 1e-4)] * 14


@pytest.mark.parametrize("snapshots", [(120, 60), (60, 60), (1, 59)])
def test_snapshots_must_ascend_by_a_minibatch(snapshots):
    with pytest.raises(UserError, match="by at least a minibatch, which evaluates 60 samples"):
        next(states(change(snapshots=snapshots)))


# The step


def write(folder, params, **changed):
    """Write the data, and give the step's command line."""
    pixels = (images() * 255).round().byte()
    tensors = {"images": pixels, "labels": torch.zeros(len(pixels), dtype=torch.int64)}
    tensor_files.write_tensors(folder / "train", tensors, {"maximum": "255"})
    given = [f"{name}={folder / name}" for name in ("train", "model", "history")]
    return ["--params", json.dumps(dataclasses.asdict(params) | changed), *given]


def step_in_process(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mcem", *arguments])
    monkeypatch.delitem(sys.modules, "pr12.vae.mcem", raising=False)
    runpy.run_module("pr12.vae.mcem", run_name="__main__", alter_sys=True)


def made(folder):
    return (folder / "model").read_bytes(), files.read_json(folder / "history")["history"]


def test_the_step_writes_a_decoder_alone(tmp_path, monkeypatch, whole):
    step_in_process(write(tmp_path, PARAMS), monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history", "model", "train"]
    actual = saved_nets.load(tmp_path / "model", pixels=16)
    assert actual[:3] == (networks.Architecture(16, (6,), 2, "bernoulli"), "mcem", (60, 300, 420))
    for moment, expected in enumerate(whole["snapshots"]):
        ours = saved_nets.at(actual, moment)
        assert ours.keys() == expected.keys()
        assert all(torch.equal(ours[name], value) for name, value in expected.items())
    assert made(tmp_path)[1] == whole["history"]


@pytest.mark.parametrize("writes", [1, 4, 7])
def test_a_step_that_is_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch, writes):
    for name in ("whole", "stopped"):
        (tmp_path / name).mkdir()
    step_in_process(write(tmp_path / "whole", PARAMS), monkeypatch)
    arguments = write(tmp_path / "stopped", PARAMS)
    saved, save_state = [], checkpoints.save_state

    def stopping(*given):
        save_state(*given)
        saved.append(1)
        if len(saved) == writes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_state", stopping)
        with pytest.raises(SystemExit) as caught:
            step_in_process(arguments, patched)
    assert caught.value.code == 130
    assert sorted(p.name for p in (tmp_path / "stopped").iterdir()) == ["resume.pt", "train"]
    step_in_process(arguments, monkeypatch)
    assert made(tmp_path / "stopped") == made(tmp_path / "whole")
    assert not (tmp_path / "stopped" / "resume.pt").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"leapfrog_steps": 0}, "leapfrog_steps is 0; it must be a number of at least 1"),
        ({"weight_updates": 0}, "weight_updates is 0"),
        ({"batch_size": 36}, "train has 35 images; batch_size is 36"),
        ({"snapshots": (120, 60)}, "snapshots is [120, 60]; it must be a list of rising numbers"),
        ({"learning_rate": 1e30, "likelihood": "linear"}, "the likelihood is not finite after"),
    ],
    ids=str,
)
def test_a_mistake_is_one_sentence_and_exit_code_2(
    tmp_path, monkeypatch, capsys, changed, sentence
):
    arguments = write(tmp_path, PARAMS, **changed)
    with pytest.raises(SystemExit) as caught:
        step_in_process(arguments, monkeypatch)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    (error,) = [line for line in message.splitlines() if line.startswith("error:")]
    assert sentence in error
    assert not {"model", "history"} & {path.name for path in tmp_path.iterdir()}
