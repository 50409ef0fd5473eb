"""Turn published weights into safetensors.

VGG-19's weights of torchvision (K. Simonyan and A. Zisserman, 2015) are published as a pickle only.
``{"prefix": "features."}`` keeps its convolutions, 80 of 575 MB; ``{"prefix": ""}`` keeps all.
"""

from pr12.core import state_dicts, tensor_files
from pr12.data import fetched
from pr12.photostyle.params import Weights as Params
from pr12.workflow import step


def main(job: step.Job) -> None:
    """Read the raw file, which `verified` knows if it was fetched, and write its tensors."""
    raw = job.paths["raw"]
    if "verified" in job.paths:
        fetched.check_all(job.paths["verified"], raw.parent, [raw.name])
    tensors = state_dicts.read(raw, job.params.prefix)
    tensor_files.write_tensors(job.paths["weights"], tensors)


if __name__ == "__main__":
    with step.start(Params, reads=["raw"], optional=["verified"], writes=["weights"]) as job:
        main(job)
