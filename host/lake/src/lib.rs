//! Delta and Parquet tables (the only door to deltalake).
