import dataclasses
import json

import pytest
import torch

import bad_inputs
from pr12.core import checkpoints, tensor_files
from pr12.photostyle import cross_term, invert, photo, quality, stylise, synthesise
from pr12.photostyle.model import experiments
from pr12.photostyle.model.experiments import Task
from pr12.workflow import step
from pr12.workflow.errors import UserError

NETWORK = {
    "architecture": "vgg19",
    "trained": False,
    "pooling": "average",
    "normalise": "layer",
    "weights_seed": 0,
    "bfloat16": False,
}
LAYERS = ["conv1_1", "conv2_1"]
INVERT = NETWORK | {
    "seeds": [0, 1],
    "photographs": ["a"],
    "layers": LAYERS,
    "total_variation": [1.0, 1.0],
    "beta": 2.0,
    "alpha": 6.0,
    "alpha_weight": 8e-10,
    "iterations": 2,
    "history": 5,
}
SYNTHESISE = NETWORK | {
    "seeds": [0],
    "texture": "brick",
    "layers": LAYERS,
    "depths": [1, 2],
    "iterations": 2,
    "history": 5,
    "shortest_lag": 3,
    "longest_lag": 12,
}
STYLISE = NETWORK | {
    "seeds": [0],
    "pair": "p",
    "content_layers": ["conv2_1"],
    "style_layers": LAYERS,
    "depths": [2],
    "ratios": [0.01],
    "starts": ["noise", "content"],
    "iterations": 2,
    "history": 5,
}
PHOTO = NETWORK | {
    "seeds": [0, 1],
    "pair": "p",
    "content_layers": ["conv2_1"],
    "style_layers": LAYERS,
    "content_weight": 1.0,
    "style_weight": 1.0,
    "photorealism": [10000.0],
    "iterations": 2,
    "history": 5,
}
CROSS_TERM = NETWORK | {"seeds": [0], "pair": "p", "layers": LAYERS}
QUALITY = {"affine_radius": 3, "smoothing_radius": 3, "smoothing_epsilon": 0.01}


@pytest.fixture
def photographs(tmp_path):
    drawn = torch.Generator().manual_seed(0)

    def pixels(*shape):
        return torch.randint(0, 256, shape, dtype=torch.uint8, generator=drawn)

    labels = torch.zeros(32, 40, dtype=torch.uint8)
    labels[16:] = 1
    tensors = {
        "p/content": pixels(32, 40, 3),
        "p/style": pixels(36, 32, 3),
        "p/content_mask": labels,
        "p/style_mask": labels.T.contiguous()[:36, :32].contiguous(),
        "p/published": pixels(32, 40, 3),
        "photograph/a": pixels(32, 32, 3),
        "texture/brick": pixels(32, 32, 3),
    }
    path = tmp_path / "photographs.safetensors"
    tensor_files.write_tensors(path, tensors)
    return path


def ran(module, params, writes, tmp_path, **paths):
    given = [f"{name}={path}" for name, path in paths.items()]
    out = {name: tmp_path / f"{name}.{kind}" for name, kind in writes.items()}
    arguments = ["--params", json.dumps(params), *given]
    arguments += [f"{name}={path}" for name, path in out.items()]
    reads = [name for name in paths if name != "weights"]
    with step.start(
        module.Params, reads=reads, optional=["weights"], writes=list(out), arguments=arguments
    ) as job:
        module.main(job)
    return out


MADE = {"metrics": "json", "picture": "safetensors"}


def metrics_of(out):
    return json.loads(out["metrics"].read_text())["metrics"]


def test_an_inversion_tells_the_error_of_every_depth_and_seed(photographs, tmp_path):
    out = ran(invert, INVERT, MADE, tmp_path, photographs=photographs)
    metrics = metrics_of(out)
    assert set(metrics) == {
        f"{kind}/error_depth{depth}" for kind in ("features", "image") for depth in (1, 2)
    }
    assert all(len(values) == 2 for values in metrics.values())
    assert len(set(metrics["image/error_depth1"])) == 2  # the seeds start from other noise
    assert set(tensor_files.read_tensors(out["picture"])) == {
        "a/photograph",
        "a/depth1",
        "a/depth2",
    }
    assert not list(tmp_path.glob("resume*"))


def test_a_texture_is_measured_at_every_number_of_layers(photographs, tmp_path):
    out = ran(synthesise, SYNTHESISE, MADE, tmp_path, photographs=photographs)
    metrics = metrics_of(out)
    assert {"depth1/texture_distance", "depth2/periodicity_error", "noise/texture_distance"} <= set(
        metrics
    )
    assert set(tensor_files.read_tensors(out["picture"])) == {"source", "depth1", "depth2"}


def test_a_style_is_made_for_every_setting(photographs, tmp_path):
    out = ran(stylise, STYLISE, MADE, tmp_path, photographs=photographs)
    names = {f"content1_layers2_ratio0.01_{start}" for start in ("noise", "content")}
    assert set(tensor_files.read_tensors(out["picture"])) == names | {"content", "style"}
    kept = [metrics_of(out)[f"{name}/edge_similarity"][0] for name in sorted(names)]
    assert kept[0] > kept[1]  # two iterations from the content are still near it


@pytest.mark.slow
def test_a_photo_style_is_made_and_measured(photographs, tmp_path):
    results = ran(photo, PHOTO, {"results": "safetensors"}, tmp_path, photographs=photographs)[
        "results"
    ]
    info = json.loads(tensor_files.read_metadata(results)["info"])
    assert info["photorealism"] == ["lambda10000"]
    assert {"content", "published", "neural/0", "first/1"} <= set(info["style_distance"])
    out = ran(quality, QUALITY, MADE, tmp_path, photographs=photographs, results=results)
    metrics = metrics_of(out)
    first, last = metrics["first/matting_energy"], metrics["lambda10000/matting_energy"]
    assert all(b < a for a, b in zip(first, last, strict=True))
    assert metrics["content/content_distance"] == [0, 0]
    assert metrics["content/edge_similarity"] == [1, 1]
    ratio = metrics["lambda10000/ratio_matting_energy"][0]
    assert ratio == pytest.approx(metrics["neural/matting_energy"][0] / last[0])


def test_a_sweep_without_the_papers_lambda_is_measured(photographs, tmp_path):
    params = PHOTO | {"seeds": [0], "photorealism": [100.0, 1e6]}
    results = ran(photo, params, {"results": "safetensors"}, tmp_path, photographs=photographs)
    out = ran(quality, QUALITY, MADE, tmp_path, photographs=photographs, **results)
    metrics = metrics_of(out)
    assert {"lambda100/matting_energy", "smoothed/matting_energy"} <= set(metrics)
    assert metrics["smoothed/matting_energy"] < metrics["lambda100/matting_energy"]


def test_a_file_that_is_no_result_of_photo_is_refused(photographs, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        ran(quality, QUALITY, MADE, tmp_path, photographs=photographs, results=photographs)
    assert ended.value.code == 2
    assert "is no result of photo; give one" in capsys.readouterr().err


def test_masks_without_overlap_leave_no_cross_term(photographs, tmp_path):
    out = ran(cross_term, CROSS_TERM, {"metrics": "json"}, tmp_path, photographs=photographs)
    metrics = metrics_of(out)
    assert (
        metrics["masked/ratio_cross_largest"][0]
        < 1e-6
        < 1e-3
        < abs(metrics["plain/ratio_cross_largest"][0])
    )


def test_a_resumed_run_gives_the_same_images(tmp_path, monkeypatch):
    evaluations = []

    def objective(image):
        return {"loss": (image - 0.3).pow(4).sum()}

    def counted(image):
        evaluations.append(1)
        return objective(image)

    def tasks(iterations):
        start = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        return {
            "a": Task(lambda images: start, objective, 3),
            "b": Task(lambda images: images["a"] + 0.01, objective, iterations),
        }

    def job(name):
        paths = {"metrics": tmp_path / name / "metrics.json"}
        return step.Job(None, paths, (), "pr12.photostyle.invert", "")

    monkeypatch.setattr(experiments, "OFTEN", 2)
    whole = experiments.completed(job("whole"), tasks(6), 3)
    calls = []

    def killed(image):
        calls.append(1)
        if len(calls) > 4:
            raise KeyboardInterrupt
        return objective(image)

    broken = tasks(6)
    broken["b"] = broken["b"]._replace(objective=killed)
    with pytest.raises(KeyboardInterrupt):
        experiments.completed(job("killed"), broken, 3)
    again = tasks(6)
    again["a"] = again["a"]._replace(start=lambda images: 1 / 0)  # it is there: nobody asks for it
    again["b"] = again["b"]._replace(objective=counted)
    resumed = experiments.completed(job("killed"), again, 3)
    assert len(evaluations) < 2 + 6  # it went on from the second iteration
    for name in ("a", "b"):
        assert torch.equal(whole[name].image, resumed[name].image)
        assert whole[name].parts == resumed[name].parts


STEPS = [
    (invert, INVERT, MADE),
    (synthesise, SYNTHESISE, MADE),
    (stylise, STYLISE, MADE),
    (photo, PHOTO, {"results": "safetensors"}),
]


@pytest.mark.parametrize(
    ("module", "params", "writes"), STEPS, ids=[row[0].__name__.split(".")[-1] for row in STEPS]
)
def test_a_checkpoint_of_other_photographs_is_not_gone_on_from(
    photographs, tmp_path, monkeypatch, module, params, writes
):
    """Its fingerprint knows the inputs: the same step in the same folder, after other inputs."""
    keep = checkpoints.save_state
    whole = ran(module, params, writes, tmp_path / "whole", photographs=photographs)

    def stopped(path, state, fingerprint):
        keep(path, state, fingerprint)
        raise KeyboardInterrupt

    tensors = tensor_files.read_tensors(photographs)
    other = tmp_path / "other.safetensors"
    changed = {name: 255 - ours if "mask" not in name else ours for name, ours in tensors.items()}
    tensor_files.write_tensors(other, changed)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_state", stopped)
        with pytest.raises(SystemExit):
            ran(module, params, writes, out, photographs=other)
    assert list(out.glob("resume*"))
    again = ran(module, params, writes, out, photographs=photographs)
    for name in set(writes) & {"picture", "results"}:
        assert again[name].read_bytes() == whole[name].read_bytes()
    assert not list(out.glob("resume*"))


# step, its params, what changes, words that the message must hold
BAD_INPUTS = [
    (invert, INVERT, {"total_variation": [1.0]}, ["total_variation", "2 numbers", "layers"]),
    (invert, INVERT, {"total_variation": [1.0, -1.0]}, ["total_variation", "at least 0"]),
    (invert, INVERT, {"trained": True}, ["trained", "no weights", "add weights=PATH"]),
    (invert, INVERT, {"photographs": ["nobody"]}, ["photograph/nobody", "photograph/a"]),
    (invert, INVERT, {"photographs": []}, ["photographs", "at least one"]),
    (
        invert,
        INVERT,
        {"layers": ["conv9_9", "conv1_1"]},
        ["layers", "conv9_9", "layers of vgg19: conv1_1"],
    ),
    (invert, INVERT, {"layers": ["", "conv1_1"]}, ["layers", "layers of vgg19: conv1_1"]),
    (invert, INVERT, {"iterations": -1}, ["iterations", "at least 1"]),
    (invert, INVERT, {"history": 0}, ["history", "at least 1"]),
    (invert, INVERT, {"beta": 0.0}, ["beta", "above 0"]),
    (invert, INVERT, {"seeds": []}, ["seeds", "at least one"]),
    (invert, INVERT, {"architecture": "vgg"}, ["architecture", "vgg", "one of alexnet"]),
    (invert, INVERT, {"pooling": "none"}, ["pooling", "max, average"]),
    (synthesise, SYNTHESISE, {"depths": [3]}, ["depths is [3]", "from 1 to 2"]),
    (synthesise, SYNTHESISE, {"depths": [-1]}, ["depths", "at least 1"]),
    (synthesise, SYNTHESISE, {"texture": "sand"}, ["texture", "brick, grass, gravel"]),
    (synthesise, SYNTHESISE, {"longest_lag": 40}, ["3 to 40 pixels", "half its shorter side"]),
    (
        synthesise,
        SYNTHESISE,
        {"shortest_lag": 13},
        ["longest_lag is 12", "at least shortest_lag, 13"],
    ),
    (stylise, STYLISE, {"depths": [0]}, ["depths", "at least 1"]),
    (stylise, STYLISE, {"depths": [7]}, ["depths is [7]", "from 1 to 2"]),
    (stylise, STYLISE, {"pair": "q"}, ["q/content", "p/content"]),
    (invert, INVERT, {"seeds": [1, 1]}, ["seeds is [1, 1]", "name each seed once"]),
    (stylise, STYLISE, {"ratios": [0.1, 0.10000001]}, ["ratios", "0.1 twice", "name it once"]),
    (synthesise, SYNTHESISE, {"depths": [1, 1]}, ["depths", "1 twice", "name it once"]),
    (stylise, STYLISE, {"ratios": [0.0]}, ["ratios", "above 0"]),
    (stylise, STYLISE, {"starts": ["grey"]}, ["starts", "noise, content"]),
]


@pytest.mark.parametrize(("module", "params", "change", "words"), BAD_INPUTS)
def test_a_mistake_is_told(photographs, tmp_path, capsys, module, params, change, words):
    bad_inputs.answered(
        lambda: ran(module, params | change, MADE, tmp_path, photographs=photographs), words, capsys
    )
    assert not (tmp_path / "metrics.json").exists()


def test_a_pair_of_three_classes_has_no_sky_and_building(photographs, tmp_path):
    tensors = tensor_files.read_tensors(photographs)
    tensors["p/style_mask"][0, 0] = 2
    tensor_files.write_tensors(photographs, tensors)
    with pytest.raises(SystemExit):
        ran(cross_term, CROSS_TERM, {"metrics": "json"}, tmp_path, photographs=photographs)


def test_params_hold_no_defaults():
    for module in (invert, synthesise, stylise, photo, quality, cross_term):
        fields = dataclasses.fields(module.Params)
        assert all(field.default is dataclasses.MISSING for field in fields)


def test_an_unknown_picture_is_told():
    with pytest.raises(UserError, match="there is no x among the photographs: y"):
        experiments.picture({"y": torch.zeros(1)}, "x")
