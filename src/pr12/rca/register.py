"""Register every scan of some splits to every scan of others, once for all label maps.

Which is moved to which decides who judges: test scans moved to the references is the paper's
direction (the pseudo-labelled scan is the atlas), references moved to the test scan that of
Robinson et al. (2017), training scans moved to the test scan makes multi-atlas segmentations.
"""

from pathlib import Path

import numpy as np

from pr12.core.parallel import spread
from pr12.rca.data import scan_files
from pr12.rca.data.scan_files import SPLITS, Scan
from pr12.rca.model import registration
from pr12.rca.model.registration import Effort
from pr12.rca.params import Register as Params
from pr12.workflow import address, files, progress, step
from pr12.workflow.errors import UserError


def efforts(params: Params) -> list[Effort]:
    """Give the efforts that params list.

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
    return {
        (scan.name, number): registration.correspondence(fixed.image, scan.image, effort)
        for scan in moving
        for number, effort in enumerate(searches)
    }


def main(job: step.Job) -> None:
    """Make all registrations; those of a killed run are kept beside the output."""
    params, paths = job.params, job.paths
    searches = efforts(params)
    wanted = (*params.fixed, *params.moving)
    for split in wanted:
        if split not in paths:
            raise UserError(f"the split {split} is named in params; add {split}=PATH")
    splits = {split: scan_files.read_scans(paths[split]).by_seed for split in wanted}
    fingerprint = address.digest(
        address.source_digest(job.module), repr(params), [files.sha256(paths[s]) for s in wanted]
    )
    work = []  # key of the parts, scan, atlases
    for seed in splits[params.fixed[0]]:
        atlases = [(s, scan) for s in params.moving for scan in splits[s][seed][: params.scans]]
        for split in params.fixed:
            for scan in splits[split][seed]:
                moving = [atlas._replace(name=f"{s}/{atlas.name}") for s, atlas in atlases]
                work.append((f"{seed}/{split}/{scan.name}", scan, moving))
    folder = paths["correspondences"].parent / f"resume_{fingerprint}"
    parts = [folder / f"{index}.safetensors" for index in range(len(work))]
    missing = [index for index, part in enumerate(parts) if not part.exists()]
    found = spread(registered, ((*work[index][1:], searches) for index in missing))
    done = len(work) - len(missing)
    shown = progress.follow(found, len(work), _told, done=done)
    for index, own in zip(missing, shown, strict=True):
        scan_files.write_arrays(
            parts[index],
            {f"{work[index][0]}/{name}/{number}": array for (name, number), array in own.items()},
        )
    arrays: dict[str, np.ndarray] = {}
    for part in parts:
        arrays |= scan_files.read_arrays(part)[0]
    scan_files.write_arrays(paths["correspondences"], arrays)
    _remove(folder)


def _told(own: dict[tuple[str, int], np.ndarray]) -> str:
    return f"{len(own)} registrations"


def _remove(folder: Path) -> None:
    """Remove the parts of a finished run."""
    for part in folder.glob("*"):
        part.unlink()
    folder.rmdir()


if __name__ == "__main__":
    with step.start(Params, optional=SPLITS, writes=["correspondences"]) as job:
        main(job)
