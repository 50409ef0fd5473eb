"""Check results against the digests of their files: ``python -m pr12.workflow.verify FOLDER...``.

DVC's stages end with it, so that damaged bytes are never locked. What is damaged is named and
removed.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from pr12.workflow import results


def main(folders: Sequence[str]) -> int:
    """Check all results below folders; return the exit code.

    Parameters
    ----------
    folders : sequence of str
        Such as ``build/full/vae``.
    """
    if not folders:
        print("error: no folder is given; add one, such as build/embedded/vae", file=sys.stderr)
        return 2
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    if missing:
        print(f"error: {missing[0]} is no folder; run snakemake first", file=sys.stderr)
        return 2
    strange = [folder for folder in folders if results.relative(folder).split("/")[0] != "build"]
    if strange:
        print(f"error: {strange[0]} is not below build/ of this folder", file=sys.stderr)
        return 2
    code = 0
    for folder in folders:
        for error in results.damaged(Path(folder)):
            print(f"error: {error}", file=sys.stderr)
            code = 2
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
