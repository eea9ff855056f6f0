"""
Relations between columns
=========================

Which relations hold between the columns of a table, and do sampled rows keep them?

The table holds trips with times, fares and zones. `fit` finds relations, samples keep them, and one is added by hand.

Writes `relations.png` into the current folder.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skvae import VAETransformer, quality_report

# %%
# A table with rules
# ------------------
# The rules are not given to the model. A trip ends after it begins, a zone lies in one borough, tips are paid only by card,
# and the total is the sum of its parts and one of two surcharges. One trip in twenty breaks the sum, as it has another
# charge.

rng = np.random.default_rng(0)
n = 1500
pickup = pd.Timestamp("2024-03-01") + pd.to_timedelta(rng.integers(0, 31 * 86_400, n), unit="s")
seconds = np.maximum(60, rng.lognormal(6.5, 0.7, n)).astype(int)
fare = np.round(3 + seconds / 60 + rng.exponential(2, n), 1)
tip = np.where(rng.random(n) < 0.6, np.round(fare * rng.choice([0.1, 0.2, 0.3], n), 2), 0.0)
other = np.where(rng.random(n) < 0.05, rng.exponential(4, n), 0.0)
zone = rng.integers(0, 24, n)
trips = pd.DataFrame(
    {
        "pickup": pickup,
        "dropoff": pickup + pd.to_timedelta(seconds, unit="s"),
        "fare": fare,
        "tip": tip,
        "total": np.round(fare + tip + rng.choice([0.5, 2.5], n) + other, 2),
        "zone": np.array([f"zone {k}" for k in range(24)])[zone],
        "borough": np.array(["north", "east", "south"])[zone % 3],
        "payment": np.where(tip > 0, "card", rng.choice(["card", "cash"], n)),
    }
)
real, holdout = trips[:1000], trips[1000:]

# %%
# Relations that are found and kept
# ---------------------------------
# `relations_` lists the relations that were found, and the share of rows that keep them. A relation that all rows keep is
# kept by all samples. The sum, which some rows break, is broken as often.

vae = VAETransformer(latent_dim=8, random_state=0).fit(real)
print(vae.relations_.to_string(index=False, columns=["relation", "kind", "share"]))

synthetic = vae.sample(len(real), random_state=0)
report = quality_report(real, synthetic, holdout, random_state=0)
print("\n" + report.relations.drop(columns="columns").round(3).to_string(index=False))

# %%
# Conditions in every direction
# -----------------------------
# Given a total, its parts add up to it. Given a borough, only its zones are sampled. Values that contradict a relation raise
# an error.

asked = vae.sample(1000, given={"total": 30.0, "borough": "east"}, random_state=0)
print(f"\nTrips of 30.00 in the east: {sorted(asked['zone'].unique())}")
print(asked[["fare", "tip", "total"]].head(3).to_string(index=False))
try:
    vae.sample(given={"zone": "zone 0", "borough": "east"})
except ValueError as error:
    print(error)

# %%
# A relation added by hand, and no relations
# ------------------------------------------
# No tip exceeds its fare. `fit` does not find this rule, because all tips are far below the fare, but it can be stated. The
# log-density of held-out rows shows that the relations that were found help much. The one that is added only makes sure that
# no sample breaks it, which few did before.

by_hand = VAETransformer(latent_dim=8, relations=["fare >= tip"], random_state=0).fit(real)
without = VAETransformer(latent_dim=8, relations=None, random_state=0).fit(real)
for name, model in {"found": vae, "and one by hand": by_hand, "none": without}.items():
    drawn = model.sample(10_000, random_state=0)
    print(f"relations {name}: {model.log_density(holdout).mean():.1f} nats per held-out trip, ", end="")
    print(f"tip exceeds fare in {(drawn['tip'] > drawn['fare']).sum()} of 10,000 samples")

# %%
# Picture
# -------
# In the data, no trip ends before it begins, and the total exceeds fare and tip by 0.5 or 2.5, except in one trip of twenty.
# Samples keep both only with relations. Points beyond the edges of a panel are drawn at its edge.

panels = {
    "data": real,
    "sampled without relations": without.sample(len(real), random_state=0),
    "sampled with the relations that fit found": synthetic,
}
figure, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharex=True, sharey=True)
for axis, (title, rows) in zip(axes, panels.items(), strict=True):
    minutes = (rows["dropoff"] - rows["pickup"]).dt.total_seconds() / 60
    rest = rows["total"] - rows["fare"] - rows["tip"]
    axis.scatter(minutes.clip(-60, 60), rest.clip(-10, 15), s=6, alpha=0.5)
    axis.axvline(0, color="grey", lw=0.8)
    axis.set(title=title, xlabel="minutes from pickup to dropoff")
axes[0].set(ylabel="total less fare and tip")
figure.savefig("relations.png", dpi=110)
print("\nPicture: relations.png")
