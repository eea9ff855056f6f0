"""
Rows that do not belong, and their cells
========================================

Which cells of a table are wrong?

Errors are planted in a mixed table, found, and explained cell by cell.

Writes `anomalies.png` into the folder that it is run from.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from skvae import VAEOutlierDetector, VAETransformer

# %%
# A table of parcels, in which about one row in twenty has a slip
# ---------------------------------------------------------------
# A number with a digit too many, or the service of another parcel. Neither is wrong by itself, as there are heavy parcels,
# and letters. They are wrong given the rest of their row.

rng = np.random.default_rng(0)
n = 800
service = rng.choice(["letter", "parcel", "freight"], n, p=[0.5, 0.4, 0.1])
size = pd.Series(service).map({"letter": 0.0, "parcel": 3.0, "freight": 6.0}).to_numpy() + rng.normal(0, 0.5, n)
frame = pd.DataFrame(
    {
        "service": service,
        "weight_kg": np.round(0.1 * np.exp(size + rng.normal(0, 0.1, n)), 2),
        "price": np.round(4 * np.exp(0.6 * size + rng.normal(0, 0.1, n)), 2),
        "days": rng.poisson(np.exp(0.25 * size)) + 1,
        "insured": rng.random(n) < 1 / (1 + np.exp(3 - size)),
    }
)
wrong = pd.DataFrame(False, index=frame.index, columns=frame.columns)
for row in np.flatnonzero(rng.random(n) < 0.05):
    column = str(rng.choice(["service", "weight_kg", "price"]))
    others = [one for one in ("letter", "parcel", "freight") if one != frame.at[row, "service"]]
    frame.at[row, column] = rng.choice(others) if column == "service" else 10 * frame.at[row, column]
    wrong.at[row, column] = True
in_row = wrong.any(axis=1).to_numpy()

# %%
# Rows that do not belong
# -----------------------

# Weights and prices are skewed, and follow each other on a curve: a model with hidden layers and normal scores suits them
# better than the linear one of the defaults. In the second fit, the least likely twentieth of the rows hardly counts.

model = VAETransformer(2, generator="latent")
detector = VAEOutlierDetector(model, support_fraction=0.95, random_state=0).fit(frame)
score = detector.score_samples(frame)
print(f"{in_row.sum()} of {n} rows hold a wrong cell. Average precision: {average_precision_score(in_row, -score):.2f}")
found = detector.predict(frame) == -1
print(f"{found.sum()} rows count as outliers, {(found & in_row).sum()} of which hold one\n")

# %%
# And which of their cells is wrong
# ---------------------------------
# The p-value of a cell is the probability, given the row's other cells, of one that is at least as unlikely. So grams, euros
# and names of services compare.

worst = frame.iloc[np.argsort(score)[:6]]
print(detector.explain(worst, n_cells=1).to_string(index=False))

log_p = detector.estimator_.score_cells(frame, kind="log_p_value")
hits = log_p.to_numpy()[in_row].argmin(axis=1) == wrong.to_numpy()[in_row].argmax(axis=1)
print(f"\nThe least likely cell of a row is the wrong one in {hits.mean():.0%} of the rows that hold one.")

figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for axis, (x, y) in zip(axes, (("weight_kg", "price"), ("weight_kg", "days")), strict=True):
    points = axis.scatter(frame[x], frame[y], c=log_p.min(axis=1) / np.log(10), s=9, cmap="viridis", vmin=-6)
    axis.scatter(
        frame[x][in_row], frame[y][in_row], s=60, facecolors="none", edgecolors="crimson", label="holds a wrong cell"
    )
    axis.set(xlabel=x, ylabel=y, xscale="log", yscale="log")
axes[0].legend()
figure.colorbar(points, ax=axes, label="least log10 p-value of the row")
figure.savefig("anomalies.png", dpi=120)
print("\nPicture: anomalies.png")
