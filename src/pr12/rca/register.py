"""Register every scan of some splits to every scan of others, once for all label maps.

Which is moved to which decides who judges: test scans moved to the references is the paper's
direction (the pseudo-labelled scan is the atlas), references moved to the test scan that of
Robinson et al. (2017), training scans moved to the test scan makes multi-atlas segmentations.
"""

import shutil
from collections.abc import Mapping

import numpy as np

from pr12.core import checkpoints
from pr12.core.parallel import spread
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import SPLITS, Scan
from pr12.rca.model import registration
from pr12.rca.model.registration import Effort
from pr12.rca.params import Register as Params
from pr12.workflow import progress, step
from pr12.workflow.errors import UserError


def efforts(params: Params) -> list[Effort]:
    """Return the efforts that params list.

    Parameters
    ----------
    params : Params
        The step's.

    Raises
    ------
    UserError
        If the lists differ in length.

    Examples
    --------
    >>> efforts(Params(("test",), ("train",), None, (0, 40), (0, 25), (2,), 1.0))[1]
    Effort(affine_iterations=40, shrink=(2,), deformable_iterations=25, smoothing=1.0)
    """
    both = (params.affine_iterations, params.deformable_iterations)
    if len(both[0]) != len(both[1]):
        raise UserError(
            f"affine_iterations has {len(both[0])} efforts and deformable_iterations "
            f"{len(both[1])}; give both one number per effort"
        )
    return [
        Effort(affine, params.shrink, deformable, params.smoothing)
        for affine, deformable in zip(*both, strict=True)
    ]


def registered(
    fixed: Scan, moving: list[Scan], searches: list[Effort]
) -> dict[tuple[str, int], np.ndarray]:
    """Register scans to one.

    Parameters
    ----------
    fixed : Scan
        What they are moved to.
    moving : list of Scan
        Atlases.
    searches : list of Effort
        Each is made.

    Returns
    -------
    dict of (str, int) to ndarray
        Name of the moving scan and number of the effort -> its correspondence, shape of `fixed`.

    Examples
    --------
    >>> scan = Scan("a", np.eye(16, dtype=np.float32), np.eye(16, dtype=np.uint8))
    >>> list(registered(scan, [scan], [Effort(1, (1,), 0, 1.0)]))
    [('a', 0)]
    """
    try:
        return {
            (scan.name, number): registration.correspondence(fixed.image, scan.image, effort)
            for scan in moving
            for number, effort in enumerate(searches)
        }
    except RuntimeError as error:  # of ITK
        raise UserError(
            f"the scan {fixed.name} ({' x '.join(map(str, fixed.image.shape))} voxels) cannot be "
            f"registered ({str(error).splitlines()[-1]}); give larger scans, or lower "
            "rca.register.shrink"
        ) from None


def main(job: step.Job) -> None:
    """Make all registrations; those of a killed run are kept beside the output."""
    params, paths = job.params, job.paths
    searches = efforts(params)
    wanted = (*params.fixed, *params.moving)
    for split in wanted:
        if split not in paths:
            raise UserError(f"the split {split} is named in params; add {split}=PATH")
    splits = scan_files.read_splits(paths, wanted)
    work = pairs(params, {split: scans.by_seed for split, scans in splits.items()})
    folder = paths["correspondences"].with_name(f"resume_{checkpoints.fingerprint(job)}")
    parts = [folder / f"{index}.safetensors" for index in range(len(work))]
    missing = [index for index, part in enumerate(parts) if not part.exists()]
    results = spread(registered, ((*work[index][1:], searches) for index in missing))
    done = len(work) - len(missing)
    shown = progress.follow(results, len(work), _describe, done=done)
    for index, result in zip(missing, shown, strict=True):
        key = work[index][0]
        arrays = {f"{key}/{name}/{number}": array for (name, number), array in result.items()}
        scan_files.write_arrays(parts[index], arrays)
    joined: dict[str, np.ndarray] = {}
    for part in parts:
        joined |= scan_files.read_arrays(part)[0]
    scan_files.write_arrays(paths["correspondences"], joined)
    shutil.rmtree(folder, ignore_errors=True)


def pairs(
    params: Params, splits: Mapping[str, Mapping[int, list[Scan]]]
) -> list[tuple[str, Scan, list[Scan]]]:
    """Return which scans are moved to which.

    Parameters
    ----------
    params : Params
        The step's.
    splits : mapping of str to mapping of int to list of Scan
        By split and seed.

    Returns
    -------
    list of (str, Scan, list of Scan)
        For each fixed scan ``seed/split/subject``, itself, and its atlases of the same seed, whose
        names begin with their split.
    """
    work = []
    for seed in splits[params.fixed[0]]:
        atlases = [
            scan._replace(name=f"{split}/{scan.name}")
            for split in params.moving
            for scan in splits[split][seed][: params.scans]
        ]
        for split in params.fixed:
            work += [(f"{seed}/{split}/{scan.name}", scan, atlases) for scan in splits[split][seed]]
    return work


def _describe(result: dict[tuple[str, int], np.ndarray]) -> str:
    return f"{len(result)} registrations"


if __name__ == "__main__":
    with step.start(Params, optional=SPLITS, writes=["correspondences"]) as job:
        main(job)
