//! One report type and its renderings.
