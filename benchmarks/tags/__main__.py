"""``python -m benchmarks.tags``."""

from benchmarks.tags.run import main

main()
