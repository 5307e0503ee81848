//! What a vendor ships beside a module.
