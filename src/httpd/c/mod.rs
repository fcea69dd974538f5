//! Wrapper types of httpd's and APR's structures, whose lifetime is that of a pool, a request or a connection.

pub(super) mod array;
pub(super) mod connection;
mod fields;
pub(super) mod pool;
pub(super) mod request;
pub(super) mod server;
pub(super) mod tree;
