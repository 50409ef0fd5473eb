# Five papers of the PR12 series, every number regenerated: see README.md.
from snakemake.utils import min_version

min_version("9.18")


container: "docker://python:3.11-slim"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/requests.smk"
include: "rules/data.smk"


for paper in PAPERS:

    include: f"rules/{paper}.smk"


include: "rules/report.smk"


rule all:
    default_target: True
    input:
        [file for files in TARGETS.values() for file in files],
        index("all", missing=False),
