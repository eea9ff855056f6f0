"""
Faces: latents and missing halves
=================================

What does each latent of a face change, and how may the missing lower half of a face look?

Downloads the Olivetti faces (4 MB), and fits them in about two minutes. Without network access it uses digits instead, which
takes half a minute. Writes `faces.png` into the current folder.
"""

import warnings

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import fetch_olivetti_faces, load_digits
from sklearn.neighbors import KNeighborsRegressor

from skvae import TraversalDisplay, VAETransformer

# %%
# Faces, or digits
# ----------------
# Ten pictures of each of forty persons, reduced from 64 x 64 to 32 x 32 pixels to save time. The pictures of five persons
# are held out, or the first hundred digits.

try:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns before it retries
        faces = fetch_olivetti_faces(n_retries=1)
    whole = np.round(255 * faces.images.reshape(-1, 32, 2, 32, 2).mean((2, 4))).astype(np.uint8)
    images, unseen, what = whole[faces.target < 35], whole[faces.target >= 35], "faces"
except OSError:
    print("The Olivetti faces cannot be downloaded, so digits are used instead.")
    whole = load_digits().images
    images, unseen, what = whole[100:], whole[:100], "digits"
n, height, width = images.shape
vae = VAETransformer(latent_dim=8, random_state=0).fit(images)
print(f"{n} images of {height} x {width} pixels, {vae.n_iter_} epochs")

# %%
# The lower half is missing
# -------------------------
# Missing pixels are NaN. `impute` fills in one best guess. With n_draws it returns several completed images, which are sharp
# and differ from each other if the missing half is uncertain. Their mean is also a guess, and improves with their number.

missing = np.arange(height)[:, None].repeat(width, axis=1) >= height // 2
holed = np.where(missing, np.nan, unseen)
centre = vae.impute(holed)
draws = vae.impute(holed, n_draws=10, random_state=0)

# %%
# How far from the truth?
# -----------------------
# For comparison: the mean image, and the mean of the five training images with the most similar upper halves. A single draw
# is not a best guess. It is farther from the truth, as another real image with this upper half would be.

truth = unseen[:, missing].astype(float)
upper, lower = images[:, ~missing].astype(float), images[:, missing].astype(float)
guesses = {
    "mean image": lower.mean(axis=0),
    "five nearest images": KNeighborsRegressor(5).fit(upper, lower).predict(unseen[:, ~missing].astype(float)),
    "impute": centre[:, missing],
    "impute, mean of 10 draws": np.mean([draw[:, missing] for draw in draws], axis=0),
    "impute, one draw": draws[0][:, missing],
}
print(f"\nLower halves of {len(unseen)} unseen {what}: root mean squared error, white is {images.max():.0f}")
for name, guess in guesses.items():
    print(f"  {name:26s}{np.sqrt(np.mean((guess - truth) ** 2)):5.1f}")

# %%
# Pictures
# --------
# Left: each row moves one latent of an unseen image through its range. Right: missing pixels are pink.

figure = plt.figure(figsize=(15, 5.9), layout="constrained")
left, right = figure.subfigures(1, 2, width_ratios=[1.2, 1])
TraversalDisplay.from_estimator(vae, unseen[:1], ax=left.subplots())
cmap = plt.colormaps["gray"].with_extremes(bad="#e05fa8")
columns = {"truth": unseen, "seen": holed, "impute": centre} | {f"draw {k}": draw for k, draw in enumerate(draws[:4], 1)}
axes = right.subplots(6, len(columns))
for column, (title, some) in zip(axes.T, columns.items(), strict=True):
    column[0].set_title(title, fontsize="medium")
    for axis, image in zip(column, some[:: len(some) // 6], strict=False):
        axis.imshow(image, cmap=cmap, vmin=0, vmax=images.max())
        axis.set(xticks=[], yticks=[])
figure.savefig("faces.png", dpi=110)
print("\nPicture: faces.png")
