"""What the local servers share: refusals, safe headers, files of pages, and the server itself."""
