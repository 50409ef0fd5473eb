import dataclasses
import json
import os
import runpy
import signal
import subprocess
import sys

import pytest
import torch

from pr12.core import checkpoints, tensor_files
from pr12.data import splits
from pr12.distill import train
from pr12.distill.model import losses, mlp, training
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
    seeds=(0, 1, 2),
    hidden=(24, 16),
    width_scale=0.5,
    bottleneck=0,
    hard_weight=1.0,
    soft_weight=0.0,
    logit_weight=0.0,
    temperature=1.0,
    mean="geometric",
    standardise_logits=False,
    noise_fraction=0.0,
    noise_sigma=0.0,
    transfer_classes=(0, 1, 2),
    transfer_fraction=1.0,
    dropout_input=0.0,
    dropout_hidden=0.0,
    max_norm=None,
    jitter=0,
    batch_size=10,
    epochs=3,
    learning_rate=0.01,
    early_stopping=False,
    matmul_precision="highest",
)
# Every stream is drawn from: subset, shuffle, dropout, jitter and noise.
ALL_ON = dataclasses.replace(
    PARAMS,
    soft_weight=0.5,
    logit_weight=0.1,
    temperature=3.0,
    noise_fraction=0.5,
    noise_sigma=0.5,
    transfer_fraction=0.6,
    dropout_input=0.2,
    dropout_hidden=0.5,
    max_norm=0.7,
    jitter=1,
    early_stopping=True,
)


def change(**values):
    return dataclasses.replace(PARAMS, **values)


def split(n=60, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    images = torch.rand(n, 4, 4, generator=generator) / 2
    for row, label in enumerate(labels.tolist()):
        images[row, label] += 0.4  # a class is a bright line
    return splits.Split(images.clamp(max=1), labels)


def teacher(n=60, seed=5):
    generator = torch.Generator().manual_seed(seed)
    right = 4 * torch.nn.functional.one_hot(torch.arange(n) % 3, 3)
    return right + torch.randn(2, n, 3, generator=generator)


def states(params, seeds=None, data=None, state=None):
    data = split() if data is None else data
    transfer, _ = training.transfer_set(params, data, teacher())
    return train.train(params, seeds or params.seeds, transfer, split(30, 1), state)


def last(params, *arguments, **names):
    *_, state = states(params, *arguments, **names)
    return state


# Losses and what they are made of


def test_the_loss_is_the_weighted_sum_of_the_three():
    params = change(hard_weight=0.3, soft_weight=0.7, logit_weight=0.2, temperature=4.0)
    transfer, _ = training.transfer_set(params, split(), teacher())
    rows = torch.tensor([[3, 1, 4], [1, 5, 9]])
    z = torch.randn(2, 3, 3, generator=torch.Generator().manual_seed(0))
    actual = training.batch_losses(params, transfer, rows, z, [])
    v = teacher().mean(dim=0)
    for replica in range(2):
        ours, target = z[replica], v[rows[replica]]
        expected = (
            0.3 * losses.hard_loss(ours, split().labels[rows[replica]])
            + 0.7 * losses.soft_loss(ours, losses.soften(target, 4.0), 4.0)
            + 0.2 * losses.logit_loss(ours, target)
        )
        torch.testing.assert_close(actual[replica], expected)


def test_noise_perturbs_the_targets_of_each_replica_by_its_own_stream():
    params = change(hard_weight=0.0, logit_weight=1.0, noise_fraction=1.0, noise_sigma=0.5)
    transfer, _ = training.transfer_set(params, split(), teacher())
    rows = torch.tensor([[3, 1, 4], [3, 1, 4]])
    z = torch.zeros(2, 3, 3)
    streams = [torch.Generator().manual_seed(seed) for seed in (7, 8)]
    actual = training.batch_losses(params, transfer, rows, z, streams)
    for replica, seed in enumerate((7, 8)):
        generator = torch.Generator().manual_seed(seed)
        noisy = losses.noisy_logits(transfer.logits[rows[0]], 1.0, 0.5, generator)
        torch.testing.assert_close(actual[replica], losses.logit_loss(z[replica], noisy))
    assert actual[0] != actual[1]


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_soft_targets_are_the_ensembles_at_the_cases_temperature(mean):
    params = change(soft_weight=1.0, temperature=5.0, mean=mean)
    transfer, scale = training.transfer_set(params, split(), teacher())
    expected = losses.ensemble_probabilities(teacher(), 5.0, mean)
    torch.testing.assert_close(transfer.probabilities, expected)
    torch.testing.assert_close(transfer.logits, teacher().mean(dim=0))
    assert scale is None


def test_a_hard_case_never_sees_the_teacher():
    transfer, scale = training.transfer_set(PARAMS, split(), teacher())
    assert transfer.probabilities is transfer.logits is scale is None


@pytest.mark.parametrize("weight", ["soft_weight", "logit_weight"])
def test_a_case_without_its_teacher_or_with_anothers_is_one_sentence(weight):
    params = change(**{weight: 1.0})
    with pytest.raises(UserError, match="add soft_labels=PATH"):
        training.transfer_set(params, split(), None)


def test_standardised_logits_have_mean_0_and_deviation_1_and_can_be_undone():
    params = change(hard_weight=0.0, soft_weight=0.0, logit_weight=1.0, standardise_logits=True)
    transfer, (deviation, mean) = training.transfer_set(params, split(), teacher())
    logits = transfer.logits
    torch.testing.assert_close(logits.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(logits.square().mean(dim=0), torch.ones(3))
    torch.testing.assert_close(logits * deviation + mean, teacher().mean(dim=0))


# The loop


def test_one_batch_is_learnt_by_heart():
    data = split(10)
    params = change(hidden=(128,), epochs=200, learning_rate=0.02)
    scrambled = splits.Split(data.images, torch.randperm(10, generator=torch.Generator()) % 3)
    transfer, _ = training.transfer_set(params, scrambled, None)
    *_, state = train.train(params, (0, 1), transfer, scrambled)
    assert max(state["history"][-1]["train/loss"]) < 0.01
    assert state["history"][-1]["validation/errors"] == [0, 0]


def test_a_student_can_copy_its_teacher():
    data = split()
    net = mlp.MLP(16, (8,), 3, 0, torch.Generator().manual_seed(9))
    logits = net(data.images.flatten(1)).detach()[None]
    params = change(hard_weight=0.0, logit_weight=1.0, hidden=(128,), epochs=80)
    transfer, _ = training.transfer_set(params, data, logits)
    *_, state = train.train(params, (0,), transfer, data)
    first, final = (state["history"][i]["train/loss"][0] for i in (0, -1))
    assert final < 0.002 < 0.1 < first


@pytest.fixture(scope="module")
def stacked():
    return last(ALL_ON)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_seed_learns_the_same_alone_and_in_a_stack(stacked, seed):
    alone = last(ALL_ON, seeds=(seed,))
    for ours, together in zip(alone["history"], stacked["history"], strict=True):
        assert ours["train/loss"][0] == pytest.approx(together["train/loss"][seed], rel=1e-4)
        assert ours["validation/errors"][0] == together["validation/errors"][seed]
    for name, value in alone["parameters"].items():
        torch.testing.assert_close(value[0], stacked["parameters"][name][seed], rtol=0, atol=1e-4)


def test_seeds_differ(stacked):
    losses = stacked["history"][0]["train/loss"]
    assert len(set(losses)) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"noise_fraction": 0.0},
        {"transfer_fraction": 0.5},
        {"dropout_input": 0.0},
        {"dropout_hidden": 0.0},
        {"max_norm": None},
        {"jitter": 0},
        {"hard_weight": 0.0},
        {"soft_weight": 0.0},
        {"temperature": 4.0},
        {"batch_size": 20},
        {"learning_rate": 0.02},
        {"bottleneck": 6},
        {"width_scale": 1.0},
    ],
    ids=str,
)
def test_each_param_changes_what_is_learnt(stacked, changed):
    other = last(dataclasses.replace(ALL_ON, **changed))
    assert other["history"][-1]["train/loss"] != stacked["history"][-1]["train/loss"]


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_going_on_after_any_epoch_is_as_if_nothing_had_happened(stacked, tmp_path, epoch):
    for number, state in enumerate(states(ALL_ON), start=1):
        if number == epoch:
            checkpoints.save_state(tmp_path / "resume.pt", state, "digest")
            break
    saved = checkpoints.load_state(tmp_path / "resume.pt", "digest")
    *_, state = [saved, *states(ALL_ON, state=saved)]
    assert state["epoch"] == 3
    assert state["history"] == stacked["history"]
    for kind in (lambda s: s["parameters"], lambda s: s["best"]["parameters"]):
        for name, value in kind(stacked).items():
            assert torch.equal(kind(state)[name], value)
    assert state["best"]["errors"] == stacked["best"]["errors"]


def test_the_learning_rate_falls_linearly_to_0():
    params = change(epochs=4, batch_size=60)
    rates = [s["optimiser"]["param_groups"][0]["lr"] for s in states(params)]
    assert rates == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


def test_adams_first_step_is_the_learning_rate():
    params = change(epochs=1, batch_size=60)
    _, before = train.replicas.stack(lambda g: mlp.MLP(16, (12, 8), 3, 0, g), PARAMS.seeds)
    after = last(params)["parameters"]
    steps = torch.cat([(after[n] - value).detach().flatten() for n, value in before.items()])
    assert steps.abs().max().item() == pytest.approx(0.01, rel=1e-3)


def test_max_norm_limits_hidden_units_only():
    free = last(change(learning_rate=0.1))["parameters"]
    bound = last(change(learning_rate=0.1, max_norm=0.5))["parameters"]
    for layer in range(2):
        assert free[f"layers.{layer}.weight"].norm(dim=1).max() > 0.6
        norms = bound[f"layers.{layer}.weight"].norm(dim=1)
        assert norms.max().item() == pytest.approx(0.5, rel=1e-5)
    assert bound["layers.2.weight"].norm(dim=1).max() > 0.6


def test_early_stopping_keeps_each_replicas_first_best_epoch():
    params = change(epochs=12, learning_rate=0.05, early_stopping=True, max_norm=1.0)
    kept, errors = [], []
    for state in states(params):
        kept.append(state["parameters"])
        errors.append(state["history"][-1]["validation/errors"])
    table = torch.tensor(errors)
    assert state["best"]["errors"] == table.min(dim=0).values.tolist()
    chosen = [column.tolist().index(column.min()) for column in table.T]
    assert set(chosen) != {11}  # the last epoch is not the best for all: something is kept
    for replica, epoch in enumerate(chosen):
        for name, value in state["best"]["parameters"].items():
            assert torch.equal(value[replica], kept[epoch][name][replica])


def test_the_best_epoch_by_hand():
    best = {}
    table = [[5, 2, 4], [3, 2, 6], [4, 1, 4]]
    for epoch, errors in enumerate(table):
        parameters = {"w": torch.full((3, 2), float(epoch))}
        best = training.keep_best(best, parameters, errors)
    assert best["errors"] == [3, 1, 4]
    assert best["parameters"]["w"][:, 0].tolist() == [1.0, 2.0, 0.0]


def test_without_early_stopping_nothing_is_kept():
    assert last(PARAMS)["best"] == {}


def test_classes_outside_the_transfer_set_teach_nothing():
    params = change(transfer_classes=(0, 2))
    data = split()
    spoilt = data.images.clone()
    spoilt[data.labels == 1] = 9.0
    first, second = (last(params, data=splits.Split(i, data.labels)) for i in (data.images, spoilt))
    assert first["history"] == second["history"]
    everything = last(PARAMS, data=splits.Split(spoilt, data.labels))
    assert everything["history"] != last(PARAMS)["history"]


def test_the_epoch_is_as_long_for_a_small_transfer_set():
    params = change(transfer_fraction=0.1, epochs=1)
    steps = [last(p)["optimiser"]["state"][0]["step"].item() for p in (params, change(epochs=1))]
    assert steps == [6, 6]


def test_a_batch_larger_than_the_training_set_is_the_training_set():
    assert last(change(batch_size=1000))["history"] == last(change(batch_size=60))["history"]


def test_validation_errors_are_those_of_the_nets():
    state = last(PARAMS)
    data = split(30, 1)
    net = mlp.restore(state["parameters"])
    for replica in range(3):
        ours = {name: value[replica] for name, value in state["parameters"].items()}
        answers = torch.func.functional_call(net, ours, (data.images.flatten(1),)).argmax(-1)
        wrong = (answers != data.labels).sum().item()
        assert state["history"][-1]["validation/errors"][replica] == wrong


def test_a_loss_that_is_not_finite_names_the_epoch_and_the_last_good_value(monkeypatch):
    calls = []
    finite = training.batch_losses

    def spoilt(*arguments):
        calls.append(1)
        factor = torch.tensor([1.0, float("nan") if len(calls) == 15 else 1.0, 1.0])
        return finite(*arguments) * factor

    monkeypatch.setattr(training, "batch_losses", spoilt)
    going = states(change(epochs=5))  # of 6 steps each
    history = [next(going), next(going)][-1]["history"]
    with pytest.raises(UserError, match="not finite in epoch 3") as caught:
        next(going)
    assert str(history[-1]["train/loss"]) in str(caught.value)
    assert len(history) == 2


# The step, as a process


def write(folder, params, data=None):
    for name, part in (("train", data or split()), ("validation", split(30, 1))):
        pixels = (part.images * 255).round().byte()
        tensors = {"images": pixels, "labels": part.labels}
        tensor_files.write_tensors(folder / name, tensors, {"maximum": "255"})
    tensor_files.write_tensors(folder / "soft_labels", {"member_logits": teacher()})
    inputs = [f"{name}={folder / name}" for name in ("train", "validation", "soft_labels")]
    return ["--params", json.dumps(dataclasses.asdict(params)), *inputs]


def outputs(folder):
    return [f"model={folder / 'model.safetensors'}", f"history={folder / 'history.json'}"]


def process(arguments, **options):
    command = [sys.executable, "-m", "pr12.distill.train", *arguments]
    source = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(train.__file__))))
    environment = os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1"}
    # A child that inherits an ignored SIGINT (a shell's background job) could not be interrupted.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, env=environment, text=True, **options)
    finally:
        signal.signal(signal.SIGINT, before)


def made(folder):
    history = json.loads((folder / "history.json").read_text())["history"]
    return (folder / "model.safetensors").read_bytes(), history


# Enough epochs that the process is still at it when the signal comes.
LONG = dataclasses.replace(ALL_ON, epochs=60, batch_size=6)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Run the step twice, at the same time, to the end."""
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    inputs = write(folders[0], LONG)
    pair = [process([*inputs, *outputs(f)], stderr=subprocess.PIPE) for f in folders]
    for one in pair:
        _, message = one.communicate(timeout=120)
        assert one.returncode == 0, message
    return folders


@pytest.mark.slow
def test_the_same_command_gives_the_same_bytes(finished):
    first, second = (made(folder) for folder in finished)
    assert first == second
    assert len(first[1][0]["epochs"]) == 60


def test_the_step_leaves_its_two_files_and_no_other(finished):
    assert sorted(path.name for path in finished[1].iterdir()) == [
        "history.json",
        "model.safetensors",
    ]


def test_provenance_names_inputs_params_and_command(finished):
    actual = files.read_json(finished[1] / "history.json")["provenance"]
    assert sorted(actual["inputs"]) == ["soft_labels", "train", "validation"]
    for name, given in actual["inputs"].items():
        assert given["sha256"] == files.sha256(finished[0] / name)
    assert actual["params"] == json.loads(json.dumps(dataclasses.asdict(LONG)))
    assert actual["command"].startswith("python -m pr12.distill.train --params ")


@pytest.mark.slow
def test_an_interrupted_step_ends_with_130_and_goes_on_to_the_same_bytes(finished, tmp_path):
    arguments = [*write(tmp_path, LONG), *outputs(tmp_path)]
    running = process(arguments, stderr=subprocess.PIPE)
    message = ""
    for line in running.stderr:
        message += line
        if line.startswith("2/60"):
            running.send_signal(signal.SIGINT)
    assert running.wait(timeout=60) == 130
    assert "Traceback" not in message
    assert message.splitlines()[-1].startswith("interrupted")
    given = {"train", "validation", "soft_labels"}
    assert {path.name for path in tmp_path.iterdir()} - given == {"resume_0.pt"}
    again = process(arguments, stderr=subprocess.PIPE)
    _, message = again.communicate(timeout=60)
    assert again.returncode == 0
    epochs = [line.split("/")[0] for line in message.splitlines() if line[:1].isdigit()]
    assert int(epochs[0]) >= 2  # it did not start afresh
    assert epochs[-1] == "60"
    assert made(tmp_path) == made(finished[0])
    assert not (tmp_path / "resume_0.pt").exists()


def step_in_process(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", *arguments])
    monkeypatch.delitem(sys.modules, "pr12.distill.train")
    runpy.run_module("pr12.distill.train", run_name="__main__", alter_sys=True)


def test_a_step_whose_loss_is_not_finite_ends_with_2_and_no_output(tmp_path, monkeypatch, capsys):
    params = change(learning_rate=1e30, hidden=(8,), width_scale=1.0, logit_weight=1.0)
    arguments = [*write(tmp_path, params), *outputs(tmp_path)]
    with pytest.raises(SystemExit) as caught:
        step_in_process(arguments, monkeypatch)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    (sentence,) = [line for line in message.splitlines() if line.startswith("error:")]
    assert "not finite in epoch 1 (the epoch before: none); lower learning_rate" in sentence
    assert "Traceback" not in message
    assert {path.name for path in tmp_path.iterdir()} == {"train", "validation", "soft_labels"}


def test_a_folded_net_gives_logits_as_un_standardising_by_hand(tmp_path, monkeypatch):
    params = change(logit_weight=1.0, hard_weight=0.0, standardise_logits=True, seeds=(0, 1))
    step_in_process([*write(tmp_path, params), *outputs(tmp_path)], monkeypatch)
    folded = tensor_files.read_tensors(tmp_path / "model.safetensors")
    data = splits.load_split(tmp_path / "train")
    transfer, (deviation, mean) = training.transfer_set(params, data, teacher())
    *_, state = train.train(params, (0, 1), transfer, splits.load_split(tmp_path / "validation"))
    module = mlp.restore(folded)
    images = data.images.flatten(1)
    raw = train.replicas.forward_shared(module, state["parameters"], images)
    logits = train.replicas.forward_shared(module, folded, images)
    torch.testing.assert_close(logits, raw * deviation + mean, rtol=1e-4, atol=1e-4)
    right = (logits - teacher().mean(dim=0)).abs().mean()
    assert right < (raw - teacher().mean(dim=0)).abs().mean()


def test_a_wide_net_trains_seed_by_seed_and_is_joined_in_order(tmp_path, monkeypatch):
    params = change(hidden=(520,), width_scale=1.0, epochs=1, seeds=(4, 3))
    step_in_process([*write(tmp_path, params), *outputs(tmp_path)], monkeypatch)
    joined, history = made(tmp_path)
    assert [part["seeds"] for part in history] == [[4], [3]]
    parameters = tensor_files.read_tensors(tmp_path / "model.safetensors")
    data, validation = (splits.load_split(tmp_path / n) for n in ("train", "validation"))
    transfer, _ = training.transfer_set(params, data, None)
    for place, seed in enumerate((4, 3)):
        *_, state = train.train(params, (seed,), transfer, validation)
        for name, value in state["parameters"].items():
            assert torch.equal(parameters[name][place], value[0])
    assert joined
