//! Runs a case over its parties and owns the run directory.
