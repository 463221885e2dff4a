//! Statistics: exact tails in log space, resampling, divergences, assignment, CKA.
