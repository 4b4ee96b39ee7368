"""Policies on a max-entropy LQR: rolled out, and compared with the closed-form optimum."""
