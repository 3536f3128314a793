"""The two seed systems as experiments: pipelines to watch, measurements and plots."""
