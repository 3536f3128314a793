"""The edges of a job: the source and sink contracts, then one file per connector."""
