"""
A synthetic table and its report
================================

How good are synthetic rows of a table, and of a rare class in it?

Writes `synthesize.png` and `synthesize.html` into the current folder.
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
# Unconditional and conditional samples
# -------------------------------------
# Samples have the same columns, dtypes, categories and rounding as the data, and as many missing values. `given` fixes some
# cells, and the others are sampled given these. Here it makes a rare class as large as the others.

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
# Imputation of missing values
# ----------------------------

filled = vae.impute(holdout)
print(f"\nMissing cells: {int(holdout.isna().sum().sum())} before, {int(filled.isna().sum().sum())} after")

# %%
# A quality report
# ----------------

report = quality_report(real, synthetic, holdout, target="target", random_state=0)
print(f"\n{report}")
report.plot().figure_.savefig("synthesize.png", dpi=100)
report.to_html("synthesize.html")
print("\nPicture: synthesize.png; report: synthesize.html")
