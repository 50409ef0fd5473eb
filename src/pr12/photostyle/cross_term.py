r"""The cross term of sky and building in the style loss, without masks and with them.

The Gram matrix of a picture of sky and building is, position by position, a sum: sky's part plus
building's part. Squared, as the style loss does, it holds the cross term: |dS + dB|^2 =
|dS|^2 + |dB|^2 + 2 <dS, dB>, by which an error in the sky can be paid for by one in the building.
With soft masks, M_S + M_B = 1, the Gram matrix itself has such a term where the masks overlap:
2 F M_S M_B F^T.
"""

import torch
from torch import Tensor

from pr12.core import determinism, tensor_files
from pr12.photostyle.model import carried_masks, deep_photo_style, experiments, losses, optimise
from pr12.photostyle.params import CrossTerm as Params
from pr12.workflow import files, step
from pr12.workflow.errors import UserError


def gram_parts(features: Tensor, masks: Tensor) -> dict[str, float]:
    """Return the parts of a Gram matrix, as shares of its Frobenius norm.

    Parameters
    ----------
    features : Tensor
        Shape (1, N, h, w).
    masks : Tensor
        Of two classes, with the sum 1, shape (2, h, w).

    Examples
    --------
    >>> features = torch.tensor([[[[1.0, 1.0]]]])
    >>> gram_parts(features, torch.tensor([[[1.0, 0.5]], [[0.0, 0.5]]]))
    {'sky': 0.625, 'building': 0.125, 'cross': 0.25}
    """
    sky, building = (features[0].flatten(1) * mask.flatten() for mask in masks)
    whole = torch.linalg.matrix_norm((sky + building) @ (sky + building).T)
    cross = sky @ building.T
    parts = {"sky": sky @ sky.T, "building": building @ building.T, "cross": cross + cross.T}
    return {name: (torch.linalg.matrix_norm(part) / whole).item() for name, part in parts.items()}


def interaction(loss, content: Tensor, other: Tensor, masks: Tensor) -> dict[str, float]:
    """Return what changes in two regions do to a loss, and what they do together.

    Parameters
    ----------
    loss : callable
        Features (1, N, h, w) -> loss.
    content, other : Tensor
        Features of two images, shape (1, N, h, w).
    masks : Tensor
        0 or 1, shape (2, h, w): the regions.

    Returns
    -------
    dict of str to float
        With features of one region taken from `other`: ``sky`` and ``building``, the loss' changes
        by either; ``cross``: what is left of the change by both, in units of the larger change.

    Examples
    --------
    >>> content, other = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, 2)
    >>> masks = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])
    >>> interaction(lambda features: features.sum() ** 2, content, other, masks)
    {'sky': 1.0, 'building': 1.0, 'cross': 2.0}
    """
    sky, building = masks
    none = loss(content)
    first = loss(content + (other - content) * sky) - none
    second = loss(content + (other - content) * building) - none
    both = loss(other) - none
    scale = max(abs(first), abs(second)).clamp(min=1e-30)
    cross = (both - first - second) / scale
    return {"sky": first.item(), "building": second.item(), "cross": cross.item()}


def main(job: step.Job) -> None:
    """Run the step."""
    params = job.params
    experiments.check_distinct(params)
    determinism.deterministic()
    photographs = tensor_files.read_tensors(job.paths["photographs"])
    images = {
        name: experiments.picture(photographs, f"{params.pair}/{name}")
        for name in ("content", "style")
    }
    masks = {}
    for name, image in images.items():
        labels = photographs[f"{params.pair}/{name}_mask"].numpy()
        if labels.max() != 1:
            raise UserError(f"{params.pair} has no two classes; choose a pair of sky and building")
        masks[name] = deep_photo_style.as_masks(labels, 2).to(image.device)
    features = experiments.features_of(params, params.layers, photographs, job.paths.get("weights"))
    with torch.no_grad():
        content, wanted = features(images["content"]), features(images["style"])
    soft = carried_masks.carried(features, masks["content"])
    soft_style = carried_masks.carried(features, masks["style"])
    metrics: dict[str, list[float]] = {}
    for seed in params.seeds:
        drawn = optimise.noise(*images["content"].shape[-2:], seed).to(images["content"].device)
        with torch.no_grad():
            noise = features(drawn)
        for depth, layer in enumerate(params.layers, start=1):
            parts = layer_parts(
                *(tensor.double() for tensor in (content[layer], noise[layer], wanted[layer])),
                soft[layer].double(),
                soft_style[layer].double(),
            )
            for key, value in parts.items():
                metrics.setdefault(f"{key}_depth{depth}", []).append(value)
    for kind in ("gram/share_cross", "plain/ratio_cross", "masked/ratio_cross", "soft/ratio_cross"):
        values = [metrics[f"{kind}_depth{depth}"] for depth in range(1, len(params.layers) + 1)]
        metrics[f"{kind}_largest"] = [max(map(abs, row)) for row in zip(*values, strict=True)]
    files.write_json(job.paths["metrics"], {"metrics": metrics, "provenance": job.provenance()})


def layer_parts(
    content: Tensor, other: Tensor, style: Tensor, soft: Tensor, soft_style: Tensor
) -> dict[str, float]:
    """Return all parts of one layer: of the Gram matrix, and of the loss without and with masks."""
    hard = torch.stack([(soft[0] >= 0.5), (soft[0] < 0.5)]).double()
    grams = {"a": losses.gram(style)}
    masked = {"a": losses.masked_grams(style, soft_style)}
    parts = {f"gram/share_{name}": value for name, value in gram_parts(content, soft).items()}
    for name, loss in {
        "plain": lambda image: losses.style_loss({"a": image}, grams, ["a"]),
        "masked": lambda image: losses.masked_style_loss({"a": image}, {"a": hard}, masked, ["a"]),
        "soft": lambda image: losses.masked_style_loss({"a": image}, {"a": soft}, masked, ["a"]),
    }.items():
        changes = interaction(loss, content, other, hard)
        parts[f"{name}/change_sky"] = changes["sky"]
        parts[f"{name}/change_building"] = changes["building"]
        parts[f"{name}/ratio_cross"] = changes["cross"]
    return parts


if __name__ == "__main__":
    with step.start(Params, reads=["photographs"], optional=["weights"], writes=["metrics"]) as job:
        main(job)
