"""Write the ensemble's logits on the training set: all that a student knows of its teacher."""

from pr12.core import determinism, replicas, tensor_files
from pr12.data import splits
from pr12.distill.model import mlp
from pr12.distill.params import SoftLabels as Params
from pr12.workflow import step


def main(job: step.Job) -> None:
    """Write `member_logits` (M, N, C) in the order of the training split."""
    determinism.deterministic()
    members = {
        n: v.to(determinism.device())
        for n, v in tensor_files.read_tensors(job.paths["model"]).items()
    }
    images = splits.load_split(job.paths["train"]).images.to(determinism.device())
    logits = replicas.forward_shared(mlp.restore(members), members, images.flatten(1))
    tensor_files.write_tensors(job.paths["soft_labels"], {"member_logits": logits})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train"], writes=["soft_labels"]) as job:
        main(job)
