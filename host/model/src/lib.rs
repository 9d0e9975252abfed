//! What flows through Lakemill: records, change batches, positions, table schemas. No I/O, no async.
