"""
A synthetic table and its report
================================

How good are the synthetic rows of a table?

Writes `synthesize.png` and `synthesize.html` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from skvae import VAETransformer, quality_report

# %%
# A table with categories and missing cells, and a model of it
# ------------------------------------------------------------
# Measurements of 442 diabetes patients, and the progression of their diabetes in the following year. Some cells are removed.
# Half of the rows are held out, because the report compares the synthetic rows with real rows that the model has not seen.

table = load_diabetes(as_frame=True, scaled=False).frame
names = {"s1": "cholesterol", "s2": "LDL", "s3": "HDL", "s4": "ratio", "s5": "triglycerides", "s6": "sugar"}
table = table.rename(columns=names | {"bp": "pressure", "target": "progression"})
table["sex"] = pd.Categorical.from_codes(table["sex"].astype(int) - 1, ["a", "b"])  # the data do not say which is which
table["sugar"] = table["sugar"].mask(np.random.default_rng(0).random(len(table)) < 0.15)
real, holdout = train_test_split(table, test_size=0.5, random_state=0)
vae = VAETransformer(latent_dim=4, random_state=0).fit(real)

# %%
# Synthetic rows
# --------------
# Samples have the same columns, dtypes, categories and rounding as the data, and as many missing values.

synthetic = vae.sample(len(real), random_state=0)
print("Real rows, and synthetic ones")
print(real.head(4).to_string(index=False))
print()
print(synthetic.head(4).to_string(index=False))
shares = [rows["sugar"].isna().mean() for rows in (real, synthetic)]
print("\nsugar is missing in {:.0%} of the real rows, and in {:.0%} of the synthetic ones".format(*shares))

# %%
# A quality report
# ----------------
# The report says in words and numbers how far the synthetic rows are from the real ones. The column "real" of its table
# holds the same numbers for the held-out rows: synthetic rows that are as good as real ones reach about these.

report = quality_report(real, synthetic, holdout, target="progression", random_state=0)
print(f"\n{report}")

# %%
# Picture
# -------
# The picture is a part of the page `synthesize.html`: above, how far each column and each pair of columns is from the data,
# and below, the distributions of the columns. Darker pairs are farther from the data. Those with `sex` are the darkest,
# because pairs with a category compare counts of many small groups, which chance alone makes differ.

report.plot().figure_.savefig("synthesize.png", dpi=100)
report.to_html("synthesize.html")
print("\nPicture: synthesize.png; report: synthesize.html")
