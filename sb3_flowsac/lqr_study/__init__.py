"""The LQR case study: train, compare with the closed-form optimum, draw."""
