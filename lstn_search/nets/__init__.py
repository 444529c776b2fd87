"""Torch modules: the localization net, the transformer around it, the classifiers, and weights on disk."""
