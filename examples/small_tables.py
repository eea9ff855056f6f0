"""
Small tables and rare classes
=============================

Are 89 wines enough to draw new ones, and is a class of 2 % of the rows drawn as it is?

Writes `small_tables.png` into the folder that it is run from.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from skvae import VAETransformer, quality_report

# %%
# Half of a small table, and new rows
# -----------------------------------
# The generator starts in closed form: logistic regressions of categories, then ridge regressions of numbers on them, and a
# normal distribution of what remains. What training adds is kept only where held-out rows gain by it.

wine = load_wine(as_frame=True)
table = wine.data.assign(cultivar=pd.Categorical.from_codes(wine.target, ["A", "B", "C"]))
real, holdout = train_test_split(table, test_size=0.5, random_state=0, stratify=table["cultivar"])
vae = VAETransformer(latent_dim=4, random_state=0).fit(real)
synthetic = vae.sample(len(real), random_state=0)
report = quality_report(real, synthetic, holdout, target="cultivar", random_state=0)
print(f"Wine, {len(real)} rows: {report.verdict}")

# %%
# A rare class
# ------------
# `given` draws rows as if free draws had been filtered. Here are as many of the rare kind as of the other one, to train a
# classifier on.

rng = np.random.default_rng(0)
fraud = rng.random(3000) < 0.02
payments = pd.DataFrame(
    {"amount": rng.lognormal(3 + 1.5 * fraud), "hour": rng.normal(14 - 9 * fraud, 3).clip(0, 24).round(2)}
)
payments["fraud"] = fraud
model = VAETransformer(latent_dim=2, random_state=0).fit(payments)
more = model.sample(int((~fraud).sum() - fraud.sum()), given={"fraud": True}, random_state=0)
print("\nFraud in the data and as drawn: medians")
print(pd.DataFrame({"data": payments[fraud].median(), "drawn": more.median()}).drop("fraud").round(2))

# %%
# Pictures
# --------

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for cultivar, colour in zip("ABC", ("tab:red", "tab:blue", "tab:green"), strict=True):
    for rows, marker in ((real, "o"), (synthetic, "x")):
        some = rows[rows["cultivar"] == cultivar]
        axes[0].scatter(some["flavanoids"], some["proline"], s=22, marker=marker, color=colour, alpha=0.7)
axes[0].set(xlabel="flavanoids", ylabel="proline", title="Wine by cultivar: data o, drawn x")
axes[1].scatter(more["hour"][:300], more["amount"][:300], s=22, marker="x", label="drawn", color="tab:orange")
axes[1].scatter(payments["hour"][fraud], payments["amount"][fraud], s=22, label="data", color="tab:blue")
axes[1].set(xlabel="hour", ylabel="amount", yscale="log", title=f"{fraud.sum()} cases of fraud, and 300 drawn")
axes[1].legend()
figure.savefig("small_tables.png", dpi=150)
