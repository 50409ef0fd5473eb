"""Segment calibration and test scans with every segmenter under test, from bad to good.

Three kinds at several strengths each: forests by depth, a U-Net by updates, and multi-atlas label
propagation by the number of atlases and the effort of their registration.
"""

import numpy as np

from pr12.core import determinism, tensor_files
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest, unet
from pr12.rca.model.registration import propagate
from pr12.rca.params import Segment as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError


def by_forest(arrays: dict[str, np.ndarray], scan: Scan) -> np.ndarray:
    """Label each voxel with the forest's most likely structure.

    Parameters
    ----------
    arrays : dict
        As `forest.to_arrays` gives them.
    scan : Scan
        Its labels are not looked at.

    Returns
    -------
    ndarray
        uint8, the shape of the image.
    """
    shares = forest.probabilities(arrays, features.voxel_features(scan.image))
    return shares.argmax(axis=1).astype(np.uint8).reshape(scan.image.shape)


def by_vote(votes: np.ndarray, structures: int) -> np.ndarray:
    """Give each voxel the label that most atlases give it; the smaller label wins a tie.

    Parameters
    ----------
    votes : ndarray
        uint8, shape (atlases, *image).
    structures : int
        S.

    Returns
    -------
    ndarray
        uint8, the shape of the image.

    Examples
    --------
    >>> by_vote(np.array([[0, 2], [1, 2], [1, 1]], np.uint8), 2).tolist()
    [1, 2]
    """
    counts = np.stack([(votes == label).sum(axis=0) for label in range(structures + 1)])
    return counts.argmax(axis=0).astype(np.uint8)


def by_atlases(
    found: dict[tuple[str, str, int], np.ndarray],
    atlases: list[Scan],
    number: int,
    effort: int,
    structures: int,
) -> np.ndarray:
    """Fuse the labels that atlases carry to a scan.

    Parameters
    ----------
    found : dict
        The scan's correspondences: (split, atlas, effort) -> ndarray.
    atlases : list of Scan
        Of the training split.
    number : int
        How many of them vote, the first.
    effort : int
        Number of the registration's effort.
    structures : int
        S.

    Returns
    -------
    ndarray
        uint8, the shape of the scan.

    Raises
    ------
    UserError
        If there are not as many atlases.
    """
    used = [atlas for atlas in atlases if ("train", atlas.name, effort) in found][:number]
    if len(used) < number:
        raise UserError(
            f"segment.atlases asks {number} atlases with effort {effort}, {len(used)} were "
            "registered; raise rca.register_atlases.scans"
        )
    votes = [propagate(a.labels[None], found["train", a.name, effort])[0] for a in used]
    return by_vote(np.stack(votes), structures)


def main(job: step.Job) -> None:
    """Segment all scans of both splits."""
    determinism.deterministic()
    paths, device = job.paths, determinism.device()
    splits = {name: scan_files.read_scans(paths[name]) for name in ("calibration", "test")}
    structures, training = scan_files.read_scans(paths["train"])
    forests, _ = scan_files.read_arrays(paths["forest"])
    nets = tensor_files.read_tensors(paths["unet"])
    found = scan_files.read_correspondences(paths["correspondences"])
    depths = _numbers(forests)
    updates = _numbers(nets)
    names = [
        *(f"forest_{depth}" for depth in depths),
        *(f"unet_{update}" for update in updates),
        *(f"atlases_{effort}_{number}" for effort, number in enumerate(job.params.atlases)),
    ]
    segmentations = {}
    for split, scans in splits.items():
        for seed, own in scans.by_seed.items():
            loaded = [unet.rebuilt(_own(nets, f"{seed}/{u}/")).to(device) for u in updates]
            grown = [_own(forests, f"{seed}/{depth}/") for depth in depths]
            for scan in own:
                maps = [by_forest(arrays, scan) for arrays in grown]
                maps += [unet.segment(net, [scan.image], device)[0] for net in loaded]
                maps += [
                    by_atlases(
                        found[seed, split, scan.name],
                        training[seed],
                        number,
                        effort,
                        len(structures),
                    )
                    for effort, number in enumerate(job.params.atlases)
                ]
                segmentations[seed, split, scan.name] = np.stack(maps)
    scan_files.write_segmentations(paths["segmentations"], segmentations, names)


def _numbers(arrays) -> list[int]:
    """Give the strengths in the keys ``seed/strength/name``, weak to strong."""
    return sorted({int(key.split("/")[1]) for key in arrays})


def _own(arrays, prefix: str):
    return {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}


if __name__ == "__main__":
    with step.start(
        Params,
        reads=["train", "calibration", "test", "forest", "unet", "correspondences"],
        writes=["segmentations"],
    ) as job:
        main(job)
