import dataclasses
import json
import os
import runpy
import signal
import subprocess
import sys

import pytest
import torch

from pr12.core import checkpoints, determinism, tensor_files
from pr12.data import splits
from pr12.vae import train
from pr12.vae.data import images as data
from pr12.vae.model import networks, objectives, optimisers, saved_nets
from pr12.workflow import files
from pr12.workflow.errors import UserError


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Nets as small as these only wait for a second thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PARAMS = train.Params(
    seeds=(0, 1),
    images="digits",
    objective="sgvb_b",
    samples=1,
    hidden=(8,),
    width_scale=1.0,
    latent_dim=2,
    likelihood="bernoulli",
    binarise=False,
    train_examples=None,
    batch_size=10,
    snapshots=(40, 160, 200),  # after epochs 1, 4 and 5
    init="normal",
    init_std=0.1,
    weight_prior=True,
    optimiser="adam",
    learning_rate=0.01,
    schedule="linear",
    adam_beta1=0.9,
    adam_epsilon=1e-8,
    matmul_precision="highest",
)


def change(**values):
    return dataclasses.replace(PARAMS, **values)


def images(n=45):
    """Give bright lines at one of four places, in 255ths: four batches of 10 and a rest."""
    x = torch.rand(n, 4, 4, generator=torch.Generator().manual_seed(0)) / 3
    x[torch.arange(n), torch.arange(n) % 4] += 0.6
    return (x * 255).round() / 255


def learnt(params, x):
    return data.learnt(x, params.train_examples, params.batch_size, params.likelihood)


def states(params, state=None, n=45):
    return train.train(params, learnt(params, images(n)), state)


def last(params, **names):
    *_, state = states(params, **names)
    return state


def recorded(monkeypatch, params, n=45):
    """Train, and give what the objective and the optimiser were called with."""
    batches, steps = [], []
    objective, descend = train.OBJECTIVES[params.objective], train.optimisers.descend

    def watched_objective(parameters, x, samples, generators):
        batches.append((x, samples))
        return objective(parameters, x, samples, generators)

    def watched_descend(parameters, gradients, state, *rest):
        steps.append(rest)
        descend(parameters, gradients, state, *rest)

    monkeypatch.setitem(train.OBJECTIVES, params.objective, watched_objective)
    monkeypatch.setattr(train.optimisers, "descend", watched_descend)
    last(params, n=n)
    return batches, steps


@pytest.fixture(scope="module")
def whole():
    return last(PARAMS)


# The loop


@pytest.mark.parametrize("objective", sorted(train.OBJECTIVES))
def test_each_objective_learns_and_each_replica_its_own(objective):
    longer = {"learning_rate": 0.02, "snapshots": (40, 4000), "schedule": "constant"}
    state = last(change(objective=objective, weight_prior=False, **longer))
    x = images().flatten(1)
    bounds = []
    for parameters in state["snapshots"]:
        reached = objectives.importance(parameters, x, 50, [determinism.generator(0, "test")] * 2)
        if objective == "autoencoder":
            reached = objectives.autoencoder(parameters, x, 1, [])
        bounds.append(reached.mean(dim=1))
    assert (bounds[1] > bounds[0] + 0.1).all()
    assert bounds[1][0] != bounds[1][1]


@pytest.mark.parametrize("objective", sorted(train.OBJECTIVES))
@pytest.mark.parametrize("seed", [0, 1])
def test_a_seed_learns_the_same_alone_and_in_a_stack(objective, seed):
    params = change(objective=objective, binarise=True, samples=2)
    together, alone = last(params), last(dataclasses.replace(params, seeds=(seed,)))
    for name, value in alone["parameters"].items():
        torch.testing.assert_close(value[0], together["parameters"][name][seed], rtol=0, atol=1e-5)
    for ours, row in zip(alone["history"], together["history"], strict=True):
        actual = row["train/objective_nats"][seed]
        assert ours["train/objective_nats"][0] == pytest.approx(actual, abs=1e-5)


@pytest.mark.parametrize(
    "changed",
    [
        {"objective": "sgvb_a"},
        {"samples": 2},
        {"hidden": (9,)},
        {"width_scale": 0.5},
        {"latent_dim": 3},
        {"likelihood": "gaussian"},
        {"binarise": True},
        {"train_examples": 40},
        {"batch_size": 20},
        {"init": "glorot"},
        {"init_std": 0.2},
        {"weight_prior": False},
        {"optimiser": "adagrad"},
        {"learning_rate": 0.02},
        {"schedule": "stages"},
        {"adam_beta1": 0.5},
        {"adam_epsilon": 0.1},
        {"matmul_precision": "medium"},
        {"seeds": (0, 2)},
    ],
    ids=str,
)
def test_each_param_changes_what_is_learnt(whole, changed):
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(changed.get("matmul_precision", before))  # as main does
    other = last(change(**changed))
    torch.set_float32_matmul_precision(before)
    assert (
        other["history"][-1]["train/objective_nats"] != whole["history"][-1]["train/objective_nats"]
    )


@pytest.mark.parametrize("epoch", [1, 2, 3, 4])
def test_going_on_after_any_row_is_as_if_nothing_had_happened(whole, tmp_path, epoch):
    for number, state in enumerate(states(PARAMS), start=1):
        if number == epoch:
            checkpoints.save_state(tmp_path / "resume.pt", state, "digest")
            break
    saved = checkpoints.load_state(tmp_path / "resume.pt", "digest")
    actual = last(PARAMS, state=saved)
    assert actual["history"] == whole["history"]
    assert actual["samples_seen"] == whole["samples_seen"]
    for ours, expected in zip(actual["snapshots"], whole["snapshots"], strict=True):
        assert all(torch.equal(ours[name], value) for name, value in expected.items())


def test_parameters_are_kept_at_every_snapshot(whole):
    assert whole["samples_seen"] == [40, 160, 200]
    rows = list(states(PARAMS))
    for place, epoch in enumerate((1, 4, 5)):
        for name, value in rows[epoch - 1]["parameters"].items():
            assert torch.equal(whole["snapshots"][place][name], value)


def test_a_snapshot_within_an_epoch_waits_for_its_end():
    assert last(change(snapshots=(1, 81)))["samples_seen"] == [40, 120]


def test_a_long_training_has_fifty_rows_and_one_for_each_snapshot():
    params = change(snapshots=(120, 4000), hidden=())  # epochs 3 and 100
    rows = last(params)["history"]
    seen = [row["samples_seen"] for row in rows]
    assert seen == sorted({120, *range(80, 4001, 80)})


def test_a_row_is_the_objectives_mean_since_the_row_before():
    params = change(
        objective="autoencoder", learning_rate=1e-30, snapshots=(40, 80), train_examples=40
    )
    initial = networks.initial(
        networks.scaled(16, params.hidden, params.width_scale, params.latent_dim, "bernoulli"),
        (0, 1),
        "normal",
        0.1,
    )
    x = images(40).flatten(1)
    expected = objectives.autoencoder(initial, x, 1, []).mean(dim=1).tolist()
    for row in last(params)["history"]:
        assert row["train/objective_nats"] == pytest.approx(expected, abs=1e-5)


def test_an_epoch_sees_whole_batches_of_different_images(monkeypatch):
    batches, _ = recorded(monkeypatch, change(snapshots=(40, 80)))
    assert [tuple(x.shape) for x, _ in batches] == [(2, 10, 16)] * 8
    for replica in range(2):
        epochs = [torch.cat([x[replica] for x, _ in batches[i : i + 4]]) for i in (0, 4)]
        for epoch in epochs:
            assert len(epoch.unique(dim=0)) == 40
        assert not torch.equal(*epochs)
    assert not torch.equal(batches[0][0][0], batches[0][0][1])


def test_binarised_images_are_drawn_anew_with_the_pixels_as_probabilities(monkeypatch):
    params = change(
        binarise=True, batch_size=1, snapshots=(500,), train_examples=1, hidden=(), samples=3
    )
    batches, _ = recorded(monkeypatch, params, n=1)
    x = torch.stack([x for x, _ in batches])
    assert set(x.unique().tolist()) == {0.0, 1.0}
    error = x.mean(dim=0)[:, 0] - images(1).flatten(1)
    assert error.abs().max() < 4 * 0.5 / 500**0.5
    assert {samples for _, samples in batches} == {3}


def test_the_optimiser_is_given_what_the_case_says(monkeypatch):
    _, steps = recorded(monkeypatch, change(snapshots=(160,), adam_beta1=0.8, adam_epsilon=1e-4))
    rates, decays, betas, epsilons = (set(column) for column in zip(*steps, strict=True))
    assert sorted(rates) == pytest.approx([0.0025, 0.005, 0.0075, 0.01])  # linear, by epoch
    assert decays == {1 / 45}  # the prior's share of a data point
    assert (betas, epsilons) == ({(0.8, 0.999)}, {1e-4})


def test_without_a_prior_of_the_parameters_nothing_decays(monkeypatch):
    _, steps = recorded(monkeypatch, change(weight_prior=False, schedule="constant"))
    rates, decays, *_ = (set(column) for column in zip(*steps, strict=True))
    assert (rates, decays) == ({0.01}, {0.0})


def test_stages_have_3_to_the_i_epochs():
    rates = [optimisers.rate("stages", 1.0, epoch, 3280) for epoch in range(3280)]
    lengths = [rates.count(rate) for rate in dict.fromkeys(rates)]
    assert lengths == [3**i for i in range(8)]
    assert rates[-1] == pytest.approx(0.1)


def test_all_objectives_start_from_the_same_parameters():
    first = [next(states(change(objective=name, learning_rate=1e-30))) for name in train.OBJECTIVES]
    for other in first[1:]:
        for name, value in first[0]["parameters"].items():
            assert torch.equal(other["parameters"][name], value)


def test_an_autoencoder_leaves_the_variances_alone():
    params = change(objective="autoencoder", weight_prior=False)
    initial = networks.initial(
        networks.scaled(16, params.hidden, params.width_scale, params.latent_dim, "bernoulli"),
        (0, 1),
        "normal",
        0.1,
    )
    actual = last(params)["parameters"]
    for name, value in initial.items():
        assert torch.equal(actual[name], value) == name.startswith("encoder.log_variance")


# What a user can do wrong


def test_a_pixel_that_is_no_number_is_told_with_its_image():
    x = images()
    x[7, 1, 2] = float("nan")
    with pytest.raises(UserError, match="image 7 of train"):
        learnt(PARAMS, x)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("value", [-0.1, 1.5])
def test_a_pixel_outside_0_to_1_is_refused_where_means_are_squashed(likelihood, value):
    x = images()
    x[3, 0, 0] = value
    with pytest.raises(UserError, match=rf"{value:g}.*a {likelihood} decoder they must"):
        learnt(change(likelihood=likelihood), x)
    assert learnt(change(likelihood="linear"), x).shape == (45, 16)


def test_more_examples_than_there_are_is_refused():
    with pytest.raises(UserError, match="train has 45 images; train_examples asks 46"):
        learnt(change(train_examples=46), images())


def test_the_first_examples_are_taken():
    actual = learnt(change(train_examples=20), images())
    assert torch.equal(actual, images()[:20].flatten(1))


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UserError, match="batch_size is"):
        learnt(change(batch_size=46), images())
    with pytest.raises(ValueError, match="batch_size"):  # of the params alone
        change(train_examples=9)


@pytest.mark.parametrize("snapshots", [(80, 40), (40, 40), (1, 2)])
def test_snapshots_must_ascend_by_an_epoch(snapshots):
    with pytest.raises(UserError, match="must ascend by at least an epoch of 40 samples"):
        next(states(change(snapshots=snapshots)))


def test_an_objective_that_is_not_finite_names_the_last_good_value(monkeypatch):
    calls = []

    def spoilt(parameters, x, samples, generators):
        calls.append(1)
        bad = torch.tensor([[1.0], [float("nan") if len(calls) == 10 else 1.0]])
        return bad * objectives.sgvb_b(parameters, x, samples, generators)

    monkeypatch.setitem(train.OBJECTIVES, "sgvb_b", spoilt)
    going = states(PARAMS)
    history = [next(going), next(going)][-1]["history"]
    with pytest.raises(UserError, match="not finite after 120 samples") as caught:
        next(going)
    assert str(history[-1]["train/objective_nats"]) in str(caught.value)


# Checkpoints


def saved(objective="sgvb_b", **changed):
    sizes = {"pixels": 16, "hidden": (8,), "latent_dim": 2, "likelihood": "gaussian"}
    architecture = networks.Architecture(**(sizes | changed))
    moments = [networks.initial(architecture, (0, 1), "normal", 0.1) for _ in range(3)]
    joined = {name: torch.stack([ours[name] for ours in moments]) for name in moments[0]}
    return saved_nets.Saved(architecture, objective, (1, 2, 3), joined)


@pytest.mark.parametrize(
    "changed", [{}, {"likelihood": "linear", "hidden": ()}, {"hidden": (5, 3)}], ids=str
)
def test_a_checkpoint_comes_back_as_it_was(tmp_path, changed):
    before = saved(**changed)
    saved_nets.save(tmp_path / "model", before)
    after = saved_nets.load(tmp_path / "model", pixels=16)
    assert after[:3] == before[:3]
    assert all(torch.equal(after.parameters[n], v) for n, v in before.parameters.items())
    assert after.parameters.keys() == before.parameters.keys()


def test_a_decoder_alone_is_a_checkpoint_of_mcem_only(tmp_path):
    for objective in ("mcem", "sgvb_b"):
        whole = saved(objective)
        decoder = {n: v for n, v in whole.parameters.items() if n.startswith("decoder")}
        saved_nets.save(tmp_path / objective, whole._replace(parameters=decoder))
    assert saved_nets.load(tmp_path / "mcem").parameters.keys() == decoder.keys()
    with pytest.raises(UserError, match=r"another architecture than it names \(at encoder"):
        saved_nets.load(tmp_path / "sgvb_b")


@pytest.mark.parametrize(
    "changed",
    [{"hidden": (7,)}, {"latent_dim": 3}, {"likelihood": "linear"}, {"pixels": 9}, {"hidden": ()}],
    ids=str,
)
def test_a_checkpoint_of_another_architecture_is_refused(tmp_path, changed):
    other = saved()._replace(architecture=saved(**changed).architecture)
    saved_nets.save(tmp_path / "model", other)
    with pytest.raises(UserError, match="another architecture than it names"):
        saved_nets.load(tmp_path / "model")


@pytest.mark.parametrize("said", [None, "{", "{}", "[]", '{"objective": "sgvb_b"}', "3"])
def test_a_file_that_is_no_model_of_vae_is_refused(tmp_path, said):
    metadata = {} if said is None else {"model": said}
    tensor_files.write_tensors(tmp_path / "model", {"a": torch.zeros(1)}, metadata)
    with pytest.raises(UserError, match="is no model of vae"):
        saved_nets.load(tmp_path / "model")


def test_a_model_of_other_images_is_refused(tmp_path):
    saved_nets.save(tmp_path / "model", saved())
    with pytest.raises(UserError, match="images of 16 pixels and the data have 64"):
        saved_nets.load(tmp_path / "model", pixels=64)


# The step


def write(folder, params, **changed):
    """Write the data, and give the step's command line."""
    pixels = (images() * 255).round().byte()
    tensors = {"images": pixels, "labels": torch.zeros(len(pixels), dtype=torch.int64)}
    tensor_files.write_tensors(folder / "train", tensors, {"maximum": "255"})
    given = [f"{name}={folder / name}" for name in ("train", "model", "history")]
    return ["--params", json.dumps(dataclasses.asdict(params) | changed), *given]


def step_in_process(arguments, monkeypatch, module="pr12.vae.train"):
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def made(folder):
    return (folder / "model").read_bytes(), files.read_json(folder / "history")["history"]


def test_the_step_writes_model_and_history(tmp_path, monkeypatch, whole, capsys):
    step_in_process(write(tmp_path, PARAMS), monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["history", "model", "train"]
    actual = saved_nets.load(tmp_path / "model", pixels=16)
    assert actual[:3] == (networks.Architecture(16, (8,), 2, "bernoulli"), "sgvb_b", (40, 160, 200))
    for moment, expected in enumerate(whole["snapshots"]):
        ours = saved_nets.at(actual, moment)
        assert all(torch.equal(ours[name], value) for name, value in expected.items())
    assert made(tmp_path)[1] == whole["history"]
    provenance = files.read_json(tmp_path / "history")["provenance"]
    assert provenance["inputs"]["train"]["sha256"] == files.sha256(tmp_path / "train")
    rows = [line for line in capsys.readouterr().err.splitlines() if "/5  " in line]
    assert rows[-1].startswith("5/5  200 samples  objective -")


@pytest.mark.slow
def test_a_killed_step_goes_on_to_the_same_bytes(tmp_path, monkeypatch, capsys):
    params = change(binarise=True, snapshots=(400, 12000), samples=2)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    step_in_process(write(tmp_path / "whole", params), monkeypatch)
    arguments = write(tmp_path / "killed", params)
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(train.__file__))))
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pr12.vae.train", *arguments]
    running = subprocess.Popen(command, env=environment, text=True, stderr=subprocess.PIPE)
    for line in running.stderr:
        if line.startswith("2/"):
            running.kill()
    assert running.wait(timeout=60) == -signal.SIGKILL
    assert sorted(p.name for p in (tmp_path / "killed").iterdir()) == ["resume.pt", "train"]
    capsys.readouterr()
    step_in_process(arguments, monkeypatch)
    message = capsys.readouterr().err
    first = next(line for line in message.splitlines() if line[:1].isdigit())
    assert int(first.partition("/")[0]) >= 2  # it did not start afresh
    assert made(tmp_path / "killed") == made(tmp_path / "whole")
    assert not (tmp_path / "killed" / "resume.pt").exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"latent_dim": 0}, "latent_dim is 0; it must be a number from 1 to 100000"),
        ({"samples": 0}, "samples is 0"),
        ({"hidden": (0,)}, "hidden[0] is 0"),
        ({"snapshots": ()}, "snapshots is []"),
        ({"objective": "elbo"}, 'objective is "elbo"; it must be one of sgvb_a, sgvb_b'),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"batch_size": 46}, "train has 45 images; batch_size is 46"),
        ({"snapshots": (80, 40)}, "snapshots is [80, 40]; it must be a list of rising numbers"),
        ({"learning_rate": 1e30}, "the objective is not finite after"),
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


def test_an_image_file_that_is_no_split_is_told(tmp_path, monkeypatch, capsys):
    arguments = write(tmp_path, PARAMS)
    tensor_files.write_tensors(tmp_path / "train", {"images": torch.zeros(2, 2)})
    with pytest.raises(SystemExit):
        step_in_process(arguments, monkeypatch)
    assert "is not a split" in capsys.readouterr().err
    with pytest.raises(UserError):
        splits.load_split(tmp_path / "train")
