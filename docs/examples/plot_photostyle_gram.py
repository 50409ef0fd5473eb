"""
Texture in a Gram matrix
========================

A Gram matrix of features says which filters answer together, and forgets where. How much of a
texture is in it? Gatys et al. (2015) use a trained network; random filters of several sizes already
show the principle, and take seconds.
"""

# %%
# Features: 32 random filters of three sizes, rectified.
import matplotlib.pyplot as plt
import torch
from skimage import data, transform
from torch.nn import functional

from pr12.photostyle.model.losses import gram, style_loss
from pr12.photostyle.model.optimise import minimise, noise

SIDE = 64
picture = transform.resize(data.brick()[:256, :256], (SIDE, SIDE), anti_aliasing=True)
texture = torch.tensor(picture, dtype=torch.float32).expand(1, 3, SIDE, SIDE).contiguous()
stream = torch.Generator().manual_seed(0)
filters = [
    torch.randn(32, 3, size, size, generator=stream) / (3 * size**2) ** 0.5 for size in (3, 7, 13)
]


def features(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the rectified answers of each size of filter, and the pixels."""
    centred = image - 0.5
    answers = {
        f"side {bank.shape[-1]}": functional.relu(functional.conv2d(centred, bank))
        for bank in filters
    }
    return {"pixels": image, **answers}


wanted = {name: gram(values) for name, values in features(texture).items()}
layers = list(wanted)


def distance(image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the style loss (Gatys et al. 2016, Eqs. 4 and 5), in millionths."""
    return {"loss": 1e6 * style_loss(features(image), wanted, layers)}


# %%
# **It forgets where.** The texture rolled by 20 and 31 pixels is another image with nearly the
# same Gram matrices. Its pixels in random order have the same colours, and quite other ones.
rolled = texture.roll((20, 31), dims=(2, 3))
order = torch.randperm(SIDE**2, generator=stream)
shuffled = texture.flatten(2)[:, :, order].view_as(texture)
known = {"texture": texture, "rolled": rolled, "shuffled": shuffled}

# %%
# **It knows what.** Begin with grey noise, and change its pixels until the Gram matrices agree.
*_, last = minimise(noise(SIDE, SIDE, seed=0), distance, iterations=150, history=20)
known["from noise"] = last.image

figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
for place, (name, image) in zip(axes, known.items(), strict=True):
    place.imshow(image[0].permute(1, 2, 0))
    place.set_title(f"{name}: {distance(image)['loss'].item():.2g}")
    place.axis("off")

# %%
# The number is the distance of Gram matrices from the texture's. The image from noise has
# bright joints in the two directions of the bricks, and grey between them, in no particular place.
# What is missing (whole bricks, long straight lines) needs filters that see further, as the deeper
# layers of a trained network do.
