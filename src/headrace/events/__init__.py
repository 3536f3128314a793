"""What flows through a job: batches of typed rows, and the formats they come from."""
