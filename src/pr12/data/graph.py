"""Raw data, fetched and checked, and the arrays of a data set: one file per split."""

from pr12.workflow import address
from pr12.workflow.graph import File, Job, Paper, Raw

data_sets = Paper("data")
SOURCES = address.SRC.parent / "data/sources.csv"


def checksums(name: str) -> dict[str, str]:
    """Return file -> checksum of raw data; nothing of what lies inside installed packages."""
    return address.checksums(SOURCES).get(name, {})


def raw(name: str, file: str = "") -> Raw:
    """Return the folder of raw data, or one file of it."""
    sums = checksums(name)
    path = f"data/raw/{name}/{file}" if file else f"data/raw/{name}"
    chosen = {file: sums[file]} if file in sums else sums
    return Raw(path, chosen, fetch(name)["verified"] if sums else None)


def record(name: str) -> Raw:
    """Return the record that raw data are there and have their checksums."""
    file = fetch(name)["verified"]
    return Raw(file.path, checksums(name), file)


def verified(name: str) -> dict[str, Raw]:
    """Return the folder of raw data and the record of its checksums, if it is one to be fetched."""
    return {"verified": record(name), "folder": raw(name)} if checksums(name) else {}


@data_sets.step(
    makes={"verified": "verified.json"},
    params=lambda job: {"name": job.case},
    local=True,
    memory=500,
    minutes=60,
)
def fetch(job: Job) -> dict[str, Raw]:
    """Read one data set's rows; other rows are no reason to fetch these again."""
    return {"sources": Raw("data/sources.csv"), "folder": Raw(f"data/raw/{job.case}")}


@data_sets.step(
    makes={split: f"{split}.safetensors" for split in ("train", "validation", "test")},
    params=lambda job: data_sets.section[job.case],
    local=True,
    memory=1500,
)
def arrays(job: Job) -> dict[str, Raw]:
    """Read the raw files of the data set."""
    return verified(job.params["dataset"])


def split(dataset: str, *names: str) -> dict[str, File]:
    """Return splits of a data set's arrays, by name."""
    return {name: arrays(dataset)[name] for name in names}
