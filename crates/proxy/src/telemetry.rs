//! Derived from the record: log line and metrics.
