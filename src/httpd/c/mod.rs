//! Wrapper types of httpd's and APR's structures, whose lifetime is that of a pool, a request or a connection.

pub(super) mod array;
pub mod connection;
pub mod pool;
pub mod request;
pub mod server;
pub(super) mod tree;
