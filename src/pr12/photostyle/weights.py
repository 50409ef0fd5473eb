"""Turn published weights into safetensors.

VGG-19's weights of torchvision (K. Simonyan and A. Zisserman, 2015) are published as a pickle only.
``{"prefix": "features."}`` keeps its convolutions, 80 of 575 MB; ``{"prefix": ""}`` keeps all.
"""

from dataclasses import dataclass

from pr12.shared import run, state_dicts, step


@dataclass(frozen=True)
class Params:
    """Params of the conversion: what the names of the tensors to keep begin with."""

    prefix: str


def main(job: step.Job) -> None:
    """Read the raw file, which `verified` knows if it was fetched, and write its tensors."""
    tensors = state_dicts.read(job.paths["raw"], job.params.prefix, job.paths.get("verified"))
    run.write_tensors(job.paths["weights"], tensors)


if __name__ == "__main__":
    with step.start(Params, reads=["raw"], optional=["verified"], writes=["weights"]) as job:
        main(job)
