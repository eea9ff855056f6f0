"""
A table with images and labels
==============================

Can one model sample digits of a class, classify an image, and impute missing images and labels?

Writes `labelled_digits.png` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from skvae import VAETransformer

# %%
# A table with a column of images
# -------------------------------
# 1,797 scanned digits of 8 x 8 pixels, in seventeen grey levels: each cell of the last column is an array. The other columns
# are the label and three numbers computed from the image: the amount of ink (the mean grey level), the width (the horizontal
# standard deviation of the ink, in pixels), and the slant to the right (in degrees).

digits = load_digits()
images = digits.images.astype(np.uint8)
rows, columns = np.mgrid[:8, :8]


def mean(values):
    """Mean over the pixels of each image, weighted by ink."""
    return (digits.images * values).sum((1, 2)) / digits.images.sum((1, 2))


right = columns - mean(columns)[:, None, None]
down = rows - mean(rows)[:, None, None]
table = pd.DataFrame(
    {
        "label": pd.Categorical(digits.target),
        "ink": digits.images.mean((1, 2)),
        "width": np.sqrt(mean(right**2)),
        "slant": np.degrees(np.arctan(-mean(right * down) / mean(down**2))),
        "image": list(images),
    }
)
seen, unseen = train_test_split(table, test_size=0.3, stratify=table["label"], random_state=0)
vae = VAETransformer(latent_dim=16, random_state=0).fit(seen)


def pixels(frame):
    """The images of a table as one array, (n, 8, 8)."""
    return np.stack(list(frame["image"]))


# %%
# Digits of a class
# -----------------
# Do the samples show the given digit? A support vector machine that was trained on the real images decides.

judge = SVC().fit(pixels(seen).reshape(len(seen), -1), seen["label"])


def judged(frame):
    return judge.predict(pixels(frame).reshape(len(frame), -1))


drawn = vae.sample(100, given=pd.DataFrame({"label": range(10)}), random_state=0)
asked = drawn["label"].astype(int)
agreement = (judged(drawn) == asked).groupby(asked).mean()
print("How often a support vector machine trained on real images recognises the label")
print(f"  of unseen images {np.mean(judged(unseen) == unseen['label'].astype(int)):.0%}")
print(
    f"  of images drawn given the label {agreement.mean():.0%}, least often of a {agreement.idxmin()}: {agreement.min():.0%}"
)

# %%
# The label of an image
# ---------------------
# Everything except the image is missing. `impute` fills in the most probable label, and `conditional_proba` returns the
# probability of each. For comparison, a nearest-neighbour classifier uses the latents, also of the image alone.


def image_only(frame):
    return frame.assign(label=None, ink=np.nan, width=np.nan, slant=np.nan)


truth = unseen["label"].astype(int)
neighbours = KNeighborsClassifier(15).fit(vae.transform(image_only(seen)), seen["label"].astype(int))
proba = vae.conditional_proba(image_only(unseen), "label")
surest = proba.max(axis=1) > 0.9
right_label = proba.idxmax(axis=1) == truth
print(f"\nThe label of {len(unseen)} unseen images")
print(f"  imputed: {np.mean(vae.impute(image_only(unseen))['label'].astype(int) == truth):.1%} right")
print(f"  15 nearest neighbours on the latents: {neighbours.score(vae.transform(image_only(unseen)), truth):.1%} right")
print(f"  {surest.mean():.0%} are more than 90 % probable, and {right_label[surest].mean():.1%} of those are right")

# %%
# Images of a kind
# ----------------
# Numbers can be given together with the label. Do the sampled images match them? They can be computed from the images.

heavier = np.quantile(seen.loc[seen["label"] == 7, "ink"], np.linspace(0.03, 0.97, 7)).round(2)
sevens = vae.sample(50, given=pd.DataFrame({"label": 7, "ink": heavier}), random_state=0)
leaning = np.quantile(seen.loc[seen["label"] == 1, "slant"], np.linspace(0.03, 0.97, 7)).round(1)
ones = vae.sample(50, given=pd.DataFrame({"label": 1, "slant": leaning}), random_state=0)
print("\nInk of sevens: what was given, and mean of the images that were drawn")
print("  " + "".join(f"{ink:7.2f}" for ink in heavier))
print("  " + "".join(f"{ink:7.2f}" for ink in pixels(sevens).reshape(7, -1).mean(1)))

# %%
# Rows with missing values
# ------------------------
# Some rows lack the image, others the label. `impute` fills in both at once, and leaves all other cells unchanged.

holed = unseen.copy()
no_image = np.arange(len(unseen)) % 2 == 0
holed["image"] = holed["image"].where(~no_image, None)
holed["label"] = holed["label"].where(no_image)
filled = vae.impute(holed)
by_label = np.stack([pixels(seen[seen["label"] == label]).mean(0) for label in range(10)])
guesses = {
    "the mean image of the label": by_label[truth[no_image]],
    "imputed, given label and numbers": pixels(filled[no_image]),
}
print("\nMissing images: root mean squared error, in grey levels of 16")
for name, guess in guesses.items():
    print(f"  {name:34s}{np.sqrt(np.mean((guess - pixels(unseen[no_image]).astype(float)) ** 2)):.2f}")
right_filled = filled.loc[~no_image, "label"].astype(int) == truth[~no_image]
print(f"Missing labels, given image and numbers: {right_filled.mean():.1%} right")
ways = vae.impute(holed[no_image][:10], n_draws=3, random_state=0)

# %%
# Pictures
# --------


def mosaic(grid):
    """Images (n_rows, n_columns, 8, 8) beside and below each other, with a pixel between them."""
    framed = np.pad(np.asarray(grid, dtype=float), ((0, 0), (0, 0), (1, 0), (1, 0)), constant_values=np.nan)
    return framed.transpose(0, 2, 1, 3).reshape(9 * len(framed), -1)


def show(axis, grid, title, names=(), above=()):
    axis.imshow(mosaic(grid), cmap="gray_r", vmin=0, vmax=16)
    axis.set_title(title, loc="left", fontsize="medium")
    axis.set_xticks(4.5 + 9 * np.arange(len(above)), above)
    axis.set_yticks(4.5 + 9 * np.arange(len(names)), names)
    axis.tick_params(length=0, labelsize="small")
    axis.spines[:].set_visible(False)


figure = plt.figure(figsize=(15, 5.6), layout="constrained")
left_half, middle_part, right_half = figure.subfigures(1, 3, width_ratios=[1, 0.8, 1.2])
show(left_half.subplots(), pixels(drawn).reshape(10, 100, 8, 8)[:, :10], "Drawn, given the label", range(10))

above, below = middle_part.subplots(2, 1)
show(above, pixels(sevens).reshape(7, 50, 8, 8)[:, :4].swapaxes(0, 1), "Sevens, drawn given their ink", above=heavier)
show(below, pixels(ones).reshape(7, 50, 8, 8)[:, :4].swapaxes(0, 1), "Ones, drawn given their slant", above=leaning)

above, below = right_half.subplots(2, 1, height_ratios=[3, 1])
grid = [pixels(frame)[:10] for frame in (unseen[no_image], filled[no_image], *ways)]
names = ["truth", "imputed", "draw 1", "draw 2", "draw 3"]
show(above, grid, "The image is missing, the rest of the row is there", names, unseen["label"][no_image][:10])
unsure = proba.max(axis=1).to_numpy().argsort()[:10]
likely = proba.columns.to_numpy()[np.argsort(-proba.to_numpy()[unsure], axis=1)[:, :2]]
chances = -np.sort(-proba.to_numpy()[unsure], axis=1)[:, :2]
texts = [
    f"{a}: {p:.0%}\n{b}: {q:.0%}\n(is {k})" for (a, b), (p, q), k in zip(likely, chances, truth.iloc[unsure], strict=True)
]
show(below, [pixels(unseen)[unsure]], "The image is there, the rest is missing: the ten least sure labels", above=texts)
figure.savefig("labelled_digits.png", dpi=110)
print("\nPicture: labelled_digits.png")
