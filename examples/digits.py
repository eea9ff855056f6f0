"""
A map of handwritten digits
===========================

Do two latents separate the ten digits, without labels?

The example shows a map of the digits, images decoded from each place on the map, and new digits.

Writes `digits.png` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier

from skvae import LatentSpaceDisplay, ManifoldDisplay, SamplesDisplay, VAETransformer

# %%
# A model of images
# -----------------
# 1,797 scanned digits of 8 x 8 pixels. An array with more than two axes holds images. The model does not see the labels.

digits = load_digits()
images, test_images, labels, test_labels = train_test_split(digits.images, digits.target, test_size=0.3, random_state=0)
vae = VAETransformer(latent_dim=2, random_state=0).fit(images)

# %%
# Two numbers for an image
# ------------------------
# `transform` reduces an image to its latents, and `inverse_transform` decodes latents to an image. The ten digits form
# clusters, although the model never saw the labels: a nearest-neighbour classifier recognises most of them from the latents.

latents, test_latents = vae.transform(images), vae.transform(test_images)
accuracy = KNeighborsClassifier(15).fit(latents, labels).score(test_latents, test_labels)
error = np.sqrt(np.mean((vae.inverse_transform(test_latents) - test_images) ** 2))
print(f"Unseen digits, 64 pixels in 2 latents: {accuracy:.0%} are recognised by their neighbours")
print(f"  each pixel comes back within {error:.1f} of 16 grey levels (root mean squared error)")

# %%
# New digits
# ----------
# `sample` uses a second model, the generator, which draws pixel by pixel, so that strokes are sharp. Its `log_density`
# distinguishes likely images from unlikely ones, here digits from the same digits upside down.

likely, unlikely = vae.log_density(test_images).mean(), vae.log_density(test_images[:, ::-1]).mean()
print(f"\nMean log-density of unseen digits {likely:.0f} nats, of the same upside down {unlikely:.0f} nats")

# %%
# Pictures
# --------
# Top left: each held-out digit is a point on the map. Grey regions hold 50, 90 and 99 % of all images according to the
# model, and the nats at an axis are the information that this latent carries about an image. Top right: images decoded from
# a grid of places on the map. Bottom: digits from the data, and samples.

figure = plt.figure(figsize=(11, 10), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1, 1.05])
left, right = above.subplots(1, 2, width_ratios=[1.1, 1])
LatentSpaceDisplay.from_estimator(vae, test_images, test_labels, ax=left)
left.set_title("Unseen digits", loc="left", fontsize="medium")
left.get_legend().set_title("digit")
ManifoldDisplay.from_estimator(vae, n=16, ax=right)
SamplesDisplay.from_estimator(vae, 100, X=images, ax=below.subplots(1, 2), random_state=0)
figure.savefig("digits.png", dpi=110)
print("\nPicture: digits.png")
