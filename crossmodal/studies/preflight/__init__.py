"""Pre-flight: measures on one fold of what a teacher can add, before a full study."""
