"""What a job is: plain data, checked, and what its keys name."""
