"""Segment calibration and test scans with every segmenter under test, from bad to good.

Three kinds at several strengths each: forests by depth, a U-Net by updates, and multi-atlas label
propagation by the number of atlases and the effort of their registration.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pr12.core import determinism, tensor_files
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import Scan
from pr12.rca.model import features, forest, segmenters, unet, voting
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


def by_atlases(
    carried: dict[tuple[str, str, int], np.ndarray],
    atlases: list[Scan],
    number: int,
    effort: int,
    structures: int,
) -> np.ndarray:
    """Fuse the labels that atlases carry to a scan.

    Parameters
    ----------
    carried : dict
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
    used = [atlas for atlas in atlases if ("train", atlas.name, effort) in carried][:number]
    if len(used) < number:
        raise UserError(
            f"rca.segment.atlases asks for {number} atlases with effort {effort}, and {len(used)} "
            "were registered; lower it, raise rca.scans.train, or give rca.register as many efforts"
        )
    votes = [propagate(a.labels[None], carried["train", a.name, effort])[0] for a in used]
    return voting.majority(np.stack(votes), structures)


def main(job: step.Job) -> None:
    """Segment all scans of both splits."""
    determinism.deterministic()
    paths, device = job.paths, determinism.device()
    splits = scan_files.read_splits(paths, ("calibration", "test", "train"))
    structures, training = splits.pop("train")
    forests, _ = scan_files.read_arrays(paths["forest"])
    nets = tensor_files.read_tensors(paths["unet"])
    correspondences = scan_files.read_correspondences(paths["correspondences"])
    depths = segmenters.strengths(forests, paths["forest"], "forests")
    updates = segmenters.strengths(nets, paths["unet"], "nets")
    names = [
        *(f"forest_{depth}" for depth in depths),
        *(f"unet_{update}" for update in updates),
        *(f"atlases_{effort}_{number}" for effort, number in enumerate(job.params.atlases)),
    ]
    segmentations = {}
    for split, scans in splits.items():
        for seed, subjects in scans.by_seed.items():
            with segmenters.of_these_scans(paths["unet"], "net", seed, structures):
                loaded = [segmenters.rebuilt(nets, seed, u, scans).to(device) for u in updates]
            with segmenters.of_these_scans(paths["forest"], "forest", seed, structures):
                grown = [segmenters.regrown(forests, seed, depth, scans) for depth in depths]
            for scan in subjects:
                maps = [by_forest(arrays, scan) for arrays in grown]
                maps += [unet.segment(net, [scan.image], device)[0] for net in loaded]
                key = (seed, split, scan.name)
                carried = correspondences.get(key, {})
                check_carried(carried, scan, training[seed], paths["correspondences"])
                maps += [
                    by_atlases(carried, training[seed], number, effort, len(structures))
                    for effort, number in enumerate(job.params.atlases)
                ]
                segmentations[key] = np.stack(maps)
    scan_files.write_segmentations(paths["segmentations"], segmentations, names)


def check_carried(
    carried: Mapping[tuple[str, str, int], np.ndarray],
    scan: Scan,
    atlases: list[Scan],
    path: Path,
) -> None:
    """Refuse correspondences between a scan and atlases of other shapes."""
    shapes = {("train", atlas.name): atlas.image.shape for atlas in atlases}
    for (split, name, _), array in carried.items():
        if shape := shapes.get((split, name)):
            scan_files.check_correspondence(array, scan.image.shape, shape, path)


if __name__ == "__main__":
    with step.start(
        Params,
        reads=["train", "calibration", "test", "forest", "unet", "correspondences"],
        writes=["segmentations"],
    ) as job:
        main(job)
