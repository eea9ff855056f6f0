"""
A synthetic table and its report
================================

How good are new rows of a table, as they come, and of a kind that is rare?

Writes `synthesize.png` and `synthesize.html` into the folder that it is run from.
"""

import matplotlib

matplotlib.use("Agg")

import pandas as pd
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

from skvae import VAETransformer, quality_report

# %%
# A table with categories and missing cells, and a model of it
# ------------------------------------------------------------

table = load_wine(as_frame=True).frame
table["target"] = pd.Categorical.from_codes(table["target"], ["Barolo", "Grignolino", "Barbera"])
table.loc[::7, "ash"] = None
real, holdout = train_test_split(table, test_size=0.5, random_state=0)
vae = VAETransformer(latent_dim=4, random_state=0).fit(real)

# %%
# Rows as they come, and rows of a kind
# -------------------------------------
# The same columns, dtypes, categories and decimals; cells are missing as often as in the data. `given` fixes some cells, and
# the others follow: so a rare class is made as large as the others.

synthetic = vae.sample(len(real))
print(synthetic.head())
print(
    f"\nash is missing in {real['ash'].isna().mean():.0%} of the real rows, {synthetic['ash'].isna().mean():.0%} of the new"
)
counts = real["target"].value_counts()
rare = counts.idxmin()
more = vae.sample(int(counts.max() - counts.min()), given={"target": rare})
of_kind = real[real["target"] == rare]
print(f"{rare}: alcohol {more['alcohol'].mean():.1f} when given, {of_kind['alcohol'].mean():.1f} in the data")
balanced = pd.concat([real, more], ignore_index=True)
print(balanced["target"].value_counts().to_string())

# %%
# The cells that are missing, filled in
# -------------------------------------

filled = vae.impute(holdout)
print(f"\nMissing cells: {int(holdout.isna().sum().sum())} before, {int(filled.isna().sum().sum())} after")

# %%
# How good are they?
# ------------------

report = quality_report(real, synthetic, holdout, target="target", random_state=0)
print(f"\n{report}")
report.plot().figure_.savefig("synthesize.png", dpi=100)
report.to_html("synthesize.html")
print("\nPicture: synthesize.png; report: synthesize.html")
