"""The HTTP service: search, explanations, composites and changes of one gallery, and the page for people."""
