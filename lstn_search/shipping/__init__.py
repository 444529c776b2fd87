"""A localization net as one Python file that needs nothing but torch, its weights beside it, proven to be the same."""
