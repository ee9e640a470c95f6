"""The machinery around a training loop: where it runs, what it keeps, what it says."""
