"""From proposed to verified patterns: a store of annotators' actions, a local server with one page, spread labels."""
