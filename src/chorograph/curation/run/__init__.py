"""Running a plan of steps: partitions, queries, engine, output."""
