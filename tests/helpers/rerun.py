"""Results made again by the command in their own log, in a process that starts from nothing."""

import json

from pr12.workflow import files, results


def smallest_of_each_step(build):
    """Return module -> the folder of its quickest result, below the folder of a run."""
    quickest = {}
    for path in build.glob("*/*/*.*/files.json"):
        seconds = files.read_json(path.with_name("timings.json"))["seconds"]
        module = command(path.parent).split()[3]
        quickest[module] = min(quickest.get(module, (seconds, path.parent)), (seconds, path.parent))
    return {module: folder for module, (_, folder) in sorted(quickest.items())}


def command(folder):
    """Return the command that made a result: the first line of its step's log."""
    log = folder / f"{folder.name.partition('.')[0]}.log"
    return log.read_text(encoding="utf-8").partition("\n")[0]


def differences(checkout, folder):
    """Make a result again; name the files whose bytes differ, or that only one of two runs made."""
    first = bytes_of(folder)
    line = command(folder)
    threads = files.read_json(folder / "timings.json")["threads"]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    other = {"PYTHONHASHSEED": "7", "LC_ALL": "C", "TZ": "Asia/Tokyo"}  # no bytes hang on them
    checkout.run("bash", "-c", line, OMP_NUM_THREADS=str(threads), CUDA_VISIBLE_DEVICES="", **other)
    second = bytes_of(folder)
    return sorted(
        name for name in first.keys() | second.keys() if first.get(name) != second.get(name)
    )


def bytes_of(folder):
    """Return the digest of every file of a result, and check that files.json vouches for them."""
    vouched = json.loads((folder / results.NAME).read_text(encoding="utf-8"))
    actual = {name: files.sha256(folder / name) for name in vouched}
    assert vouched == actual
    return actual
