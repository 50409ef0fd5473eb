import dataclasses
import hashlib
import json

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from pr12.core import tensor_files
from pr12.distill import library
from pr12.distill.data import problems
from pr12.distill.model import library_models, selection, teachers
from pr12.workflow import step
from pr12.workflow.errors import UserError
from pr12.workflow.params import make

PARAMS = {
    "problems": ["digits_p1", "breast_cancer"],
    "generators": ["random", "nbe", "munge"],
    "sizes": [60, 90, 150],
    "validation": 40,
    "seed": 0,
    "swap_probability": 0.5,
    "local_variance": 1.0,
    "nbe_components": [1, 2],
    "trees": 2,
    "network_iterations": 5,
    "selection_rounds": 5,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("library")
    work(folder, PARAMS)
    return folder


def work(folder, params, **paths):
    outputs = {
        "transfer": folder / "transfer.safetensors",
        "test": folder / "test.safetensors",
        "metrics": folder / "metrics.json",
    }
    arguments = ["--params", json.dumps(params)]
    arguments += [f"{name}={path}" for name, path in (outputs | paths).items()]
    with step.start(
        library.Params,
        optional=["adult", "letter", "covtype"],
        writes=list(outputs),
        arguments=arguments,
    ) as job:
        library.main(job)


def test_selection_worked_by_hand():
    # Errors: A (.2, .4) RMSE .316; B (.5, .1) .361; C (.9, .0) .636, all of the same sign but C's
    # first. A + B: (.35, .25) .304 is the best start; adding A: (.3, .3) .3 is better still; then
    # B: (.35, .25) again, A: (.275, .325) .301 both worse, so A, A, B is kept.
    predictions = np.array([[0.8, 0.4], [0.5, 0.1], [0.1, 0.0]])
    targets = np.array([1, 0])
    assert selection.select(predictions, targets, 0).tolist() == [1, 1, 0]
    assert selection.select(predictions, targets, 1).tolist() == [2, 1, 0]
    assert selection.select(predictions, targets, 9).tolist() == [2, 1, 0]


def test_selection_is_never_worse_than_the_best_model_and_finds_opposite_errors():
    rng = np.random.default_rng(0)
    for _ in range(20):
        predictions, targets = rng.random((8, 30)), rng.integers(0, 2, 30)
        counts = selection.select(predictions, targets, 20)
        mean = counts @ predictions / counts.sum()
        assert selection.rmse(mean, targets) <= selection.rmse(predictions, targets).min()


def literal_selection(predictions, targets, rounds):
    """Greedy selection with replacement, the mean taken anew of the whole list each time."""

    def error(members):
        return np.sqrt(np.mean((predictions[members].mean(axis=0) - targets) ** 2))

    ranked = sorted(range(len(predictions)), key=lambda m: error([m]))
    members = min((ranked[: n + 1] for n in range(len(ranked))), key=error)
    best = members
    for _ in range(rounds):
        members = min(([*members, m] for m in range(len(predictions))), key=error)
        best = min(best, members, key=error)
    return np.bincount(best, minlength=len(predictions))


def test_selection_is_the_algorithm_word_for_word():
    rng = np.random.default_rng(3)
    longest = 0
    for _ in range(20):
        targets = rng.integers(0, 2, 40)
        predictions = np.clip(targets + 0.5 * rng.standard_normal((6, 40)), 0, 1)
        counts = selection.select(predictions, targets, 12)
        assert counts.tolist() == literal_selection(predictions, targets, 12).tolist()
        longest = max(longest, counts.max())
    assert longest > 2  # some model was added again and again


def test_best_net_and_best_single_are_chosen_on_validation():
    constant = {
        name: DummyClassifier(strategy="constant", constant=value)
        for name, value in (("net a", 0), ("tree", 1), ("net b", 1))
    }
    inputs = np.zeros((4, 1), np.float32)
    train = (inputs, np.array([0, 1, 0, 1]))
    teacher = selection.teach(constant, train, (inputs, np.array([0, 0, 0, 1])), 0)
    assert teacher.best_net.models == teacher.best_single.models == (constant["net a"],)
    # three quarters 0: the mean of one 0 and two 1s is worse than 0 alone
    assert selection.probabilities(teacher.ensemble, inputs).tolist() == [0, 0, 0, 0]
    teacher = selection.teach(constant, train, (inputs, np.array([1, 1, 1, 1])), 0)
    assert teacher.best_net.models == (constant["net b"],)
    assert teacher.best_single.models == (constant["tree"],)


def test_ensemble_is_the_weighted_mean_of_its_models():
    inputs = np.zeros((2, 1), np.float32)
    models = tuple(
        DummyClassifier(strategy="constant", constant=c).fit(inputs, [0, 1]) for c in (0, 1)
    )
    ensemble = selection.Ensemble(models, np.array([0.25, 0.75]))
    assert selection.probabilities(ensemble, inputs).tolist() == [0.75, 0.75]
    assert selection.size_bytes(ensemble) > selection.size_bytes(
        selection.Ensemble(models[:1], np.ones(1))
    )


def test_every_family_of_the_paper_is_in_the_library():
    names = list(library_models.candidates(100, 5, 5, 0))
    families = ("logistic", "knn", "naive Bayes", "tree", "bagged", "boosted", "forest")
    for family in (*families, "extra trees", "gradient boosted", "svm", "net"):
        assert sum(name.startswith(family) for name in names) >= 2, family


def test_library_writes_training_and_test_apart(made):
    transfer = tensor_files.read_tensors(made / "transfer.safetensors")
    test = tensor_files.read_tensors(made / "test.safetensors")
    problem = problems.make("digits_p1", problems.bundled("digits"), 60, 40, 0)
    for split, part in (("train", problem.train), ("validation", problem.validation)):
        inputs = transfer[f"digits_p1/{split}/inputs"].numpy()
        assert (inputs == part.attributes.astype(np.float32)).all()
        assert (transfer[f"digits_p1/{split}/targets"].numpy() == part.targets).all()
    assert (test["digits_p1/targets"].numpy() == problem.test.targets).all()
    held_out = {row.tobytes() for row in test["digits_p1/inputs"].numpy()}
    for name, tensor in transfer.items():
        if name.startswith("digits_p1/") and name.endswith("inputs"):
            assert not held_out & {row.tobytes() for row in tensor.numpy()}, name
        if name.endswith("probabilities"):
            assert tensor.min() >= 0
            assert tensor.max() <= 1
    for generator in PARAMS["generators"]:
        assert transfer[f"breast_cancer/{generator}/inputs"].shape == (90, 30)
        assert transfer[f"breast_cancer/{generator}/probabilities"].shape == (90,)


def test_library_metrics_follow_from_its_files(made):
    metrics = json.loads((made / "metrics.json").read_text())["metrics"]
    test = tensor_files.read_tensors(made / "test.safetensors")
    values = []
    for problem in PARAMS["problems"]:
        targets = test[f"{problem}/targets"]
        for key in ("ensemble", "best_net", "best_single"):
            error = (test[f"{problem}/{key}"] - targets).square().mean().sqrt().item()
            assert metrics[f"test/rmse_{key}_{problem}"] == [pytest.approx(error, rel=1e-4)]
        values += metrics[f"test/rmse_ensemble_{problem}"]
        validation = {
            k: metrics[f"validation/rmse_{k}_{problem}"][0]
            for k in ("ensemble", "best_net", "best_single")
        }
        assert validation["ensemble"] <= validation["best_single"] <= validation["best_net"]
        assert metrics[f"ensemble/size_{problem}_bytes"][0] > 0
    assert metrics["test/rmse_ensemble"] == [pytest.approx(np.mean(values))]
    assert metrics["library/models"] == [56.0]


def test_the_same_params_give_the_same_bytes_and_fewer_sizes_a_prefix(made, tmp_path):
    work(tmp_path, PARAMS | {"problems": ["breast_cancer"], "sizes": [60, 110]})
    whole = tensor_files.read_tensors(made / "transfer.safetensors")
    less = tensor_files.read_tensors(tmp_path / "transfer.safetensors")
    for part in ("train", "validation"):
        name = f"breast_cancer/{part}/probabilities"
        assert (less[name] == whole[name]).all()
    assert (less["breast_cancer/munge/inputs"] == whole["breast_cancer/munge/inputs"][:50]).all()


def test_library_reads_folders_and_its_provenance_tells_their_files(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{'AZ'[i % 2]},{','.join(map(str, rng.integers(0, 16, 16)))}\n" for i in range(150)]
    for name in ("letter", "adult"):
        (tmp_path / name).mkdir()
    path = tmp_path / "letter" / "letter-recognition.data"
    path.write_text("".join(rows))
    params = PARAMS | {"problems": ["letter_p2"], "generators": ["munge"], "trees": 1}
    work(tmp_path, params, letter=tmp_path / "letter", adult=tmp_path / "adult")
    provenance = json.loads((tmp_path / "metrics.json").read_text())["provenance"]
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance["inputs"] == {
        "letter/letter-recognition.data": {"path": str(path), "sha256": checksum}
    }  # adult's folder was given too, but not read
    assert len(tensor_files.read_tensors(tmp_path / "test.safetensors")["letter_p2/targets"]) == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"problems": ["adult"]}, "needs UCI's files; fetch adult and add adult=FOLDER"),
        ({"problems": ["iris"]}, "must be one of breast_cancer"),
        ({"sizes": [60, 60]}, "sizes is [60, 60]; it must be a list of rising numbers"),
        ({"sizes": [60]}, "sizes is [60]; it must be a list with at least 2 elements"),
        ({"generators": ["munge", "munge"]}, "holds munge twice"),
        ({"nbe_components": [61]}, "nbe_components"),
        ({"local_variance": 0}, "local_variance is 0"),
        ({"swap_probability": 1.5}, "swap_probability is 1.5"),
    ],
)
def test_bad_params_are_one_sentence_and_write_nothing(tmp_path, capsys, change, message):
    with pytest.raises(SystemExit) as stopped:
        work(tmp_path, PARAMS | change)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_class_too_rare_to_calibrate_is_one_sentence():
    params = make(library.Params, PARAMS, "test")
    problem = problems.make("digits_p1", problems.bundled("digits"), 60, 40, 0)
    rare = problem.train._replace(targets=np.eye(60, dtype=int)[0])
    with pytest.raises(UserError, match="fewer than 3 training examples"):
        teachers.produce(params, problem._replace(train=rare))


def test_each_generator_has_its_own_stream():
    params = make(library.Params, PARAMS, "test")
    problem = problems.make("breast_cancer", problems.bundled("breast_cancer"), 60, 40, 0)
    first = teachers.synthesise(params, problem, "random", 30)
    other = teachers.synthesise(dataclasses.replace(params, seed=1), problem, "random", 30)
    assert (first == teachers.synthesise(params, problem, "random", 30)).all()
    assert (first != other).any()
