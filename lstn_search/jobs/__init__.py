"""Jobs and who runs them: worker processes on this machine, or Ray."""
