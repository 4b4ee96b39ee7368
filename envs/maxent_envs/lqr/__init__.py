"""Linear-quadratic regulation with maximum entropy: problem, closed-form solution, environments."""
