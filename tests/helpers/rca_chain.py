"""The steps of `pr12.rca`, run in this process on tiny generated slices.

Importing MONAI takes seconds; here they are paid once, and the chain's files are made once, for
all tests that read them. What a test writes goes to a folder of its own.
"""

import atexit
import functools
import json
import os
import runpy
import shutil
import sys
import tempfile
from pathlib import Path
from unittest import mock

SCANS = {
    "source": "phantom",
    "seeds": [0, 3],
    "train": 3,
    "reference": 3,
    "calibration": 4,
    "test": 3,
    "phantom_size": 32,
    "phantom_variation": 0.5,
}
REGISTER = {
    "fixed": ["reference"],
    "moving": ["calibration", "test"],
    "scans": None,
    "affine_iterations": [20],
    "deformable_iterations": [5],
    "shrink": [2],
    "smoothing": 1.0,
}
MULTI_ATLAS = REGISTER | {
    "fixed": ["calibration", "test"],
    "moving": ["train"],
    "scans": 2,
    "affine_iterations": [1, 20],
    "deformable_iterations": [0, 5],
}
TO_TEST = REGISTER | {"fixed": ["test"], "moving": ["reference"]}
TRAIN = {"channels": [4, 8, 16], "learning_rate": 0.02, "batch_size": 2, "snapshots": [1, 12]}
FOREST = {"trees": 3, "depths": [2, 8], "subjects": 2, "voxels": 400}
SEGMENT = {"atlases": [1, 2]}
REVERSE_FOREST = {"trees": 2, "depth": 6, "subjects": 2}
REVERSE_CNN = {"channels": [4, 8, 16], "updates": 3, "learning_rate": 0.02, "subjects": 1}
EVALUATE = {
    "reverse": "atlas",
    "estimator": "max",
    "references": None,
    "subjects": None,
    "threshold": 0.7,
    "false_positive_rate": 0.1,
}
CALIBRATE = {
    "reverse": "atlas",
    "estimator": "max",
    "coverages": [0.5, 0.8],
    "band": [40, 95],
    "threshold": 0.7,
    "false_positive_rate": 0.1,
    "deals": 1,
}
SPLITS = ("train", "reference", "calibration", "test")
SEGMENTERS = ("forest_2", "forest_8", "unet_1", "unet_12", "atlases_0_1", "atlases_1_2")


def run(step, params, **paths):
    """Run a step as its command line does; one process, one thread."""
    import torch

    module, threads = f"pr12.rca.{step}", torch.get_num_threads()
    kept = sys.modules.pop(module, None)  # runpy warns of a module that it runs once more
    given = [f"{name}={path}" for name, path in paths.items()]
    with (
        mock.patch.object(sys, "argv", [module, "--params", json.dumps(params), *given]),
        mock.patch.dict(os.environ, {"OMP_NUM_THREADS": "1"}),
    ):
        torch.set_num_threads(1)
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        finally:
            torch.set_num_threads(threads)
            if kept:
                sys.modules[module] = kept


def splits(folder, *names):
    return {name: folder / f"{name}.safetensors" for name in names or SPLITS}


def make(folder):
    """Run all steps, in the order in which the workflow does."""
    folder = Path(folder)
    segmented = {"segmentations": folder / "segmentations"}
    judged = splits(folder, "test", "reference") | segmented
    run("scans", SCANS, **splits(folder))
    for name, params in (
        ("multi_atlas", MULTI_ATLAS),
        ("atlas", REGISTER),
        ("atlas_to_test", TO_TEST),
    ):
        used = splits(folder, *params["fixed"], *params["moving"])
        run("register", params, correspondences=folder / name / "correspondences", **used)
    run("train_forest", FOREST, model=folder / "forest_model", **splits(folder, "train"))
    run(
        "train",
        TRAIN,
        model=folder / "unet_model",
        history=folder / "history.json",
        **splits(folder, "train"),
    )
    run(
        "segment",
        SEGMENT,
        forest=folder / "forest_model",
        unet=folder / "unet_model",
        correspondences=folder / "multi_atlas" / "correspondences",
        **splits(folder, "train", "calibration", "test"),
        **segmented,
    )
    run("quality", {}, **splits(folder, "calibration", "test"), **segmented, **scored(folder))
    for name, direction in (("atlas", "to_reference"), ("atlas_to_test", "to_test")):
        run(
            "reverse_atlas",
            {"direction": direction},
            correspondences=folder / name / "correspondences",
            scores=folder / f"{name}_scores",
            **splits(folder, "reference"),
            **segmented,
        )
    run("reverse_forest", REVERSE_FOREST, scores=folder / "forest_scores", **judged)
    run("reverse_cnn", REVERSE_CNN, scores=folder / "cnn_scores", **judged)
    for name in ("atlas", "atlas_to_test", "forest", "cnn"):
        evaluate(folder, EVALUATE | {"reverse": name}, f"{name}_scores", folder / name)
    calibrate(folder, CALIBRATE, "atlas_scores", folder / "calibrated")
    return folder


def scored(folder):
    """Return the outputs of the step `quality`."""
    return {
        "scores": folder / "real_scores",
        "metrics": folder / "quality.json",
        "picture": folder / "quality_picture.json",
    }


def evaluate(folder, params, scores, to):
    """Judge the scores in `folder`; give the metrics' and the picture's path."""
    made = {"metrics": to / "metrics.json", "picture": to / "picture.json"}
    run("evaluate", params, real=folder / "real_scores", scores=folder / scores, **made)
    return made


def calibrate(folder, params, scores, to):
    """Calibrate by the scores in `folder`; give the metrics' and the picture's path."""
    made = {"metrics": to / "metrics.json", "picture": to / "picture.json"}
    run("calibrate", params, real=folder / "real_scores", scores=folder / scores, **made)
    return made


@functools.cache
def chain():
    """Return the folder of the whole chain, made once per process; nothing is written to it."""
    folder = Path(tempfile.mkdtemp(prefix="rca_chain_"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return make(folder)
