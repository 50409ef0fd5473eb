"""Small folders of images, segmentations and references, and the tool run on them."""

import csv
import json

import numpy as np
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from scipy import ndimage

from pr12.rca.data import phantom
from pr12.rca.predict import __main__ as predict
from pr12.rca.predict import running
from pr12.rca.predict.settings import Settings
from pr12.workflow import step

SIZE = 48
PARAMS = {"coverage": 0.5}  # needs two references with each structure


def subject(number):
    return phantom.slice_of((7, number), SIZE, 1.0)


def grey(image):
    return np.rint(255 * image).astype(np.uint8)


def moved(labels, by):
    return ndimage.shift(labels, (by, by), order=0, prefilter=False)


def volume(array, spacing=(1.0, 1.0), direction=None):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    if direction:
        image.SetDirection(direction)
    return image


def put(folder, name, content):
    """Write a file by its suffix, and give its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, sitk.Image):
        sitk.WriteImage(content, str(path))
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        Image.fromarray(content).save(path)
    return path


def references(folder, count=4):
    for number in range(count):
        image, labels = subject(number)
        put(folder / "reference/images", f"r{number}.png", grey(image))
        put(folder / "reference/labels", f"r{number}.png", labels)
    return folder


def case(folder, name, segmentation=None, number=20, image=None):
    """Write a case; its segmentation is the truth if none is given."""
    ours, truth = subject(number)
    put(folder / "images", f"{name}.png", grey(ours) if image is None else image)
    put(folder / "segmentations", f"{name}.png", truth if segmentation is None else segmentation)


def arguments(folder, params=PARAMS, **paths):
    paths = {name: folder / name for name in ("images", "segmentations", "reference")} | paths
    given = {"out": folder / "out"} | paths
    return [
        *(f"{name}={path}" for name, path in given.items() if path is not None),
        "--params",
        params if isinstance(params, str) else json.dumps(params),
    ]


def run(folder, params=PARAMS, **paths):
    """Predict, and give the rows of the table."""
    return code_and_rows(folder, params, **paths)[1]


def code_and_rows(folder, params=PARAMS, **paths):
    """Predict; give the exit code and the rows of the table. A path of None is left out."""
    line = running.with_defaults(arguments(folder, params, **paths))
    names = {
        "reads": ["images", "segmentations"],
        "optional": ["reference", "model", "calibration"],
    }
    with step.start(Settings, **names, writes=["out"], arguments=line) as job:
        code = predict.main(job)
    out = paths.get("out", folder / "out")
    with (out / "predictions.csv").open(encoding="utf-8") as stream:
        return code, list(csv.DictReader(stream))


def by_case(rows):
    actual = {}
    for row in rows:
        actual.setdefault(row["case"], []).append(row)
    return actual


def predicted(rows):
    return [float(row["predicted_dice"]) for row in rows]


def calibration(folder, count):
    for number in range(count):
        image, labels = subject(40 + number)
        put(folder / "calibration/images", f"c{number}.npy", image)
        put(folder / "calibration/labels", f"c{number}.png", labels)
        put(folder / "calibration/segmentations", f"c{number}.png", moved(labels, number % 4))
    return folder / "calibration"
