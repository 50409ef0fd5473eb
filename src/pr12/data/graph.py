"""Raw data, fetched and checked, and the arrays of a data set: one file per split."""

from pr12.workflow import address
from pr12.workflow.graph import File, Job, Paper, Raw

data_sets = Paper("data")
SOURCES = address.SRC.parent / "data/sources.csv"


def checksums(name: str) -> dict[str, str]:
    """Return file -> checksum of raw data; nothing of what lies inside installed packages."""
    return address.checksums(SOURCES).get(name, {})


def raw(data_set: str, file: str = "") -> Raw:
    """Return the folder of raw data, or one file of it."""
    sums = checksums(data_set)
    if not file:
        return Raw(f"data/raw/{data_set}", sums, fetch(data_set)["verified"])
    return Raw(f"data/raw/{data_set}/{file}", {file: sums[file]}, fetch(data_set)["verified"])


def verified(data_set: str, file: str = "", name: str = "folder") -> dict[str, Raw]:
    """Return raw data under a name, and the record of their checksums, if they are to be fetched.

    What lies inside installed packages is not.
    """
    if not checksums(data_set):
        return {}
    record = fetch(data_set)["verified"]
    known = Raw(record.path, checksums(data_set), record)
    return {"verified": known, name: raw(data_set, file)}


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


def size(dataset: str, name: str) -> int:
    """Return the number of examples of a split of a data set's arrays."""
    return data_sets.section[dataset][name]


def split(dataset: str, *names: str) -> dict[str, File]:
    """Return splits of a data set's arrays, by name."""
    return {name: arrays(dataset)[name] for name in names}
