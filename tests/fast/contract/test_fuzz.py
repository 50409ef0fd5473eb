"""Bad input of every kind, made at random: it is read, or refused in one sentence.

``python tests/fast/contract/test_fuzz.py SECONDS`` goes on with ever new inputs for that long, and
prints how many there were.
"""

import copy
import gzip
import io
import itertools
import json
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import SimpleITK as sitk  # noqa: N813
import torch
import yaml
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st
from PIL import Image

from pr12.core import checkpoints, state_dicts, tensor_files
from pr12.data import splits
from pr12.photostyle.data import masks
from pr12.photostyle.transfer import images
from pr12.rca.predict.reading import files as volume_files
from pr12.report import claims, tables
from pr12.workflow import params, step, yaml_files
from pr12.workflow import settings as project
from pr12.workflow.errors import UserError

LONG = (
    {"phases": [Phase.generate], "verbosity": Verbosity.quiet, "report_multiple_bugs": False}
    if __name__ == "__main__"
    else {}
)
fuzzed = settings(
    max_examples=100 if LONG else 40, database=None, deadline=None,
    suppress_health_check=list(HealthCheck), **LONG,
)  # fmt: skip
ROOT = Path(__file__).resolve().parents[3]
PAPERS = ("distill", "vae", "stn", "rca", "photostyle")
CLASSES = [
    (f"pr12.{package}", kind)
    for package in (*PAPERS, "data")
    for kind in params.steps(f"pr12.{package}").values()
]
READ, REFUSED = ANSWERS = ("read", "refused")
counts: Counter[str] = Counter()


def answered(function, *arguments):
    """Return whether a function took its input; anything but a `UserError` fails the test."""
    try:
        function(*arguments)
    except UserError as error:
        counts[REFUSED] += 1
        text = str(error)
        assert text.strip()
        assert "Traceback" not in text
        return REFUSED
    counts[READ] += 1
    return READ


# ------------------------------------------------------------------ values

NUMBERS = st.one_of(
    st.integers(-3, 3),
    st.integers(),
    st.floats(),
    st.sampled_from([1e309, -0.0, 2**70, 4.0, 1e-320]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value, path=()):
    """Yield the paths to all values inside a nested value."""
    yield path
    inside = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in inside:
        yield from places(each, (*path, key))


def with_change(value, path, change):
    """Return a copy in which the value at a path is another; without it if the change is `...`."""
    if not path:
        return value if change is ... else change
    value = copy.deepcopy(value)
    parent = value
    for key in path[:-1]:
        parent = parent[key]
    if change is ...:
        del parent[path[-1]]
    else:
        parent[path[-1]] = change
    return value


@st.composite
def changed(draw, value):
    """Return a nested value with one to three places changed, removed or taken from elsewhere."""
    for _ in range(draw(st.integers(1, 3))):
        every = list(places(value))
        place = draw(st.sampled_from(every))
        kind = draw(st.sampled_from(["value", "removed", "elsewhere"]))
        if kind == "value":
            change = draw(VALUES)
        elif kind == "removed":
            change = ...
        else:
            change = value
            for key in draw(st.sampled_from(every)):
                change = change[key]
            change = copy.deepcopy(change)
        value = with_change(value, place, change)
    return value


WHOLE = yaml.safe_load((ROOT / "params.yaml").read_text())


@fuzzed
@given(st.sampled_from(CLASSES), st.data())
def test_params(step_class, data):
    name, kind = step_class
    fields = list(kind.__dataclass_fields__)
    values = data.draw(
        st.dictionaries(st.sampled_from([*fields, "other"]), VALUES, max_size=len(fields))
    )
    assert answered(params.make, kind, values, name) in ANSWERS


@fuzzed
@given(st.data())
def test_settings(data):
    papers = data.draw(st.lists(st.sampled_from(PAPERS), min_size=1, max_size=1))
    config = {key: WHOLE[key] for key in ("run", "data", *papers)} | {"papers": papers}
    config["run"] = data.draw(st.sampled_from(project.RUNS))
    # Most changes would else hit a seed or a case
    top = data.draw(st.sampled_from([*config, *papers, *papers]))
    config[top] = data.draw(changed(config[top]))
    assert answered(project.resolve, config) in ANSWERS


@fuzzed
@given(st.lists(st.text(max_size=30), max_size=4), st.text(max_size=30), VALUES)
def test_command_line(words, text, value):
    assert answered(step._parse, words) in ANSWERS
    assert answered(step._parse, ["--params", text, *words]) in ANSWERS
    assert answered(step._parse, ["--params", json.dumps(value, default=str), *words]) in ANSWERS


# ------------------------------------------------------------------ texts


@st.composite
def edited(draw, text):
    """Return a text with lines exchanged, doubled, removed, indented, or characters put in."""
    lines = text.split("\n")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(lines) - 1))
        line = lines[at]
        kind = draw(
            st.sampled_from(["removed", "doubled", "indented", "character", "value", "any"])
        )
        if kind == "removed":
            del lines[at]
            lines = lines or [""]
        elif kind == "doubled":
            lines.insert(at, line)
        elif kind == "indented":
            lines[at] = draw(st.sampled_from([" ", "  ", "\t", "- ", "? "])) + line
        elif kind == "character":
            put = draw(st.one_of(st.sampled_from(list("[]{}:,&*!|>'\"%@`#-")), st.characters()))
            where = draw(st.integers(0, len(line)))
            lines[at] = line[:where] + put + line[where:]
        elif kind == "value":
            lines[at] = line.partition(":")[0] + ": " + draw(st.text(max_size=12))
        else:
            lines[at] = draw(st.text(max_size=20))
    return "\n".join(lines)


def loaded(path):
    config = yaml_files.load(path)
    if isinstance(config, dict):
        project.resolve(config)
    else:
        raise UserError("no mapping")


SECTION = {key: WHOLE[key] for key in ("run", "data", "distill")} | {"papers": ["distill"]}
SHORT = yaml.safe_dump(SECTION, sort_keys=False)


@fuzzed
@given(st.data())
def test_yaml(data):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "params.yaml"
        content = data.draw(st.one_of(edited(SHORT), st.text(max_size=60))).encode(errors="replace")
        path.write_bytes(data.draw(st.one_of(st.just(content), damaged(content))))
        assert answered(loaded, path) in ANSWERS


TEXT_FILES = {
    paper: {path.name: path.read_text() for path in (ROOT / "papers" / paper).iterdir()}
    for paper in PAPERS
}
RESOLVED = project.resolve(WHOLE | {"run": "embedded"})


def checked_texts(paper, folder):
    """Read what is said of a paper and check its claims and tables, as a report does first."""
    texts = project.paper(folder)
    section = RESOLVED[paper]
    project.check_texts(paper, section, texts)
    project.withdrawn(folder)
    claims.check(texts["claims"], list(section["cases"]), f"papers/{paper}/claims.yaml")
    for index, table in enumerate(texts["tables"]):
        tables.check(table, list(section["cases"]), f"papers/{paper}/tables.yaml[{index}]")


@fuzzed
@given(st.data())
def test_texts_of_a_paper(data):
    paper = data.draw(st.sampled_from(PAPERS))
    contents = dict(TEXT_FILES[paper])
    name = data.draw(st.sampled_from([name for name in sorted(contents) if name != "notes.md"]))
    text = contents[name]
    if name.endswith(".yaml") and data.draw(st.booleans()):
        value = data.draw(changed(yaml.safe_load(text)))
        contents[name] = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    else:
        contents[name] = data.draw(edited(text))
    with tempfile.TemporaryDirectory() as folder:
        for each, text in contents.items():
            (Path(folder) / each).write_bytes(text.encode(errors="replace"))
        assert answered(checked_texts, paper, Path(folder)) in ANSWERS


# ------------------------------------------------------------------ bytes


@st.composite
def damaged(draw, content):
    """Return bytes with some changed, cut off, put in or doubled; most of it in the header."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        reach = draw(st.sampled_from([64, 400, len(content)]))
        at = draw(st.integers(0, max(0, min(reach, len(content)) - 1)))
        kind = draw(st.sampled_from(["bytes", "bytes", "bytes", "cut", "put", "zeros", "ones"]))
        if kind == "bytes":
            put = draw(st.binary(min_size=1, max_size=8))
            content[at : at + len(put)] = put
        elif kind == "cut":
            del content[at:]
        elif kind == "put":
            content[at:at] = draw(st.binary(min_size=1, max_size=16))
        else:
            content[at : at + 4] = (b"\0" if kind == "zeros" else b"\xff") * 4
    return bytes(content)


def pictures():
    """Return small images of every format that a photograph or mask may have, name -> bytes."""
    stream = np.random.default_rng(0)
    grey = stream.integers(0, 3, (6, 9), dtype=np.uint8)
    colours = stream.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    alpha = stream.integers(0, 256, (6, 9, 4), dtype=np.uint8)
    contents = {}
    for name, pixels, form in (
        ("grey.png", grey, "PNG"), ("colours.png", colours, "PNG"), ("alpha.png", alpha, "PNG"),
        ("deep.png", grey.astype(np.uint16) * 300, "PNG"), ("a.jpg", colours, "JPEG"),
        ("a.tif", colours, "TIFF"), ("deep.tif", grey.astype(np.uint16), "TIFF"),
        ("a.webp", colours, "WEBP"), ("a.gif", grey, "GIF"), ("a.bmp", colours, "BMP"),
        ("a.ppm", colours, "PPM"),
    ):  # fmt: skip
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, form)
        contents[name] = stream.getvalue()
    palette = io.BytesIO()
    Image.fromarray(grey, "P").save(palette, "PNG")
    return contents | {"palette.png": palette.getvalue()}


def masked(path):
    pixels = images.read_mask(path)
    masks.flat_labels(pixels, pixels)


PICTURES = pictures()


@fuzzed
@given(st.data())
def test_images_and_masks(data):
    name = data.draw(st.sampled_from(sorted(PICTURES)))
    content = data.draw(damaged(PICTURES[name]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        assert answered(images.read_photograph, path) in ANSWERS
        assert answered(masked, path) in ANSWERS


def volumes():
    """Return small volumes and label maps of the formats that are read, name -> bytes."""
    stream = np.random.default_rng(0)
    image = stream.normal(size=(5, 6, 4)).astype(np.float32)
    labels = stream.integers(0, 3, (5, 6, 4), dtype=np.uint8)
    contents = {}
    with tempfile.TemporaryDirectory() as folder:
        for kind, array in (("image", image), ("labels", labels)):
            volume = sitk.GetImageFromArray(array)
            volume.SetSpacing((1.0, 1.5, 2.0))
            path = Path(folder) / f"{kind}.nii"
            sitk.WriteImage(volume, str(path))
            contents[path.name] = path.read_bytes()
            np.save(path.with_suffix(".npy"), array)
            contents[f"{kind}.npy"] = path.with_suffix(".npy").read_bytes()
    return contents | {"labels.png": PICTURES["grey.png"]}


VOLUMES = volumes()


@fuzzed
@given(st.data(), st.booleans(), st.booleans())
def test_volumes(data, packed, damaged_after):
    name = data.draw(st.sampled_from(sorted(VOLUMES)))
    content = VOLUMES[name]
    if packed and name.endswith(".nii"):
        name += ".gz"
        whole = content if damaged_after else data.draw(damaged(content))
        content = gzip.compress(whole, compresslevel=1)
        content = data.draw(damaged(content)) if damaged_after else content
    else:
        content = data.draw(damaged(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        assert answered(volume_files.read_image, path) in ANSWERS
        assert answered(volume_files.read_labels, path) in ANSWERS


def tensors():
    """Return a split and a file of weights, name -> bytes."""
    split = {"images": torch.zeros(3, 2, 2, dtype=torch.uint8), "labels": torch.arange(3)}
    weights = io.BytesIO()
    torch.save({"layer.weight": torch.zeros(2, 3), "layer.bias": torch.zeros(2)}, weights)
    return {
        "split.safetensors": safetensors.torch.save(split, {"maximum": "255"}),
        "weights.pth": weights.getvalue(),
    }


TENSORS = tensors()


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(st.data())
def test_tensors_and_weights(data):
    name = data.draw(st.sampled_from(sorted(TENSORS)))
    content = data.draw(damaged(TENSORS[name]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        assert answered(splits.load_split, path) in ANSWERS
        assert answered(tensor_files.read_tensors, path) in ANSWERS
        assert answered(state_dicts.load, path) in ANSWERS
        assert answered(checkpoints.load_state, path, "digest") in ANSWERS


TESTS = [value for name, value in sorted(globals().items()) if name.startswith("test_")]


def main(seconds: float) -> int:
    """Go on for so long, with another seed in each round; return the exit code."""
    end, failures = time.monotonic() + seconds, Counter()
    for number in itertools.count():
        for test in TESTS:
            if time.monotonic() > end:
                print(
                    f"{seconds:g} s, {number} rounds: {dict(counts)}, tracebacks: {dict(failures)}"
                )
                return int(bool(failures))
            try:
                seed(number)(test)()
            except Exception:
                traceback.print_exc(limit=-6)
                failures[test.__name__] += 1
    return 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
