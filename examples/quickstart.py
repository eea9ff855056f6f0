"""
Quickstart
==========

What can one estimator do with images and with a table of mixed columns?

The example shows a map of digits, the choice of the number of latents by held-out log-likelihood, new digits, and a table of
numbers, strings, booleans and missing values.

Writes `quickstart_map.png` and `quickstart_digits.png` into the current folder.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline

from skvae import VAETransformer

# %%
# Digits in two dimensions, and a classifier of the latents
# ---------------------------------------------------------

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# generator="latent" skips the training of the generator, and the latents and scores are the same
options = {"image_shape": (8, 8), "generator": "latent", "random_state": 0}
maps, accuracies = {}, {}
for name, reduce in {"PCA": PCA(2), "VAE": VAETransformer(2, **options)}.items():
    pipe = Pipeline([("reduce", reduce), ("classify", KNeighborsClassifier())]).fit(X_train, y_train)
    accuracies[name] = pipe.score(X_test, y_test)
    maps[name] = pipe[:-1].transform(X_test)

print("Digits, 64 pixels in 2 dimensions: accuracy of a nearest-neighbour classifier on held-out rows")
for name, accuracy in accuracies.items():
    print(f"  {name}  {accuracy:.3f}")

figure, axes = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
for axis, (name, Z) in zip(axes, maps.items(), strict=True):
    points = axis.scatter(*Z.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=14)
    axis.set(title=f"{name}: accuracy {accuracies[name]:.2f}", xticks=[], yticks=[])
figure.colorbar(points, ax=axes, ticks=range(10), label="digit")
figure.suptitle("Held-out digits in two dimensions")
figure.savefig("quickstart_map.png", dpi=120)

# %%
# The number of latents, chosen by held-out log-likelihood without y
# ------------------------------------------------------------------

search = GridSearchCV(VAETransformer(max_iter=20, **options), {"latent_dim": [2, 8, 16]}, cv=2).fit(X_train)
print("\nDigits: held-out log-likelihood by latent_dim, in nats per image")
for params, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"  {params['latent_dim']:2d}  {score:8.2f}")
print(f"  best: {search.best_params_['latent_dim']}, on the test rows {search.score(X_test):.2f}")

# %%
# New digits
# ----------

vae = VAETransformer(image_shape=(8, 8), max_iter=30, random_state=0).fit(X_train)
new = vae.sample(40, random_state=0).reshape(40, 8, 8)
figure, axes = plt.subplots(4, 20, figsize=(12, 3), layout="constrained")
for row, images in zip((0, 2), (X_test[:40].reshape(40, 8, 8), new), strict=True):
    for axis, image in zip(axes[row : row + 2].ravel(), images, strict=True):
        axis.imshow(image, cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
axes[0, 0].set_title("Real", loc="left")
axes[2, 0].set_title("Sampled", loc="left")
figure.savefig("quickstart_digits.png", dpi=120)

# %%
# A table of numbers, strings, booleans and missing values, without preprocessing
# -------------------------------------------------------------------------------

wine = load_wine(as_frame=True)
table = wine.data[["alcohol", "malic_acid", "color_intensity", "proline"]].round(1)
table["cultivar"] = wine.target.map({0: "barolo", 1: "grignolino", 2: "barbera"})
table["strong"] = table["alcohol"] > 13
rng = np.random.default_rng(0)
for column in ("malic_acid", "cultivar"):
    table[column] = table[column].mask(rng.random(len(table)) < 0.15)

train, test = train_test_split(table, random_state=0)
vae = VAETransformer(latent_dim=3, random_state=0).fit(train)
print("\nWine, a mixed table: the data, and sampled rows")
print(table.head(5).to_string(index=False))
print()
print(vae.sample(5, random_state=0).to_string(index=False))
print(f"\nHeld-out log-likelihood {vae.score(test):.2f} nats per row; least likely row of the test set:")
print(test.iloc[[vae.score_samples(test).argmin()]].to_string(index=False))
print("\nPictures: quickstart_map.png, quickstart_digits.png")
