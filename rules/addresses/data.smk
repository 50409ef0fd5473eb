# Addresses that rules/data.smk uses.
import csv

SOURCES_CSV = Path(workflow.basedir, "data/sources.csv")
SOURCES = list(csv.DictReader(SOURCES_CSV.read_text(encoding="utf-8").splitlines()))


def checksums(name):
    """File -> checksum of one raw data set; what its arrays depend on, however it was fetched."""
    return {row["file"]: row["checksum"] for row in SOURCES if row["name"] == name}


def fetched(name):
    return address(
        "pr12.shared.fetch", f"data/{name}/fetch", {"name": name}, checksums(name)
    )


@cache
def arrays(name):
    params = P["data"][name]
    return address(
        "pr12.shared.data", f"data/{name}/data", params, checksums(params["dataset"])
    )


def raw(name):
    """The record of a raw data set's files, if it is one that must be fetched."""
    return made(fetched(name), "verified.json") if checksums(name) else []
