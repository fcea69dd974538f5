/* The border between C and Rust: bindgen reads this file for Rust, the compiler reads it for the shim.
 *
 * md_shim_* is written in C, as it needs macros, varargs, or fields of server_rec, conn_rec and request_rec, whose layout Rust
 * does not have to know.
 * md_rs_* is written in Rust. Each function has a type below, to which Rust assigns it in a const: a signature that drifts on
 * either side does not compile.
 */
#ifndef MD_SHIM_H
#define MD_SHIM_H

#include <httpd.h>
#include <http_config.h>
#include <http_core.h>
#include <http_log.h>
#include <http_main.h>
#include <http_protocol.h>
#include <http_request.h>
#include <http_ssl.h>
#include <ap_listen.h>
#include <mpm_common.h>
#include <unixd.h>
#include <mod_status.h>
#include <mod_watchdog.h>
#include <apr_strings.h>
#include <util_filter.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/ssl.h>

/* Functions in Rust, which httpd calls through md_module or a hook. */

typedef void *md_rs_create_server_config_fn(apr_pool_t *pool, server_rec *server);
typedef void *md_rs_merge_server_config_fn(apr_pool_t *pool, void *base, void *add);
typedef int md_rs_pre_config_fn(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp);
typedef int md_rs_check_config_fn(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server);
typedef int md_rs_post_config_fn(apr_pool_t *pconf, apr_pool_t *plog, apr_pool_t *ptemp, server_rec *server);
typedef void md_rs_child_init_fn(apr_pool_t *pchild, server_rec *server);
typedef void md_rs_child_stopping_fn(apr_pool_t *pchild, int graceful);
typedef int md_rs_request_fn(request_rec *request);
typedef void md_rs_insert_filter_fn(request_rec *request);
typedef int md_rs_status_fn(request_rec *request, int flags);
typedef int md_rs_cert_files_fn(server_rec *server, apr_pool_t *pool, apr_array_header_t *certs,
                                apr_array_header_t *keys);
typedef int md_rs_protocol_propose_fn(conn_rec *connection, request_rec *request, server_rec *server,
                                      const apr_array_header_t *offers, apr_array_header_t *proposals);
typedef int md_rs_protocol_switch_fn(conn_rec *connection, request_rec *request, server_rec *server,
                                     const char *protocol);
typedef const char *md_rs_protocol_get_fn(const conn_rec *connection);
typedef int md_rs_answer_challenge_fn(conn_rec *connection, const char *name, const char **chain, const char **key);
typedef int md_rs_ocsp_prime_fn(server_rec *server, apr_pool_t *pool, const char *id, apr_size_t length, const char *pem);
typedef int md_rs_ocsp_response_fn(server_rec *server, conn_rec *connection, const char *id, apr_size_t length,
                                   ap_ssl_ocsp_copy_resp *copy, void *data);
typedef int md_rs_init_server_fn(server_rec *server, apr_pool_t *pool, int is_proxy, SSL_CTX *context);
typedef int md_rs_status_request_fn(SSL *ssl, void *data);
typedef int md_rs_certify_fn(SSL *ssl, void *data);
typedef int md_rs_monitor_fn(apr_pool_t *pool, server_rec *server);
typedef void md_rs_test_config_fn(apr_pool_t *pconf, server_rec *server);
typedef apr_status_t md_rs_watchdog_fn(int state, void *data, apr_pool_t *pool);

md_rs_create_server_config_fn md_rs_create_server_config;
md_rs_merge_server_config_fn md_rs_merge_server_config;
md_rs_pre_config_fn md_rs_pre_config;
md_rs_check_config_fn md_rs_check_config;
md_rs_post_config_fn md_rs_post_config_first;
md_rs_post_config_fn md_rs_post_config_last;
md_rs_child_init_fn md_rs_child_init;
md_rs_child_stopping_fn md_rs_child_stopping;
md_rs_request_fn md_rs_post_read_first;
md_rs_request_fn md_rs_post_read_second;
md_rs_insert_filter_fn md_rs_insert_filter;
md_rs_status_fn md_rs_status;
md_rs_request_fn md_rs_handler;
md_rs_cert_files_fn md_rs_add_cert_files;
md_rs_protocol_propose_fn md_rs_protocol_propose;
md_rs_protocol_switch_fn md_rs_protocol_switch;
md_rs_protocol_get_fn md_rs_protocol_get;
md_rs_answer_challenge_fn md_rs_answer_challenge;
md_rs_ocsp_prime_fn md_rs_ocsp_prime;
md_rs_ocsp_response_fn md_rs_ocsp_response;
md_rs_init_server_fn md_rs_init_server;
md_rs_status_request_fn md_rs_status_request;
md_rs_certify_fn md_rs_certify;
md_rs_certify_fn md_rs_certify_beside;
md_rs_monitor_fn md_rs_monitor;
md_rs_test_config_fn md_rs_test_config;
md_rs_watchdog_fn md_rs_watchdog;

/* The directive table; ends with an empty record. mod_so reads it before any function of the module has run. */
extern const command_rec md_rs_directives[];

/* Functions in C: the log. */

/* Checks whether LogLevel lets a message through. A NULL server stands for the time before the configuration is read. */
int md_shim_log_enabled(const server_rec *server, int level);
void md_shim_log_server(const server_rec *server, int level, apr_status_t status, const char *text);
void md_shim_log_connection(const conn_rec *connection, int level, apr_status_t status, const char *text);
void md_shim_log_request(const request_rec *request, int level, apr_status_t status, const char *text);

/* mod_watchdog, which may be absent. */

int md_shim_watchdog_loaded(void);
apr_status_t md_shim_watchdog_create(ap_watchdog_t **watchdog, const char *name, apr_pool_t *pool);
apr_status_t md_shim_watchdog_start(ap_watchdog_t *watchdog, apr_interval_time_t interval, const void *data);
apr_status_t md_shim_watchdog_interval(ap_watchdog_t *watchdog, apr_interval_time_t interval, const void *data);

/* mod_ssl and OpenSSL. */

/* Registers the two hooks of mod_ssl: before a handshake, and md_rs_init_server. apr_optional_hook_add needs no header of
 * mod_ssl, which not every system has. */
void md_shim_register_ssl_hooks(void);

/* The callback for status requests (RFC 6066 section 8) in handshakes of a context; `answer` is NULL if there is none. */
typedef struct {
    md_rs_status_request_fn *answer;
    void *data;
} md_status_callback;

md_status_callback md_shim_context_status_callback(SSL_CTX *context);
void md_shim_context_set_status_callback(SSL_CTX *context, md_status_callback callback);
/* Has mod_ssl set up all hosts and their certificates as at a start, in a process that ends after that without clean-ups,
 * which would remove files of a running server. Returns 0 if mod_ssl cannot start with them; the reason is in the log. */
int md_shim_try_tls(apr_pool_t *pool, server_rec *server);
/* Sets the private EVP_PKEY as the public key of its X509, in the form that takes least time in handshakes. Returns 0 if the
 * public key stays as it was. */
int md_shim_pair_share_key(void *leaf, void *key);
/* An X509, its EVP_PKEY and a STACK_OF(X509) or NULL. They belong to the context that they are in. */
typedef struct {
    void *leaf;
    void *key;
    void *issuers;
} md_pair;

/* Writes the certificates of a context, one of each type of key, `room` at most. Returns the number of them. */
size_t md_shim_context_pairs(SSL_CTX *context, md_pair *pairs, size_t room);
/* Fields. */

void *md_shim_server_config(const server_rec *server);
server_rec *md_shim_server_next(const server_rec *server);
const char *md_shim_server_hostname(const server_rec *server);
const char *md_shim_server_admin(const server_rec *server);
const char *md_shim_server_defn_name(const server_rec *server);
unsigned md_shim_server_defn_line(const server_rec *server);
int md_shim_server_is_virtual(const server_rec *server);
const server_addr_rec *md_shim_server_addrs(const server_rec *server);
const apr_array_header_t *md_shim_server_aliases(const server_rec *server);
const apr_array_header_t *md_shim_server_wildcard_aliases(const server_rec *server);
apr_pool_t *md_shim_server_process_pool(const server_rec *server);
/* Returns an argument that httpd was started with, without `-k start`: the program's name for 0, NULL behind the last. */
const char *md_shim_server_argument(const server_rec *server, int number);

ap_listen_rec *md_shim_listener_next(const ap_listen_rec *listener);
apr_port_t md_shim_listener_port(const ap_listen_rec *listener);
const char *md_shim_listener_protocol(const ap_listen_rec *listener);

/* The connection of a handshake, as mod_ssl keeps it. */
conn_rec *md_shim_ssl_connection(const SSL *ssl);
/* The TLS state of a connection, which mod_ssl hands out before its handshake; NULL without. */
SSL *md_shim_connection_ssl(const conn_rec *connection);
conn_rec *md_shim_connection_master(const conn_rec *connection);
server_rec *md_shim_connection_base_server(const conn_rec *connection);
apr_pool_t *md_shim_connection_pool(const conn_rec *connection);
apr_table_t *md_shim_connection_notes(const conn_rec *connection);
/* The address of this end of a connection, as text. */
const char *md_shim_connection_local_ip(const conn_rec *connection);
void md_shim_connection_close_soon(conn_rec *connection);

conn_rec *md_shim_request_connection(const request_rec *request);
server_rec *md_shim_request_server(const request_rec *request);
apr_pool_t *md_shim_request_pool(const request_rec *request);
int md_shim_request_method_number(const request_rec *request);
const char *md_shim_request_handler(const request_rec *request);
const char *md_shim_request_hostname(const request_rec *request);
const char *md_shim_request_path(const request_rec *request);
const char *md_shim_request_path_info(const request_rec *request);
const char *md_shim_request_query(const request_rec *request);
apr_table_t *md_shim_request_headers_in(const request_rec *request);
apr_table_t *md_shim_request_headers_out(const request_rec *request);
apr_table_t *md_shim_request_error_headers_out(const request_rec *request);
/* The path of the first <Location> with this SetHandler, of the request's server or the main one; NULL if there is none. */
const char *md_shim_request_location(request_rec *request, const char *handler);
void md_shim_request_set_status(request_rec *request, int status);

/* Output filters. */

/* Registers the filter that md_shim_add_header_filter adds. */
void md_shim_register_filters(void);
/* Sets a header of the response when the response begins, unless it has the header: handlers such as mod_proxy replace all
 * headers. The strings live as long as the request. */
void md_shim_add_header_filter(request_rec *request, const char *name, const char *value);

#endif
