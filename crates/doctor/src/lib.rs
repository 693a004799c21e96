//! From evidence to ranked causes, and to the evidence that would tell more. Pure: no files, no network, no clock.
