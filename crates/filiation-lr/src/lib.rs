//! From statistics to opinions: calibration, bounds, the claim ladder.
