"""
What can each family of transformations undo?
=============================================

An attention window, an affine map, a projective map and a thin-plate spline: each can do what the
one before can, and more. Bend a photograph, and let each family look for the parameters that bring
it back, by nothing but the gradient that the sampler passes on.
"""

# %%
# The photograph is bent by a thin-plate spline whose 16 control points are moved at random.
import matplotlib.pyplot as plt
import torch
from skimage import data, transform

from pr12.stn.model.grids import control_points
from pr12.stn.model.transformer import TRANSFORMS, sample

SIZE = (64, 64)
photograph = transform.resize(data.camera(), SIZE, anti_aliasing=True)
straight = torch.tensor(photograph, dtype=torch.float32)[None, None]

stream = torch.Generator().manual_seed(3)
points = control_points(4).float() @ torch.tensor([[0.9, 0.25], [-0.25, 0.9]])
points = points + 0.05 * torch.randn(points.shape, generator=stream)
bent = sample(straight, TRANSFORMS["tps"].grid(points.reshape(1, 32), SIZE))

# %%
# ``theta`` is the only thing that learns, and it begins at the identity. What is compared is the
# middle of the picture: the corners have left it.
families = ["attention", "affine", "projective", "tps"]
middle = (..., slice(12, 52), slice(12, 52))
found, errors = {}, {}
for name in families:
    family = TRANSFORMS[name]
    theta = torch.tensor([family.identity], requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.01)
    history = []
    for _ in range(250):
        restored = sample(bent, family.grid(theta, SIZE))
        loss = (restored - straight)[middle].square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item() ** 0.5)
    found[name], errors[name] = restored.detach(), history

# %%
# The more freedom, the closer: the attention window cannot turn, the affine map cannot bend.
shown = {"photograph": straight, "bent": bent, **found}
figure, axes = plt.subplots(1, 6, figsize=(11, 2.4), layout="constrained")
for place, (name, image) in zip(axes, shown.items(), strict=True):
    place.imshow(image[0, 0], cmap="gray", vmin=0, vmax=1)
    place.set_title(name if name not in errors else f"{name}: {errors[name][-1]:.3f}", fontsize=9)
    place.axis("off")

# %%
# The number behind a name is the error that remains; it falls step by step.
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for name, history in errors.items():
    axes.plot(history, label=f"{name}, {len(TRANSFORMS[name].identity)} parameters")
axes.set(xlabel="step", ylabel="root mean square error")
axes.legend()

# %%
# A spatial transformer has the same gradient, but the loss of a classifier: it finds what helps to
# tell classes apart, which is often upright.
