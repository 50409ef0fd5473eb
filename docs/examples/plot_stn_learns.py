"""
A transformer that learns where to look
=======================================

Nobody tells a spatial transformer where the digit is. Does the loss of a classifier behind it
suffice? The classifier here is linear: it cannot read digits that lie anywhere, so that all that
improves is the transformer's.
"""

# %%
# scikit-learn's digits, 8 by 8 pixels, at random places of a canvas of 14 by 14.
import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional

from pr12.stn.model.transformer import SpatialTransformer

SIDE = 14
torch.manual_seed(0)
digits = load_digits()
small = torch.tensor(digits.images / 16, dtype=torch.float32)
labels = torch.tensor(digits.target)


def placed(chosen: torch.Tensor) -> torch.Tensor:
    """Return digits at random places of a dark canvas, shape (N, 1, 14, 14)."""
    canvases = torch.zeros(len(chosen), 1, SIDE, SIDE)
    corners = torch.randint(SIDE - 8 + 1, (2, len(chosen), 1)) + torch.arange(8)
    each = torch.arange(len(chosen))[:, None, None]
    canvases[each, 0, corners[0][:, :, None], corners[1][:, None, :]] = small[chosen]
    return canvases


train, test = torch.arange(1400), torch.arange(1400, 1797)
test_images = placed(test)

# %%
# The localisation net answers with a scale and a shift (``attention``). It starts with the whole
# canvas, as the identity.
look = nn.Sequential(nn.Flatten(), nn.Linear(SIDE**2, 48), nn.ReLU())
straighten = SpatialTransformer(look, features=48, transform="attention", size=(10, 10))
behind = nn.Linear(100, 10)
alone = nn.Linear(SIDE**2, 10)


def with_transformer(images: torch.Tensor) -> torch.Tensor:
    """Return logits of what the transformer passes on."""
    return behind(straighten(images)[0].flatten(1))


def without(images: torch.Tensor) -> torch.Tensor:
    """Return logits of the canvas as it is."""
    return alone(images.flatten(1))


# %%
# Both learn from the same 400 batches.
optimiser = torch.optim.Adam(
    [*straighten.parameters(), *behind.parameters(), *alone.parameters()], lr=0.003
)
steps, accuracy = [], {"linear": [], "transformer + linear": []}
with torch.no_grad():
    before, _ = straighten(test_images)
for step in range(401):
    chosen = train[torch.randint(len(train), (64,))]
    images = placed(chosen)
    loss = sum(
        functional.cross_entropy(net(images), labels[chosen]) for net in (with_transformer, without)
    )
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    if step % 50 == 0:
        steps.append(step)
        with torch.no_grad():
            for name, net in zip(accuracy, (without, with_transformer), strict=True):
                right = net(test_images).argmax(dim=1) == labels[test]
                accuracy[name].append(right.float().mean().item())

# %%
figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
for name, values in accuracy.items():
    axes.plot(steps, values, marker="o", label=name)
axes.set(xlabel="step", ylabel="accuracy on new digits", ylim=(0, 1))
axes.legend()

# %%
# What the classifier sees of eight new canvases: before the training the whole of them, after it
# windows that follow the digit.
with torch.no_grad():
    after, theta = straighten(test_images)
figure, axes = plt.subplots(3, 8, figsize=(9, 3.6), layout="constrained")
for row, (name, images) in zip(
    axes, {"canvas": test_images, "before": before, "after": after}.items(), strict=True
):
    row[0].set_ylabel(name)
    for place, image in zip(row, images, strict=False):
        place.imshow(image[0], cmap="gray")
        place.set(xticks=[], yticks=[])

for name, values in accuracy.items():
    print(f"{name}: {100 * values[-1]:.0f} % of new digits are right")
scale = theta[:, 0].mean()
print(f"The mean scale of the windows is {scale:.2f}; a digit fills {8 / SIDE:.2f} of the side.")
