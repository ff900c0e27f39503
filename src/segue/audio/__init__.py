"""Sound to numbers: files, decoding in workers with limits, tags, features."""
