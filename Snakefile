# Five papers of the PR12 series, every number regenerated: see README.md.
from snakemake.utils import min_version

min_version("9.18")


container: "docker://python:3.11-slim"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/steps.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        [f for p in PAPERS for f in [*evidence_made(p), *pages(p, "all")]],
        index("all", missing=False),
