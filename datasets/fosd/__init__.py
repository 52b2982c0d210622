"""FOSD (S-FOSD and R-FOSD), the public benchmark of foreground object search, as a TFDS data set."""
