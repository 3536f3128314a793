"""Running a bound plan: expressions, operators, and the job loop."""
