"""The search: ask -> cost -> dedupe -> run -> tell, in a run folder that can be resumed."""
