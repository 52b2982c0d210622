"""The searched objects: each module turns random draws into a table of primitives.

Object frame: forward +x, left +y, up +z, standing on z = 0 at the origin; units are the object's own.
"""
