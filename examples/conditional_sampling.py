"""
Conditional sampling
====================

What do rows look like if some of their columns are given?

The example gives one column, then several, and then the outcome in place of its causes.

Writes `conditional_sampling.png` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

from skvae import VAETransformer

# %%
# A table, and a model of it
# --------------------------
# Ten measurements of 442 patients, and the progression of their diabetes in the following year. No column is the target: the
# model describes all of them jointly.

table = load_diabetes(as_frame=True, scaled=False).frame
table = table.rename(columns={"bp": "blood pressure", "s3": "HDL", "s5": "log triglycerides", "target": "progression"})
real, holdout = train_test_split(table[["age", "bmi", *table.columns[3:]]], test_size=0.25, random_state=0)
vae = VAETransformer(latent_dim=4, random_state=0).fit(real)

# %%
# One column given, along its range
# ---------------------------------
# For each row of a DataFrame of conditions, `sample` draws `n_samples` rows. Their quantiles estimate conditional quantiles.

bmi = np.arange(19, 40)
drawn = vae.sample(500, given=pd.DataFrame({"bmi": bmi}))
low, middle, high = drawn.groupby("bmi")["progression"].quantile([0.1, 0.5, 0.9]).unstack().to_numpy().T

inside = holdout["progression"].between(np.interp(holdout["bmi"], bmi, low), np.interp(holdout["bmi"], bmi, high))
print(f"Held-out patients between the 10 % and 90 % quantiles given their body mass index: {inside.mean():.0%}")

# %%
# Several columns given
# ---------------------
# The data need not contain such a row: sampling neither searches nor rejects rows.

kinds = {
    "lean, low pressure": {"bmi": 22, "blood pressure": 80},
    "heavy, low pressure": {"bmi": 32, "blood pressure": 80},
    "heavy, high pressure": {"bmi": 32, "blood pressure": 115},
}
progressions = {kind: vae.sample(4000, given=given)["progression"] for kind, given in kinds.items()}
print("\nProgression, mean and standard deviation")
print(f"  {'all patients':22s}{real['progression'].mean():8.0f}{real['progression'].std():8.0f}")
for kind, values in progressions.items():
    print(f"  {kind:22s}{values.mean():8.0f}{values.std():8.0f}")

# %%
# From the outcome to the causes
# ------------------------------
# Here the progression is given and the measurements are sampled: how do patients with a high progression differ?

outcomes = {
    "progression of 60 given": vae.sample(2000, given={"progression": 60}),
    "progression of 280 given": vae.sample(2000, given={"progression": 280}),
}
columns = ["bmi", "log triglycerides", "blood pressure", "age", "HDL"]
standardised = {name: (rows[columns] - real[columns].mean()) / real[columns].std() for name, rows in outcomes.items()}

# %%
# Pictures
# --------
# Right: a point is the mean of the samples, and its bar reaches one standard deviation to either side. Zero is the mean of
# the data.

figure, (left, middle_axis, right) = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
left.fill_between(bmi, low, high, alpha=0.25, lw=0, label="10 % to 90 % of the samples")
left.plot(bmi, middle, lw=2, label="their median")
left.scatter(holdout["bmi"], holdout["progression"], s=12, color="black", label="held-out patients")
left.set(xlabel="body mass index, given", ylabel="progression", title="One column given", ylim=(0, 400))
left.set_xlim(bmi[0] - 0.5, bmi[-1] + 0.5)
left.legend(frameon=False, loc="upper left")

bins = np.linspace(real["progression"].min(), real["progression"].max(), 17)
for kind, values in progressions.items():
    middle_axis.hist(values, bins=bins, density=True, histtype="step", lw=2, label=kind)
middle_axis.hist(real["progression"], bins=bins, density=True, color="0.87", label="all patients in the data", zorder=0)
middle_axis.set(xlabel="progression", yticks=[], ylim=(0, 0.0145), title="Two columns given")
middle_axis.legend(frameon=False, ncols=2)

places = np.arange(len(columns))
for (name, rows), offset, colour in zip(standardised.items(), (0.13, -0.13), ("tab:blue", "tab:red"), strict=True):
    right.errorbar(rows.mean(), places + offset, xerr=rows.std(), fmt="o", capsize=3, color=colour, label=name)
right.axvline(0, color="0.7", lw=1, zorder=0)
right.set(xlabel="standard deviations from the mean of the data", title="Outcome given: mean and spread of the samples")
right.set(yticks=places, yticklabels=columns, ylim=(-0.6, len(columns) + 0.3))
right.legend(framealpha=1, edgecolor="white", loc="upper left")
figure.savefig("conditional_sampling.png", dpi=110)
print("\nPicture: conditional_sampling.png")
