"""Range, mean and deviation of weighted numbers, whatever their size. numpy only."""

import math

import numpy as np

LEAST_DEVIATION = 1e-6  # of numbers beside half their range: rows of equal weight never have less


def value_range(values: np.ndarray) -> tuple[float, float]:
    """Least and greatest of values (n,); zeros where there are none."""
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)


def moments(values: np.ndarray, weight: np.ndarray) -> tuple[float, float]:
    """Weighted mean and standard deviation of values (n,); deviation 1 where they do not vary."""
    lower, upper = value_range(values)
    if lower == upper:
        return lower, 1.0
    size = max(-lower, upper)  # squares of numbers near 1e300, or 1e-300, leave the range of float64
    mean = np.average(values / size, weights=weight)
    deviation = math.sqrt(np.average((values / size - mean) ** 2, weights=weight)) * size
    # where one row outweighs all others, theirs are still numbers that can be squared
    return float(mean) * size, max(deviation, LEAST_DEVIATION * (upper / 2 - lower / 2)) or 1.0
