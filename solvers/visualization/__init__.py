"""What people look at: grids, interpolations, plots and the page of a run."""
