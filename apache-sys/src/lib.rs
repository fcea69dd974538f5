//! Bindings of httpd and APR.
