"""Files of the right kind that were made from other scans, and params that make no sense.

No step ends in a traceback or takes them for its own.
"""

import numpy as np
import pytest

import bad_inputs
import rca_chain
from pr12.rca.data import scan_files, score_files
from pr12.rca.data.scan_files import Scan, Scans
from pr12.rca.model import forest

SPLITS = {name: f"{name}.safetensors" for name in rca_chain.SPLITS}
STEPS = {  # params, inputs in the chain's folder, outputs
    "scans": (rca_chain.SCANS, {}, rca_chain.SPLITS),
    "register": (rca_chain.MULTI_ATLAS, ["calibration", "test", "train"], ["correspondences"]),
    "train": (rca_chain.TRAIN, ["train"], ["model", "history"]),
    "train_forest": (rca_chain.FOREST, ["train"], ["model"]),
    "segment": (
        rca_chain.SEGMENT,
        ["train", "calibration", "test", "forest", "unet", "correspondences"],
        ["segmentations"],
    ),
    "quality": ({}, ["calibration", "test", "segmentations"], ["scores", "metrics", "picture"]),
    "reverse_atlas": (
        {"direction": "to_reference"},
        ["correspondences", "segmentations", "reference"],
        ["scores"],
    ),
    "reverse_forest": (
        rca_chain.REVERSE_FOREST,
        ["test", "segmentations", "reference"],
        ["scores"],
    ),
    "reverse_cnn": (rca_chain.REVERSE_CNN, ["test", "segmentations", "reference"], ["scores"]),
    "evaluate": (rca_chain.EVALUATE, ["real", "scores"], ["metrics", "picture"]),
    "calibrate": (rca_chain.CALIBRATE, ["real", "scores"], ["metrics", "picture"]),
}
FILES = SPLITS | {
    "forest": "forest_model",
    "unet": "unet_model",
    "segmentations": "segmentations",
    "real": "real_scores",
    "scores": "atlas_scores",
}


def inputs(step):
    folder = "atlas" if step == "reverse_atlas" else "multi_atlas"
    files = FILES | {"correspondences": f"{folder}/correspondences"}
    return {name: rca_chain.chain() / files[name] for name in STEPS[step][1]}


def message(tmp_path, capsys, step, params=None, **files):
    """Run a step with other params or files, and return the sentence with which it ends."""
    values, _, writes = STEPS[step]
    given = inputs(step) | files | {name: tmp_path / "out" / name for name in writes}
    with pytest.raises(SystemExit, match="2"):
        rca_chain.run(step, values | (params or {}), **given)
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    assert not list(tmp_path.glob("out/*"))
    return last


# --- files ---


def scans(change):
    """Write the scans of a split, changed."""

    def make(path, split):
        structures, by_seed = scan_files.read_scans(rca_chain.chain() / SPLITS[split])
        scan_files.write_scans(path, change(structures, by_seed))

    return make


def each(function):
    return scans(
        lambda structures, by_seed: Scans(
            structures, {seed: [function(scan) for scan in ours] for seed, ours in by_seed.items()}
        )
    )


def cut(scan):
    return Scan(scan.name, scan.image[:20], scan.labels[:20])


def deep(scan):
    return Scan(scan.name, *(np.stack([part] * 8) for part in scan[1:]))


def two_structures(structures, by_seed):
    return Scans(
        structures[:2],
        {
            seed: [scan._replace(labels=np.minimum(scan.labels, 2)) for scan in ours]
            for seed, ours in by_seed.items()
        },
    )


OTHER_SEEDS = scans(lambda structures, by_seed: Scans(structures, {7: by_seed[0]}))
OTHER_NAMES = each(lambda scan: scan._replace(name=f"new-{scan.name}"))
SMALLER, DEEPER, FEWER = each(cut), each(deep), scans(two_structures)


def arrays(change):
    """Write the arrays of a file of the chain, changed."""

    def make(path, name):
        file = rca_chain.chain() / FILES.get(name, "multi_atlas/correspondences")
        values, texts = scan_files.read_arrays(file)
        scan_files.write_arrays(path, {k: change(a) for k, a in values.items()}, texts)

    return make


def two_classes(path, _):
    values, texts = scan_files.read_arrays(rca_chain.chain() / FILES["forest"])
    for key in values:
        if key.endswith("/value"):
            values[key] = values[key][:, :2]
    assert forest.ARRAYS
    scan_files.write_arrays(path, values, texts)


def chain_file(name):
    def make(path, _):
        path.write_bytes((rca_chain.chain() / name).read_bytes())

    return make


def unlike_references(path, _):
    scores, texts = score_files.read_scores(rca_chain.chain() / FILES["scores"])
    scores[0, "test"] = scores[0, "test"][:, :, :2]
    score_files.write_scores(path, scores, texts)


HALVED = arrays(lambda a: a[..., : a.shape[-1] // 2])
AS_FLOATS = arrays(lambda a: a.astype(np.float64))
# step, input, how it is made, what the sentence must hold: subject, value, remedy
BAD_INPUTS = [
    ("register", "test", OTHER_SEEDS, ["test differ in", "seeds [7]", "make both by one run"]),
    ("register", "train", DEEPER, ["train differ in seeds", "3-D", "make both by one run"]),
    ("register", "test", FEWER, ["test differ in", "liver, spleen, 2-D", "make both by one run"]),
    ("register", "train", AS_FLOATS, ["train holds no scans", "delete it and run again"]),
    ("train", "train", AS_FLOATS, ["train holds no scans", "delete it and run again"]),
    ("train", "train", chain_file("real_scores"), ["train holds no scans", "delete it"]),
    ("train_forest", "train", chain_file("atlas_scores"), ["train holds no scans", "delete it"]),
    ("segment", "test", SMALLER, ["correspondences", "20 x 32 and 32 x 32", "register them again"]),
    ("segment", "train", SMALLER, ["correspondences", "32 x 32 and 20 x 32", "register them"]),
    ("segment", "train", OTHER_NAMES, ["asks for 1 atlases", "0 were registered", "raise rca.sc"]),
    ("segment", "test", OTHER_NAMES, ["asks for 1 atlases", "0 were registered", "raise rca.sca"]),
    ("segment", "train", OTHER_SEEDS, ["train differ", "seeds [7]", "make both by one run"]),
    ("segment", "forest", two_classes, ["forest holds no forest of seed 0", "liver", "make it ag"]),
    ("segment", "forest", chain_file("unet_model"), ["forest holds no forest of seed 0", "again"]),
    ("segment", "unet", chain_file("forest_model"), ["unet holds no net of seed 0", "make it ag"]),
    ("segment", "unet", chain_file("real_scores"), ["unet holds no nets", "delete it and run"]),
    ("segment", "unet", HALVED, ["unet holds no net of seed 0", "make it again"]),
    ("segment", "correspondences", AS_FLOATS, ["holds no correspondences", "delete it and run"]),
    ("segment", "correspondences", HALVED, ["not of scans of 32 x 32 and 32", "register them"]),
    ("quality", "test", OTHER_NAMES, ["no segmentations of the scan 0/test/new-test-0", "again"]),
    ("quality", "test", SMALLER, ["0/test/test-0 with 20 x 32 voxels", "segmentations again"]),
    ("quality", "test", OTHER_SEEDS, ["test differ in seeds", "seeds [7]", "make both by one run"]),
    ("quality", "segmentations", HALVED, ["segmentations", "32 x 32 voxels", "again"]),
    ("quality", "segmentations", AS_FLOATS, ["holds no segmentations", "delete it and run again"]),
    (
        "reverse_atlas",
        "reference",
        FEWER,
        ["segmentations has the label 3", "2 structures", "make"],
    ),
    ("reverse_atlas", "reference", SMALLER, ["correspondences is not of", "20 x 32", "register"]),
    ("reverse_atlas", "reference", OTHER_SEEDS, ["correspondences does not join", "make them aga"]),
    ("reverse_atlas", "segmentations", HALVED, ["32 x 32 and 32 x 16 voxels", "register them"]),
    ("reverse_forest", "test", OTHER_NAMES, ["the scan 0/test/new-test-0", "segmentations again"]),
    (
        "reverse_forest",
        "reference",
        OTHER_SEEDS,
        ["reference and", "seeds [7]", "make both by one"],
    ),
    ("reverse_forest", "segmentations", HALVED, ["0/test/test-0 with 32 x 32", "again"]),
    ("reverse_cnn", "reference", DEEPER, ["reference and", "3-D", "make both by one run"]),
    ("reverse_cnn", "reference", FEWER, ["reference and", "liver, spleen, 2-D", "make both by"]),
    ("evaluate", "real", chain_file("atlas_scores"), ["real holds no real scores", "exchange the"]),
    ("evaluate", "scores", chain_file("real_scores"), ["holds no reverse scores", "exchange the"]),
    ("evaluate", "scores", HALVED, ["scores holds no reverse scores", "x 2", "exchange the paths"]),
    ("evaluate", "scores", AS_FLOATS, ["scores holds no scores", "delete it and run again"]),
    ("evaluate", "scores", unlike_references, ["scores holds no test", "unlike", "make it again"]),
    ("evaluate", "real", arrays(lambda a: a[:, :2]), ["of other segmenters", "x 2 x", "make both"]),
    ("evaluate", "real", arrays(lambda a: a[:1]), ["not name the subjects of seed 0", "make it"]),
    ("calibrate", "real", chain_file("atlas_scores"), ["real holds no real scores", "exchange"]),
    ("calibrate", "scores", unlike_references, ["scores holds no test", "unlike", "make it again"]),
    ("calibrate", "scores", arrays(lambda a: a[:, :, :, :2]), ["other segmenters", "make both ag"]),
]


@pytest.mark.parametrize(
    ("step", "name", "make", "words"),
    BAD_INPUTS,
    ids=[f"{step}-{name}-{words[0]}" for step, name, _, words in BAD_INPUTS],
)
def test_files_of_other_scans_are_named(tmp_path, capsys, step, name, make, words):
    path = tmp_path / name
    make(path, name)
    bad_inputs.check(message(tmp_path, capsys, step, **{name: path}), words)


# --- params ---

BAD_PARAMS = [
    ("register", {"shrink": [0]}, "shrink[0] is 0; it must be a number of at least 1"),
    ("register", {"shrink": [2, -1]}, "shrink[1] is -1; it must be a number of at least 1"),
    ("register", {"affine_iterations": [-1, 2]}, "affine_iterations[0] is -1; it must be a number"),
    ("register", {"deformable_iterations": [0, -5]}, "deformable_iterations[1] is -5; it must be"),
    ("train", {"snapshots": [0]}, "snapshots[0] is 0; it must be a number of at least 1"),
    ("train", {"snapshots": [5, -1]}, "snapshots[1] is -1; it must be a number of at least 1"),
    ("train", {"channels": [0, 8, 16]}, "channels[0] is 0; it must be a number of at least 1"),
    ("train", {"channels": [8, -8, 16]}, "channels[1] is -8; it must be a number of at least 1"),
    ("train_forest", {"depths": [0]}, "depths[0] is 0; it must be a number of at least 1"),
    ("segment", {"atlases": [1, 0]}, "atlases[1] is 0; it must be a number of at least 1"),
    ("segment", {"atlases": [-1]}, "atlases[0] is -1; it must be a number of at least 1"),
    ("reverse_cnn", {"channels": [4, 8]}, "channels is [4, 8]; it must be a list of 3 elements"),
    ("reverse_cnn", {"channels": [0, 8, 9]}, "channels[0] is 0; it must be a number of at least"),
    ("scans", {"seeds": [-1]}, "seeds[0] is -1; it must be a whole number from 0 to 4294967295"),
    ("scans", {"seeds": [0, 0]}, "seeds is [0, 0]; name each seed once"),
    ("calibrate", {"band": [40, 300]}, "band[1] is 300; it must be a number from 0 to 100"),
]


@pytest.mark.parametrize(("step", "params", "words"), BAD_PARAMS)
def test_params_that_make_no_sense_are_refused(tmp_path, capsys, step, params, words):
    bad_inputs.check(message(tmp_path, capsys, step, params), [words])
