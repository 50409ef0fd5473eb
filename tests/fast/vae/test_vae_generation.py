import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.special import exp1
from torch import nn

from pr12.core import tensor_files
from pr12.data import splits
from pr12.vae import classifier, generation
from pr12.vae.data import packed_arrays
from pr12.vae.model import distances, features, judging, networks, saved_nets
from pr12.workflow import step
from pr12.workflow.errors import UserError

PIXELS, SIZE = 12, (3, 4)
PARAMS = classifier.Params(
    seed=0, hidden=(16, 8), width_scale=1.0, batch_size=10, epochs=12, learning_rate=0.01
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def normals(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def classes(n=60, seed=0):
    """Images of three classes, each a bright column."""
    labels = torch.arange(n) % 3
    images = torch.rand(n, *SIZE, generator=torch.Generator().manual_seed(seed)) / 2
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, label] += 0.5
    return splits.Split(images, labels)


# The classifier


def test_the_classifier_learns_and_says_how_well():
    states = list(classifier.train(PARAMS, classes(), classes(30, seed=1)))
    rows = [state["row"] for state in states]
    assert [row["epoch"] for row in rows] == list(range(1, 13))
    assert rows[-1]["train/loss_nats"] < 0.2 < math.log(3) / 2 < rows[0]["train/loss_nats"]
    assert rows[-1]["validation/accuracy"] == 1.0
    held_out = classes(30, seed=1)
    logits = features.logits(states[-1]["parameters"], held_out.images.flatten(1))
    assert (logits.argmax(dim=1) == held_out.labels).all()


def test_the_same_seed_gives_the_same_net_and_another_seed_another():
    def last(seed):
        params = dataclasses.replace(PARAMS, seed=seed, epochs=2)
        return list(classifier.train(params, classes(), classes()))[-1]["parameters"]

    first, again, other = last(0), last(0), last(1)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


def test_widths_are_scaled_and_the_accuracy_counts_right_answers():
    params = dataclasses.replace(PARAMS, width_scale=0.5, epochs=1, learning_rate=1e-9)
    (state,) = classifier.train(params, classes(), classes())
    shapes = [tuple(state["parameters"][f"{index}.weight"].shape) for index in range(3)]
    assert shapes == [(12, 8), (8, 4), (4, 3)]
    answers = features.logits(state["parameters"], classes().images.flatten(1)).argmax(dim=1)
    share = np.mean(answers.numpy() == classes().labels.numpy())
    assert state["row"]["validation/accuracy"] == pytest.approx(share)


def test_features_and_logits_are_those_of_torchs_own_layers():
    parameters = features.initial([12, 7, 5, 3], seed=0)
    parameters = {name: value + 0.1 for name, value in parameters.items()}
    first, second, last = nn.Linear(12, 7), nn.Linear(7, 5), nn.Linear(5, 3)
    for index, layer in enumerate((first, second, last)):
        layer.weight.data = parameters[f"{index}.weight"].T
        layer.bias.data = parameters[f"{index}.bias"]
    x = normals(20, 12)
    with torch.inference_mode():
        hidden = nn.Sequential(first, nn.ReLU(), second, nn.ReLU())(x)
        torch.testing.assert_close(features.features(parameters, x), hidden)
        torch.testing.assert_close(features.logits(parameters, x), last(hidden))
    assert (hidden == 0).any()
    assert (hidden > 0).any()


@pytest.mark.parametrize(
    ("changed", "data", "message"),
    [
        ({}, splits.Split(torch.zeros(20, 3, 4), torch.zeros(20).long()), "one class only"),
        ({"batch_size": 61}, classes(), "train has 60 images; batch_size is 61"),
        ({"learning_rate": 1e30}, classes(), "not finite in epoch .; lower learning_rate"),
    ],
)
def test_what_the_classifier_cannot_learn_from_is_told(changed, data, message):
    with pytest.raises(UserError, match=message):
        list(classifier.train(dataclasses.replace(PARAMS, **changed), data, data))


def test_a_file_of_another_kind_is_no_classifier(tmp_path):
    tensor_files.write_tensors(tmp_path / "vae", linear_model())
    with pytest.raises(UserError, match="is no classifier"):
        features.load(tmp_path / "vae", PIXELS)
    tensor_files.write_tensors(tmp_path / "other", features.initial([9, 5, 3], seed=0))
    with pytest.raises(UserError, match="images of 9 pixels and the data have 12"):
        features.load(tmp_path / "other", PIXELS)


def write_split(path, data):
    grey = (data.images.clamp(0, 1) * 255).round().byte()
    tensor_files.write_tensors(path, {"images": grey, "labels": data.labels}, {"maximum": "255"})


def test_the_classifiers_step_writes_net_and_history(tmp_path):
    for seed, name in enumerate(("train", "validation")):
        write_split(tmp_path / name, classes(seed=seed))
    paths = {name: tmp_path / name for name in ("train", "validation", "model", "history")}
    reads = ("train", "validation")
    job = step.Job(PARAMS, paths, reads, "pr12.vae.classifier", "command")
    classifier.main(job)
    first = (tmp_path / "model").read_bytes()
    classifier.main(job)
    assert (tmp_path / "model").read_bytes() == first
    said = json.loads((tmp_path / "history").read_text())
    assert said["history"][-1]["validation/accuracy"] == 1.0
    assert said["provenance"]["command"] == "command"
    assert features.features(features.load(paths["model"], PIXELS), normals(2, 12)).shape == (2, 8)


# Systems whose answers are known: images are a linear function of two codes, x = z W + b, and the
# encoder inverts it but for a factor, so that codes of the data are N(0, factor^2 I).

GENERATOR = normals(2, PIXELS, seed=5)
OFFSET = normals(1, PIXELS, seed=6)


def linear_model(factor=1.0, shift=0.0, variance=1e-8):
    inverse = torch.linalg.pinv(GENERATOR)
    return {
        "encoder.mean.weight": (factor * inverse)[None],
        "encoder.mean.bias": (shift - factor * OFFSET @ inverse)[None],
        "encoder.log_variance.weight": torch.zeros(1, PIXELS, 2),
        "encoder.log_variance.bias": torch.full((1, 1, 2), math.log(variance)),
        "decoder.mean.weight": (GENERATOR / factor)[None],
        "decoder.mean.bias": (OFFSET - shift / factor * GENERATOR.sum(dim=0))[None],
        "decoder.log_variance": torch.zeros(1, 1, 1),
    }


def saved(*replicas, objective="sgvb_b", latent_dim=2):
    joined = {name: torch.cat([ours[name] for ours in replicas])[None] for name in replicas[0]}
    architecture = networks.Architecture(PIXELS, (), latent_dim, "linear")
    return saved_nets.Saved(architecture, objective, (100,), joined)


def images_of(n, seed):
    return normals(n, 2, seed=seed) @ GENERATOR + OFFSET


@pytest.fixture(scope="module")
def judge():
    net = features.initial([PIXELS, 16, 8, 3], seed=0)
    return judging.Judge(net, images_of(500, seed=1), images_of(300, seed=2))


def test_a_model_that_is_right_is_as_near_to_the_data_as_they_are_to_themselves(judge):
    actual = generation.metrics("vae", saved(linear_model()), judge)
    assert actual["vae/reconstruction_mse"] == [pytest.approx(0, abs=1e-6)]
    expected = 0.5 * PIXELS * math.log(2 * math.pi)  # -log N(x; x, I)
    assert actual["vae/reconstruction_nll_nats"] == [pytest.approx(expected, abs=1e-3)]
    assert abs(actual["vae/mmd_distance"][0]) < 0.01
    assert actual["vae/frechet_distance_reconstructed"] == [pytest.approx(0, abs=1e-4)]
    scale = distances.covariance(features.features(judge.classifier, judge.test)).trace().item()
    assert 0 < actual["vae/frechet_distance"][0] < 0.05 * scale
    assert 0 < judging.floor(judge) < 0.05 * scale


def test_an_autoencoder_with_codes_elsewhere_needs_a_fitted_gaussian(judge):
    plain = saved(linear_model(factor=5.0, shift=3.0), objective="autoencoder")
    actual = generation.metrics("autoencoder", plain, judge)
    assert actual["autoencoder/reconstruction_mse"] == [pytest.approx(0, abs=1e-6)]
    assert actual["autoencoder/mmd_distance"][0] > 0.2
    assert actual["autoencoder/frechet_distance_reconstructed"] == [pytest.approx(0, abs=1e-4)]
    fitted = actual["autoencoder_fitted/frechet_distance"][0]
    assert actual["autoencoder/frechet_distance"][0] > 20 * fitted
    assert fitted < 3 * judging.floor(judge)


def test_the_aggregated_posterior_of_a_vae_has_its_variance_an_autoencoders_has_none(judge):
    # The means lie in a point; with variance 1 the codes are N(0, I), which the means alone hide.
    point = linear_model(variance=1.0)
    for part in ("weight", "bias"):
        point[f"encoder.mean.{part}"] *= 0
    vae = generation.metrics("vae", saved(point), judge)
    plain = generation.metrics("autoencoder", saved(point, objective="autoencoder"), judge)
    assert abs(vae["vae/mmd_distance"][0]) < 0.01
    # 1 + E c/(c + |x - y|^2) - 2 E c/(c + |x|^2), c = 4, of x and y from N(0, I) in the plane
    exact = 1 + math.e * exp1(1) - 4 * math.exp(2) * exp1(2)
    assert plain["autoencoder/mmd_distance"] == [pytest.approx(exact, abs=0.03)]
    assert "vae_fitted/frechet_distance" not in vae


def test_a_replica_alone_has_the_metrics_that_it_has_in_a_stack(judge):
    first, second = linear_model(variance=0.5), linear_model(factor=2.0, variance=0.5)
    alone = generation.metrics("vae", saved(first), judge)
    both = generation.metrics("vae", saved(first, second), judge)
    for key, (value,) in alone.items():
        assert both[key][0] == pytest.approx(value, rel=1e-4, abs=1e-6)
        assert len(both[key]) == 2
    assert both["vae/mmd_distance"][1] != pytest.approx(both["vae/mmd_distance"][0], rel=1e-3)


def test_metrics_do_not_depend_on_the_size_of_a_batch(judge, monkeypatch):
    plain = saved(linear_model(factor=2.0), objective="autoencoder")
    whole = generation.metrics("autoencoder", plain, judge)
    monkeypatch.setattr(judging, "BATCH", 7)
    for key, values in generation.metrics("autoencoder", plain, judge).items():
        assert values == pytest.approx(whole[key], rel=1e-4, abs=1e-6)


def test_draws_from_a_fitted_gaussian_have_the_moments_of_the_codes():
    codes = torch.stack([normals(400, 3, seed=s) @ normals(3, 3, seed=s + 10) + s for s in (1, 2)])
    drawn = judging.fitted(codes, normals(2, 50_000, 3, seed=3))
    for ours, other in zip(codes, drawn, strict=True):
        assert (ours.mean(dim=0) - other.mean(dim=0)).abs().max() < 0.05
        gap = distances.covariance(ours) - distances.covariance(other)
        assert gap.abs().max() < 0.03 * distances.covariance(ours).abs().max()


def test_codes_that_fill_no_space_can_be_fitted():
    codes = torch.cat([normals(1, 50, 1), torch.full((1, 50, 1), 2.0)], dim=2)
    drawn = judging.fitted(codes, normals(1, 30, 2, seed=1))
    assert torch.equal(drawn[..., 1], torch.full((1, 30), 2.0))
    assert drawn[..., 0].std() > 0.5


def test_the_floor_compares_as_many_training_images_as_there_are_tests(judge):
    few = judge._replace(train=judge.train[:300])
    assert judging.floor(judge) == judging.floor(few)


def systems():
    plain = saved(linear_model(factor=3.0), linear_model(), objective="autoencoder")
    vae = saved(linear_model(), linear_model())
    return {"vae": vae, "autoencoder": plain, "vae_2d": vae, "autoencoder_2d": plain}


def test_the_picture_has_sheets_of_every_system_and_codes_of_those_in_a_plane(judge):
    labels = torch.arange(300) % 10
    shown = generation.picture(systems(), judge, labels, SIZE)
    wanted = {*systems(), "test", "autoencoder_fitted", "autoencoder_2d_fitted"}
    assert set(shown["samples"]) == wanted
    sheets = {name: packed_arrays.unpack_images(sheet) for name, sheet in shown["samples"].items()}
    assert {sheet.shape for sheet in sheets.values()} == {(8, 8, *SIZE)}
    expected = np.rint(255 * judge.test[9].clamp(0, 1).numpy().reshape(SIZE))
    np.testing.assert_array_equal(sheets["test"][1, 1], expected)
    assert not np.array_equal(sheets["vae"], sheets["autoencoder"])
    codes = (judge.test - OFFSET) @ torch.linalg.pinv(GENERATOR)
    assert len(shown["scatter"]["vae_2d"]) == 300
    assert shown["scatter"]["vae_2d"][7][:2] == pytest.approx(codes[7].tolist(), abs=0.001)
    assert shown["scatter"]["autoencoder_2d"][7][:2] == pytest.approx(
        (3 * codes[7]).tolist(), abs=2e-3
    )
    assert [label for _, _, label in shown["scatter"]["vae_2d"]][:12] == [*range(10), 0, 1]


def test_a_scatter_has_at_most_1000_codes(judge):
    many = judge._replace(test=images_of(1100, seed=3))
    shown = generation.picture({"vae_2d": systems()["vae"]}, many, torch.arange(1100), SIZE)
    assert len(shown["scatter"]["vae_2d"]) == 1000


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("vae", {"objective": "autoencoder"}, "vae was trained with the objective autoencoder"),
        ("vae", {"objective": "mcem"}, "vae was trained with the objective mcem"),
        ("autoencoder", {"objective": "sgvb_b"}, "it must be autoencoder"),
    ],
)
def test_a_system_of_another_objective_than_its_name_says_is_refused(name, changed, message):
    wrong = systems() | {name: systems()[name]._replace(**changed)}
    with pytest.raises(UserError, match=message):
        generation.check(wrong)


def test_a_pair_of_different_networks_and_a_plane_of_three_dimensions_are_refused():
    given = systems()
    wider = given["vae"].architecture._replace(latent_dim=3)
    with pytest.raises(UserError, match="vae and autoencoder have different networks"):
        generation.check(given | {"vae": given["vae"]._replace(architecture=wider)})
    with pytest.raises(UserError, match="vae_2d has 3 latent variables"):
        generation.check(given | {"vae_2d": given["vae"]._replace(architecture=wider)})
    generation.check(given)


def job_in(folder, names):
    reads = ("classifier", "train", "test", *names)
    paths = {name: folder / name for name in (*reads, "metrics", "picture")}
    return step.Job(generation.Params(), paths, reads, "pr12.vae.generation", "command")


def write_inputs(folder, tests=40):
    write_split(folder / "train", classes(60))
    write_split(folder / "test", classes(tests, seed=1))
    tensor_files.write_tensors(folder / "classifier", features.initial([PIXELS, 16, 8, 3], seed=0))
    for name, ours in systems().items():
        saved_nets.save(folder / name, ours)


@pytest.mark.parametrize("names", [("vae", "autoencoder"), tuple(systems())])
def test_the_step_writes_metrics_and_picture_alike_on_every_run(tmp_path, names):
    write_inputs(tmp_path)
    generation.main(job_in(tmp_path, names))
    picture = (tmp_path / "picture").read_bytes()
    actual = json.loads((tmp_path / "metrics").read_text())
    quantities = {
        "reconstruction_nll_nats",
        "reconstruction_mse",
        "mmd_distance",
        "frechet_distance",
        "frechet_distance_reconstructed",
    }
    wanted = {f"{name}/{quantity}" for name in names for quantity in quantities}
    wanted |= {f"{n}_fitted/frechet_distance" for n in names if n.startswith("autoencoder")}
    assert set(actual["metrics"]) == wanted | {"test/frechet_distance_of_train"}
    assert all(len(actual["metrics"][key]) == 2 for key in wanted)
    assert actual["provenance"]["inputs"].keys() == {"classifier", "train", "test", *names}
    generation.main(job_in(tmp_path, names))
    assert (tmp_path / "picture").read_bytes() == picture
    assert json.loads((tmp_path / "metrics").read_text())["metrics"] == actual["metrics"]


def test_a_single_test_image_and_a_model_of_other_images_are_told(tmp_path):
    write_inputs(tmp_path, tests=1)
    with pytest.raises(UserError, match="has 1 images; at least two are needed"):
        generation.main(job_in(tmp_path, ("vae", "autoencoder")))
    write_inputs(tmp_path)
    wide = splits.Split(torch.rand(40, 5, 5), torch.arange(40) % 3)
    write_split(tmp_path / "train", wide)
    write_split(tmp_path / "test", wide)
    with pytest.raises(UserError, match="images of 12 pixels and the data have 25"):
        generation.main(job_in(tmp_path, ("vae", "autoencoder")))
