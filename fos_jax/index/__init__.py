"""Maximum inner product search over the vectors of one category."""
