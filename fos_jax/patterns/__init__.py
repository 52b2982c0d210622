"""From photographs with instance masks to cut-outs, and from cut-outs to proposed patterns."""
