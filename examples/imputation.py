"""
Missing cells and multiple imputation
=====================================

How do imputed cells affect an estimate, if they are best guesses or random draws?

Writes `imputation.png` into the current folder.
"""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats
from sklearn.datasets import load_diabetes

from skvae import VAETransformer

# %%
# A table with missing cells
# --------------------------
# The body mass index of 442 diabetes patients is removed, more often for patients with a high progression. It is missing at
# random, because the observed progression determines the probability. The remaining patients are then not representative.

complete = load_diabetes(as_frame=True, scaled=False).frame.rename(columns={"target": "progression"})
rng = np.random.default_rng(0)
table = complete.copy()
gone = rng.random(len(table)) < 1 / (1 + np.exp(-(table["progression"] - 170) / 40))
table["bmi"] = table["bmi"].mask(gone)
print(f"bmi is missing in {gone.mean():.0%} of the rows")

# %%
# Best guesses and draws
# ----------------------
# By default `impute` fills in the best guess of each cell. Draws vary as much as the cell is uncertain.

vae = VAETransformer(latent_dim=4, random_state=0).fit(table)
guessed = vae.impute(table)
draws = vae.impute(table, n_draws=20)

truth = complete.loc[gone, "bmi"]
for name, filled in {
    "column mean": table["bmi"].mean(),
    "best guess": guessed["bmi"][gone],
    "a draw": draws[0]["bmi"][gone],
}.items():
    print(f"  {name:12s} root mean squared error {np.sqrt(np.mean((filled - truth) ** 2)):.1f}")
print("Standard deviation of the missing cells")
print(f"  truth {truth.std():.1f}, best guesses {guessed['bmi'][gone].std():.1f}, draws {draws[0]['bmi'][gone].std():.1f}")

# %%
# An estimate from imputed cells
# ------------------------------
# How much does the progression increase with each unit of body mass index? Best guesses are computed from the progression,
# so they lie too close to a line, but the regression treats them as measurements. With draws, the slope is estimated in each
# completed table and pooled by Rubin's rules (1987): the variance of the pooled estimate is the mean of the variances, plus
# (1 + 1 / n_draws) times the variance between the estimates.


def slope(frame):
    """Least-squares slope, and its variance."""
    line = stats.linregress(frame["bmi"], frame["progression"])
    return line.slope, line.stderr**2


def pooled(estimates):
    """Rubin's estimate and variance."""
    values, variances = np.transpose(estimates)
    return values.mean(), variances.mean() + (1 + 1 / len(values)) * values.var(ddof=1)


found = {
    "nothing missing": slope(complete),
    "complete rows only": slope(table.dropna()),
    "column mean": slope(table.fillna(table["bmi"].mean())),
    "best guesses": slope(guessed),
    "20 draws, pooled": pooled([slope(frame) for frame in draws]),
}
print("\nSlope of progression on bmi, and 95 % interval")
for name, (value, variance) in found.items():
    print(f"  {name:20s}{value:6.1f} ± {1.96 * np.sqrt(variance):.1f}")

# %%
# Pictures
# --------
# Left and middle: the red line is the least-squares line through all points of the panel. Right: each point is an estimated
# slope, and its bar the 95 % interval.

figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained", width_ratios=[1, 1, 1.1])
panels = {"Filled in with best guesses": guessed, "Filled in with a draw": draws[0]}
for axis, (title, frame) in zip(axes, panels.items(), strict=False):
    axis.scatter(table["bmi"], table["progression"], s=12, color="0.6", label="observed")
    axis.scatter(frame["bmi"][gone], frame["progression"][gone], s=12, color="tab:red", label="filled in")
    for rows, style, name in ((frame, "r-", "slope in these rows"), (complete, "k--", "slope if nothing is missing")):
        ends = np.array([18, 42])
        line = rows["progression"].mean() + slope(rows)[0] * (ends - rows["bmi"].mean())
        axis.plot(ends, line, style, lw=1.2, label=name)
    axis.set(xlabel="body mass index", ylabel="progression", title=title, xlim=(17, 43), ylim=(0, 400))
    axis.legend(frameon=False, loc="upper left", ncols=2)

places = -np.arange(len(found))
values, variances = np.transpose(list(found.values()))
colours = ["black", "dimgrey", "dimgrey", "dimgrey", "tab:red"]
for place, value, variance, colour in zip(places, values, variances, colours, strict=True):
    axes[2].errorbar(value, place, xerr=1.96 * np.sqrt(variance), fmt="o", capsize=4, color=colour)
axes[2].axvline(values[0], color="black", ls="--", lw=1, zorder=0)
axes[2].set(
    yticks=places, yticklabels=found, title="Slope, and 95 % interval", xlabel="progression by unit of body mass index"
)
figure.savefig("imputation.png", dpi=110)
print("\nPicture: imputation.png")
