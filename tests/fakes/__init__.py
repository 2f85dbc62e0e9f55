"""What the tests put in the place of AWS: fakes that behave, and refuse what AWS refuses."""
