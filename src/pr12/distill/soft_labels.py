"""Write the ensemble's logits on the training set: all that a student knows of its teacher."""

from pr12.core import determinism, tensor_files
from pr12.distill.model import saved_nets
from pr12.distill.params import SoftLabels as Params
from pr12.workflow import step


def main(job: step.Job) -> None:
    """Write `member_logits` (M, N, C) in the order of the training split."""
    determinism.deterministic()
    logits, _ = saved_nets.answers(job.paths["model"], {"train": job.paths["train"]})["train"]
    tensor_files.write_tensors(job.paths["soft_labels"], {"member_logits": logits})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train"], writes=["soft_labels"]) as job:
        main(job)
