//! The probes: what is asked of every party, and the statistic of the answers.
