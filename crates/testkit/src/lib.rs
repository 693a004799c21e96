//! Placeholder; grows with its first use.
