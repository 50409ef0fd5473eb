import dataclasses
import itertools
import json

import pytest
import torch

from pr12.core import checkpoints, determinism, replicas, tensor_files
from pr12.distill import compress, evaluate_compression
from pr12.distill.model import mimic, mimic_training
from pr12.workflow import files, step
from pr12.workflow.errors import UserError

PARAMS = compress.Params(
    generator="munge",
    sizes=(20, 60),
    seeds=(0, 1),
    hidden=8,
    updates=60,
    evaluations=6,
    batch_size=10,
    learning_rate=0.02,
)


def tensors(problems=("a", "b")):
    """Give what the step library writes: an ensemble that is a logistic function."""
    made = {}
    for index, problem in enumerate(problems):
        generator = torch.Generator().manual_seed(index)
        for part, count in (("train", 20), ("validation", 30), ("munge", 40), ("random", 40)):
            inputs = torch.rand(count, 3, generator=generator)
            made[f"{problem}/{part}/inputs"] = inputs
            made[f"{problem}/{part}/probabilities"] = torch.sigmoid(4 * inputs.sum(1) - 6)
    return made


def transfer(problem="a"):
    return mimic_training.transfer_sets(PARAMS.generator, PARAMS.sizes, tensors((problem,)))[0]


def last(states):
    *_, state = states
    return state


def test_a_transfer_set_is_the_training_set_and_then_the_generators_points():
    made = tensors()
    first, second = mimic_training.transfer_sets(PARAMS.generator, PARAMS.sizes, made)
    assert (first.problem, second.problem) == ("a", "b")
    assert (first.inputs[:20] == made["a/train/inputs"]).all()
    assert (first.inputs[20:] == made["a/munge/inputs"]).all()
    assert (second.probabilities[20:] == made["b/munge/probabilities"]).all()
    assert (second.validation_probabilities == made["b/validation/probabilities"]).all()


@pytest.mark.parametrize("sizes", [(10, 20), (20, 20), (30, 61), (60, 20)])
def test_sizes_out_of_range_are_one_sentence(sizes):
    with pytest.raises(UserError, match="between 20, the training set of a, and 60"):
        mimic_training.transfer_sets(PARAMS.generator, sizes, tensors())


def test_a_generator_that_library_did_not_use_is_one_sentence():
    with pytest.raises(UserError, match="no points of nbe for a"):
        mimic_training.transfer_sets("nbe", PARAMS.sizes, tensors())


def test_training_lowers_the_error_and_yields_a_row_per_evaluation():
    states = list(compress.train(PARAMS, transfer()))
    rows = states[-1]["history"]
    assert [row["updates"] for row in rows] == [10, 20, 30, 40, 50, 60]
    for net in range(4):
        errors = [row["validation/rmse"][net] for row in rows]
        assert states[-1]["best"]["rmse"][net] == min(errors)
        assert errors[-1] < 0.8 * errors[0]


def test_kept_parameters_are_those_of_the_best_evaluation():
    data = transfer()
    kept = last(compress.train(PARAMS, data))["best"]
    module = mimic.MimicNet(3, 8, torch.Generator())
    outputs = replicas.forward_shared(module, kept["parameters"], data.validation_inputs)
    errors = mimic.rmse(outputs, data.validation_probabilities)
    assert errors.tolist() == pytest.approx(kept["rmse"], rel=1e-5)


def test_keep_best_replaces_only_the_nets_that_improved():
    best = {"rmse": [0.5, 0.5], "parameters": {"w": torch.zeros(2, 1)}}
    best = mimic_training.keep_best(best, {"w": torch.ones(2, 1)}, [0.4, 0.6])
    assert best["rmse"] == [0.4, 0.5]
    assert best["parameters"]["w"].tolist() == [[1.0], [0.0]]


def test_a_net_learns_the_same_alone_and_in_a_stack():
    data = transfer()
    together = last(compress.train(PARAMS, data))["parameters"]
    for net, (size, seed) in enumerate(itertools.product(PARAMS.sizes, PARAMS.seeds)):
        ours = dataclasses.replace(PARAMS, sizes=(size,), seeds=(seed,))
        alone = last(compress.train(ours, data))["parameters"]
        for name, value in alone.items():
            assert torch.allclose(value[0], together[name][net], atol=1e-5), (size, seed, name)


def test_a_net_sees_only_the_first_points_up_to_its_size():
    data = transfer()
    poisoned = data.inputs.clone()
    poisoned[20:] = float("nan")
    small = dataclasses.replace(PARAMS, sizes=(20,))
    clean = last(compress.train(small, data))["parameters"]
    other = last(compress.train(small, data._replace(inputs=poisoned)))["parameters"]
    assert all((clean[name] == other[name]).all() for name in clean)
    with pytest.raises(UserError, match="a: the loss is not finite by update 10"):
        list(compress.train(PARAMS, data._replace(inputs=poisoned)))


def test_batches_are_whole_permutations_of_each_nets_own_points():
    order = mimic.batch_order([4, 6], 12, [determinism.generator(s, "shuffle") for s in (0, 1)])
    assert [sorted(part.tolist()) for part in order[0].split(4)] == [[0, 1, 2, 3]] * 3
    assert [sorted(part.tolist()) for part in order[1].split(6)] == [[0, 1, 2, 3, 4, 5]] * 2
    assert order[0].split(4)[0].tolist() != order[0].split(4)[1].tolist()


def test_a_resumed_training_is_the_uninterrupted_one(tmp_path):
    data = transfer()
    states = compress.train(PARAMS, data)
    for _ in range(2):
        checkpoints.save_state(tmp_path / "resume.pt", next(states), "print")
    whole = last(states)
    resumed = last(
        compress.train(PARAMS, data, checkpoints.load_state(tmp_path / "resume.pt", "print"))
    )
    assert resumed["history"] == whole["history"]
    for kind in ("parameters", "best"):
        one, two = (state[kind].get("parameters", state[kind]) for state in (resumed, whole))
        assert all((one[name] == two[name]).all() for name in two)


def test_mimic_net_worked_by_hand():
    net = mimic.MimicNet(1, 1, torch.Generator())
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), (1.0, 0.0, 2.0, -0.5), strict=True):
            parameter.fill_(value)
    # sigmoid(2 tanh(1) - 0.5)
    assert net(torch.ones(1, 1)).item() == pytest.approx(0.735593, abs=1e-5)


def model_and_test():
    """Two problems, two sizes, three seeds; every net answers sigmoid(b2)."""
    model = {"sizes": torch.tensor([20, 60])}
    test = {}
    for problem in ("a", "b"):
        model[f"{problem}/w1"] = torch.zeros(2, 3, 1, 4)
        model[f"{problem}/b1"] = torch.zeros(2, 3, 4)
        model[f"{problem}/w2"] = torch.zeros(2, 3, 4, 1)
        model[f"{problem}/b2"] = torch.logit(
            torch.tensor([[[0.2], [0.3], [0.4]], [[0.1], [0.1], [0.2]]])
        )
        test[f"{problem}/inputs"] = torch.zeros(5, 1)
        test[f"{problem}/targets"] = torch.zeros(5, dtype=torch.int64)
        test[f"{problem}/ensemble"] = torch.full((5,), 0.1)
        test[f"{problem}/best_net"] = torch.full((5,), 0.4)
        test[f"{problem}/best_single"] = torch.full((5,), 0.3)
    test["b/targets"] = torch.ones(5, dtype=torch.int64)
    test["b/ensemble"] = torch.full((5,), 0.6)
    test["b/best_net"] = torch.full((5,), 0.5)
    return model, test


def test_metrics_worked_by_hand():
    metrics = evaluate_compression.measure(*model_and_test())
    assert metrics["test/rmse_a_20"] == pytest.approx([0.2, 0.3, 0.4])
    assert metrics["test/rmse_b_20"] == pytest.approx([0.8, 0.7, 0.6])
    assert metrics["test/rmse_20"] == pytest.approx([0.5, 0.5, 0.5])
    assert metrics["test/rmse_b_60"] == pytest.approx([0.9, 0.9, 0.8])
    # Averages: best net (0.4 + 0.5) / 2, ensemble (0.1 + 0.4) / 2.
    assert metrics["test/rmse_best_net"] == pytest.approx([0.45])
    assert metrics["test/rmse_ensemble"] == pytest.approx([0.25])
    assert metrics["test/rmse_best_single"] == pytest.approx([0.5])
    assert metrics["test/retained_gain_20"] == pytest.approx([-0.25] * 3)


def test_no_gain_is_retained_where_there_is_none():
    model, test = model_and_test()
    test["a/ensemble"] = test["a/best_net"]
    test["b/ensemble"] = test["b/best_net"]
    assert not any("gain" in key for key in evaluate_compression.measure(model, test))


def test_model_and_test_of_different_problems_are_one_sentence():
    model, test = model_and_test()
    with pytest.raises(UserError, match="model is of a, b and test of a"):
        evaluate_compression.measure(
            model, {name: value for name, value in test.items() if name[0] == "a"}
        )


def test_the_steps_write_model_history_and_metrics_and_leave_nothing_else(tmp_path):
    tensor_files.write_tensors(tmp_path / "transfer.safetensors", tensors())
    test = model_and_test()[1]
    test |= {f"{problem}/inputs": torch.zeros(5, 3) for problem in "ab"}
    tensor_files.write_tensors(tmp_path / "test.safetensors", test)
    paths = {
        "transfer": "transfer.safetensors",
        "model": "out/model.safetensors",
        "history": "out/history.json",
    }
    arguments = [f"{name}={tmp_path / path}" for name, path in paths.items()]
    params = json.dumps(dataclasses.asdict(PARAMS))
    digests = set()
    for _ in range(2):  # twice: the same params give the same bytes
        with step.start(
            compress.Params,
            reads=["transfer"],
            writes=["model", "history"],
            arguments=["--params", params, *arguments],
        ) as job:
            compress.main(job)
        digests.add(files.sha256(tmp_path / "out/model.safetensors"))
    assert len(digests) == 1
    history = files.read_json(tmp_path / "out/history.json")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "history.json",
        "model.safetensors",
    ]
    assert history["nets"] == [[20, 0], [20, 1], [60, 0], [60, 1]]
    assert [problem["problem"] for problem in history["history"]] == ["a", "b"]
    model = tensor_files.read_tensors(tmp_path / "out/model.safetensors")
    assert model["a/w1"].shape == (2, 2, 3, 8)
    with step.start(
        evaluate_compression.Params,
        reads=["model", "test"],
        writes=["metrics"],
        arguments=[
            f"model={tmp_path / 'out/model.safetensors'}",
            f"test={tmp_path / 'test.safetensors'}",
            f"metrics={tmp_path / 'metrics.json'}",
        ],
    ) as job:
        evaluate_compression.main(job)
    metrics = files.read_json(tmp_path / "metrics.json")["metrics"]
    assert len(metrics["test/rmse_60"]) == 2


@pytest.mark.parametrize("writes", [2, 8])  # in the first problem, and in the second
def test_a_step_that_is_stopped_goes_on_to_the_same_bytes(tmp_path, monkeypatch, writes):
    tensor_files.write_tensors(tmp_path / "transfer", tensors())

    def run(folder):
        outputs = [f"{name}={tmp_path / folder / name}" for name in ("model", "history")]
        (tmp_path / folder).mkdir(exist_ok=True)
        params = json.dumps(dataclasses.asdict(PARAMS))
        arguments = ["--params", params, f"transfer={tmp_path / 'transfer'}", *outputs]
        options = {"reads": ["transfer"], "writes": ["model", "history"], "arguments": arguments}
        with step.start(compress.Params, **options) as job:
            compress.main(job)

    run("whole")
    saves, save_state = [], checkpoints.save_state

    def stopping(*given):
        save_state(*given)
        saves.append(1)
        if len(saves) == writes:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "save_state", stopping)
        with pytest.raises(SystemExit) as caught:
            run("stopped")
    assert caught.value.code == 130
    assert (tmp_path / "stopped" / f"resume_{'a' if writes <= 6 else 'b'}.pt").exists()
    run("stopped")
    for name in ("model", "history"):
        first, second = ((tmp_path / folder / name) for folder in ("whole", "stopped"))
        if name == "model":
            assert first.read_bytes() == second.read_bytes()
        else:
            assert files.read_json(first)["history"] == files.read_json(second)["history"]
    assert sorted(p.name for p in (tmp_path / "stopped").iterdir()) == ["history", "model"]
