"""Write the ensemble's logits on the training set: all that a student knows of its teacher."""

from pr12.distill import model
from pr12.distill.params import SoftLabels as Params
from pr12.shared import replicas, run, splits, step


def main(job: step.Job) -> None:
    """Write `member_logits` (M, N, C) in the order of the training split."""
    run.deterministic()
    members = {n: v.to(run.device()) for n, v in run.read_tensors(job.paths["model"]).items()}
    images = splits.load_split(job.paths["train"]).images.to(run.device())
    logits = replicas.forward_shared(model.restore(members), members, images.flatten(1))
    run.write_tensors(job.paths["soft_labels"], {"member_logits": logits})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train"], writes=["soft_labels"]) as job:
        main(job)
