"""Where jobs run: worker processes on this machine, or Ray. One small Protocol, see `base.py`."""
