"""Make the splits of scans: generated slices, or the hippocampus set of the Decathlon.

For each seed: subjects to train segmenters on, a reference set whose labels RCA trusts, subjects
that calibrate its scores, and test subjects. No subject is in two splits of one seed, and no test
subject of one seed is a test subject of another, so that results of seeds are of different people.
"""

import sys
from pathlib import Path

from pr12.data import fetched
from pr12.rca.data import hippocampus, phantom
from pr12.rca.data.scan_files import SPLITS, Scan, Scans, write_scans
from pr12.rca.params import Scans as Params
from pr12.workflow import step
from pr12.workflow.errors import UserError


def phantom_splits(params: Params) -> dict[str, Scans]:
    """Generate every subject of every seed.

    Parameters
    ----------
    params : Params
        The step's.

    Returns
    -------
    dict of str to Scans
        By split.

    Examples
    --------
    >>> params = Params("phantom", (0, 3), 2, 1, 1, 1, 32, 1.0)
    >>> splits = phantom_splits(params)
    >>> [scan.name for scan in splits["train"].by_seed[3]], splits["test"].structures
    (['train-0', 'train-1'], ('liver', 'spleen', 'kidneys'))
    """
    splits = {}
    for number, split in enumerate(SPLITS):
        by_seed = {}
        for seed in params.seeds:
            by_seed[seed] = [
                Scan(
                    f"{split}-{index}",
                    *phantom.slice_of(
                        (seed, number, index), params.phantom_size, params.phantom_variation
                    ),
                )
                for index in range(getattr(params, split))
            ]
        splits[split] = Scans(phantom.STRUCTURES, by_seed)
    return splits


def hippocampus_splits(params: Params, folder: Path) -> dict[str, Scans]:
    """Deal the subjects of the hippocampus set out to the splits of every seed.

    Parameters
    ----------
    params : Params
        The step's.
    folder : Path
        With imagesTr and labelsTr.

    Returns
    -------
    dict of str to Scans
        By split.

    Raises
    ------
    UserError
        If there are too few subjects or a file is not as it must be.
    """
    scans = {name: Scan(name, *rest) for name, *rest in hippocampus.read_hippocampus(folder)}
    sizes = {split: getattr(params, split) for split in SPLITS}
    dealt = {seed: hippocampus.deal(list(scans), **sizes, seed=seed) for seed in params.seeds}
    return {
        split: Scans(
            hippocampus.STRUCTURES,
            {seed: [scans[name] for name in names[split]] for seed, names in dealt.items()},
        )
        for split in SPLITS
    }


def main(job: step.Job) -> None:
    """Make the four files."""
    params, paths = job.params, job.paths
    if len(set(params.seeds)) < len(params.seeds):
        raise UserError(f"rca.scans.seeds is {list(params.seeds)}; name each seed only once")
    if params.source == "phantom":
        splits = phantom_splits(params)
    elif "verified" in paths and "folder" in paths:
        fetched.check_all(paths["verified"], paths["folder"], ("imagesTr", "labelsTr"))
        splits = hippocampus_splits(params, paths["folder"])
    else:
        raise UserError("hippocampus is read from files: add verified=PATH and folder=PATH")
    for split, scans in splits.items():
        write_scans(paths[split], scans)
        count = sum(map(len, scans.by_seed.values()))
        print(f"{split}: {count} scans of {len(scans.by_seed)} seeds", file=sys.stderr)


if __name__ == "__main__":
    with step.start(Params, optional=["verified", "folder"], writes=SPLITS) as job:
        main(job)
