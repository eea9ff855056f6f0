"""
Small tables and rare classes
=============================

Are 89 rows enough to sample new ones, and are samples of a class with 2 % of the rows realistic?

Writes `small_tables.png` into the current folder.
"""

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from skvae import VAETransformer, quality_report

# %%
# Half of a small table, and new rows
# -----------------------------------
# The generator starts in closed form, with logistic regressions for categories, ridge regressions for numbers, and a normal
# distribution for the residuals. Training is kept only if it improves the held-out score.

wine = load_wine(as_frame=True)
table = wine.data.assign(cultivar=pd.Categorical.from_codes(wine.target, ["A", "B", "C"]))
real, holdout = train_test_split(table, test_size=0.5, random_state=0, stratify=table["cultivar"])
vae = VAETransformer(latent_dim=4, random_state=0).fit(real)
synthetic = vae.sample(len(real), random_state=0)
report = quality_report(real, synthetic, holdout, target="cultivar", random_state=0)
print(textwrap.fill(f"Wine, {len(real)} rows: {report.verdict}", 100))

# %%
# A rare class
# ------------
# With `given`, rows are distributed as if unconditional samples had been filtered. Here the rare class is sampled until both
# classes have the same size, for example to train a classifier.

rng = np.random.default_rng(0)
fraud = rng.random(3000) < 0.02
payments = pd.DataFrame(
    {"amount": rng.lognormal(3 + 1.5 * fraud), "hour": rng.normal(14 - 9 * fraud, 3).clip(0, 24).round(2)}
)
payments["fraud"] = fraud
model = VAETransformer(latent_dim=2, random_state=0).fit(payments)
more = model.sample(int((~fraud).sum() - fraud.sum()), given={"fraud": True}, random_state=0)
print("\nFraud in the data and in samples: medians")
print(pd.DataFrame({"data": payments[fraud].median(), "sampled": more.median()}).drop("fraud").round(2))

# %%
# Pictures
# --------

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for cultivar, colour in zip("ABC", ("tab:red", "tab:blue", "tab:green"), strict=True):
    for rows, marker in ((real, "o"), (synthetic, "x")):
        some = rows[rows["cultivar"] == cultivar]
        axes[0].scatter(some["flavanoids"], some["proline"], s=22, marker=marker, color=colour, alpha=0.7)
axes[0].set(xlabel="flavanoids", ylabel="proline", title="Wine by cultivar: ● data, × sampled")
axes[1].scatter(more["hour"][:300], more["amount"][:300], s=22, marker="x", label="sampled", color="tab:orange")
axes[1].scatter(payments["hour"][fraud], payments["amount"][fraud], s=22, label="data", color="tab:blue")
axes[1].set(xlabel="hour", ylabel="amount", yscale="log", title=f"{fraud.sum()} cases of fraud, and 300 sampled")
axes[1].legend()
figure.savefig("small_tables.png", dpi=150)
