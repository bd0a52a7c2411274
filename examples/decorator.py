"""Put a surrogate round a Python function."""

import warnings

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ase_proxima import NotWorthwhileWarning, proxima

warnings.simplefilter("ignore", NotWorthwhileWarning)  # a sine is cheaper than any surrogate
model = make_pipeline(StandardScaler(), GaussianProcessRegressor(normalize_y=True, random_state=0))


@proxima(error_bound=0.01, surrogate=model, uncertainty="distance")
def slow(x: np.ndarray) -> float:
    """Stand for an hour's work."""
    return float(np.sin(x).sum())


rng = np.random.default_rng(0)
errors = []
for _ in range(300):
    x = rng.uniform(0, 2, size=2)
    errors.append(abs(slow(x) - float(np.sin(x).sum())))

print(f"calls: {slow.stats.n_calls}, of which the function ran in {len(slow.frames)}")
print(f"mean error of all answers: {np.mean(errors):.2g} of 0.01 allowed")
