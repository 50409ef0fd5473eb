# Raw files, checked, and the arrays that papers read: one file per split.
import csv

with open(workflow.source_path("../data/sources.csv"), encoding="utf-8") as stream:
    SOURCES = list(csv.DictReader(stream))


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
    return ancient(fetched(name) + "/verified.json") if checksums(name) else []


rule data:
    input:
        [
            ancient(arrays(P[paper]["dataset"]) + "/train.safetensors")
            for paper in PAPERS
        ],


rule data_fetch:
    output:
        verified=BUILD + "/data/{case}/fetch.{digest}/verified.json",
    log:
        BUILD + "/data/{case}/fetch.{digest}/fetch.log",
    benchmark:
        BUILD + "/data/{case}/fetch.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=500,
        runtime=60,
    params:
        json=lambda w: as_json({"name": w.case}),
        sources=workflow.source_path("../data/sources.csv"),
        folder=lambda w: f"data/raw/{w.case}",
    shell:
        "python -m pr12.shared.fetch --params {params.json:q} sources={params.sources}"
        " folder={params.folder} verified={output.verified} > {log} 2>&1"


rule data_arrays:
    input:
        verified=lambda w: raw(P["data"][w.case]["dataset"]),
    output:
        train=BUILD + "/data/{case}/data.{digest}/train.safetensors",
        validation=BUILD + "/data/{case}/data.{digest}/validation.safetensors",
        test=BUILD + "/data/{case}/data.{digest}/test.safetensors",
    log:
        BUILD + "/data/{case}/data.{digest}/data.log",
    benchmark:
        BUILD + "/data/{case}/data.{digest}/benchmark.txt"
    threads: 1
    resources:
        mem_mb=1500,
        runtime=10,
    params:
        json=lambda w: as_json(P["data"][w.case]),
        raw=lambda w, input: (
            f"verified={input.verified} folder=data/raw/{P['data'][w.case]['dataset']}"
            if input.verified
            else ""
        ),
    shell:
        "python -m pr12.shared.data --params {params.json:q} {params.raw} train={output.train}"
        " validation={output.validation} test={output.test} > {log} 2>&1"
