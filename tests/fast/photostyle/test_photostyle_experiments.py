import dataclasses
import json

import pytest
import torch

from pr12.core import tensor_files
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


def test_masks_without_overlap_leave_no_cross_term(photographs, tmp_path):
    out = ran(cross_term, CROSS_TERM, {"metrics": "json"}, tmp_path, photographs=photographs)
    metrics = metrics_of(out)
    assert (
        metrics["masked/ratio_cross_largest"][0]
        < 1e-6
        < 1e-3
        < abs(metrics["plain/ratio_cross_largest"][0])
    )


def test_a_resumed_run_gives_the_same_images(tmp_path):
    def objective(image):
        return {"loss": (image - 0.3).pow(4).sum()}

    def tasks(iterations):
        start = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        return {
            "a": Task(lambda made: start, objective, 3),
            "b": Task(lambda made: made["a"] + 0.01, objective, iterations),
        }

    whole = experiments.completed(tasks(6), 3, tmp_path / "whole.pt", "x")
    calls = []

    def killed(image):
        calls.append(1)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return objective(image)

    broken = tasks(6)
    broken["b"] = broken["b"]._replace(objective=killed)
    with pytest.raises(KeyboardInterrupt):
        experiments.completed(broken, 3, tmp_path / "resume.pt", "x")
    again = tasks(6)
    again["a"] = again["a"]._replace(start=lambda made: 1 / 0)  # it is there: nobody asks for it
    resumed = experiments.completed(again, 3, tmp_path / "resume.pt", "x")
    for name in ("a", "b"):
        assert torch.equal(whole[name].image, resumed[name].image)


@pytest.mark.parametrize(
    ("module", "params", "change", "words"),
    [
        (invert, INVERT, {"total_variation": [1.0]}, "total_variation needs 2 numbers"),
        (invert, INVERT, {"trained": True}, "no weights are given"),
        (invert, INVERT, {"photographs": ["nobody"]}, "there is no photograph/nobody"),
        (invert, INVERT, {"layers": ["conv9_9", "conv1_1"]}, "has no layer 'conv9_9'"),
        (synthesise, SYNTHESISE, {"depths": [3]}, "depths must be from 1 to 2"),
        (stylise, STYLISE, {"depths": [0]}, "depths must be from 1 to 2"),
        (stylise, STYLISE, {"pair": "q"}, "there is no q/content"),
    ],
)
def test_a_mistake_is_told(photographs, tmp_path, capsys, module, params, change, words):
    with pytest.raises(SystemExit) as stopped:
        ran(module, params | change, MADE, tmp_path, photographs=photographs)
    assert stopped.value.code == 2
    assert words in capsys.readouterr().err
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
