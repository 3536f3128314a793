"""The Nexmark queries in our language, beside Flink, DuckDB and Polars: ``python -m benchmarks.nexmark``."""
