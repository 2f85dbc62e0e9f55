"""Scripts of the project: set-up, the engine for machines without one, and pages made from code."""
