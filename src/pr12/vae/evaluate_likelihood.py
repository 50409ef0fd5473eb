"""Estimate the marginal likelihood of a case's model: Appendix D's way, importance, annealing.

Appendix D's estimator (Fig. 3) needs the decoder alone and is made at every moment that was kept,
for the first points of training and test data; the other two at the end, on test data.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pr12.core import determinism
from pr12.vae.data import images
from pr12.vae.model import estimators, saved_nets
from pr12.vae.params import EvaluateLikelihood as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def metrics(
    saved: saved_nets.Saved, train: Tensor, test: Tensor, params: Params
) -> dict[str, Sequence[float]]:
    """Return the case's metrics, one value per replica.

    Parameters
    ----------
    saved : Saved
        What a training left.
    train, test : Tensor
        Images as rows of pixels, shape (N, D).
    params : Params
        The step's.
    """
    values: dict[str, list[float]] = {}
    last: dict[str, Tensor] = {}  # estimator -> log p(x) of the test data at the end, (S, N)
    if "posterior" in params.estimators:
        for moment, seen in enumerate(saved.samples_seen):
            for name, x in (("train", train), ("test", test)):
                key = f"{name}/likelihood_posterior_{seen}_nats"
                last["posterior"] = estimators.posterior(
                    saved_nets.at(saved, moment), x, params.batch, params.posterior_samples,
                    params.burn_in, params.leapfrog, params.step_size,
                )  # fmt: skip
                values[key] = estimators.mean(last["posterior"], key)
        for name in ("train", "test"):
            end = values[f"{name}/likelihood_posterior_{saved.samples_seen[-1]}_nats"]
            values[f"{name}/likelihood_posterior_nats"] = end
    if "importance" in params.estimators:
        estimates = estimators.importance(
            saved_nets.at(saved, -1), test, params.batch, params.importance_samples, params.chunk
        )
        for samples, estimate in zip(params.importance_samples, estimates, strict=True):
            key = f"test/likelihood_importance_k{samples}_nats"
            values[key] = estimators.mean(estimate, key)
        last["importance"] = estimate
        values["test/nll_importance_nats"] = [-value for value in values[key]]
    if "annealed" in params.estimators:
        key = "test/likelihood_annealed_nats"
        last["annealed"] = estimators.annealed(
            saved_nets.at(saved, -1), test, params.batch, params.chains, params.temperatures,
            params.leapfrog, params.step_size,
        )  # fmt: skip
        values[key] = estimators.mean(last["annealed"], key)
    if "importance" in last:
        for name in last.keys() - {"importance"}:  # image by image, so that no errors cancel
            gaps = (last[name] - last["importance"]).abs()
            values[f"test/gap_{name}_importance_nats"] = estimators.mean(gaps, name)
    return values


def main(job: step.Job) -> None:
    """Estimate the likelihood of every replica."""
    determinism.deterministic()
    params = job.params
    if not params.estimators:
        raise UserError("estimators is empty; name posterior, importance or annealed")
    if list(params.importance_samples) != sorted(set(params.importance_samples)):
        asked = list(params.importance_samples)
        raise UserError(f"importance_samples is {asked}; the numbers must rise")
    train, test = images.load_alike(job.paths["train"], job.paths["test"])
    data = [x[: params.points] for x in (train[: params.train_examples], test)]
    if params.binarise:  # one fixed draw: every system is judged on the same images
        draw = determinism.generator(0, "binarise", determinism.device())
        data = [(torch.rand(x.shape, generator=draw, device=x.device) < x).float() for x in data]
    saved = saved_nets.load(job.paths["model"], pixels=data[0].shape[1])
    if saved.objective == "autoencoder":
        raise UserError(
            "a plain autoencoder has no prior and hence no likelihood; evaluate a variational one"
        )
    if saved.objective == "mcem" and "importance" in params.estimators:
        raise UserError("a model of mcem has no encoder; leave importance out of estimators")
    values = metrics(saved, *data, params)
    files.write_json(job.paths["metrics"], {"metrics": values, "provenance": job.provenance()})


if __name__ == "__main__":
    with step.start(Params, reads=["model", "train", "test"], writes=["metrics"]) as job:
        main(job)
