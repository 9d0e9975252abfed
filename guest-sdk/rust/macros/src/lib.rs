//! Derives and attributes of the guest SDK.
