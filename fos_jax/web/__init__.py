"""Shared parts of the local servers: refusals, safe headers, files of pages, and the server itself."""
