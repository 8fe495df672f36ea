"""Many runs, one answer: statistics and reports."""
