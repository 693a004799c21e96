//! Texts of other products to evidence: one file per product, its patterns as a table.
