"""Whether the cheap measurements of a search rank architectures as its dear ones do. Nothing here imports torch."""
