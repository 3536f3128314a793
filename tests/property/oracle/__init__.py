"""The language over finite streams, by brute force: plain Python over lists, written from the reference.

Nothing here knows the engine, batches or Polars. A stream is a list of `Timed`: a time in microseconds since
1970 UTC and a row, which is a dict of JSON values. A function says the rule it follows; it is as slow as it
is plain.
"""
