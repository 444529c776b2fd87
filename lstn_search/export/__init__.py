"""A localization net as one Python file that needs nothing but torch, its weights beside it, proven to be the same."""

from lstn_search.export.code import model_code
from lstn_search.export.folder import write_model
from lstn_search.export.proof import Proof, prove

__all__ = ["Proof", "model_code", "prove", "write_model"]
