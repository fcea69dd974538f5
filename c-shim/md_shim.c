/* Functions for Rust that need macros, varargs or fields of structures; see md_shim.h. */
#include "md_shim.h"

#include <apr_optional.h>
#include <apr_optional_hooks.h>

APLOG_USE_MODULE(md);

int md_shim_log_enabled(const server_rec *server, int level)
{
    return server ? APLOG_IS_LEVEL(server, level) : level <= APLOG_NOTICE;
}

/* The text is never a format: it may quote a CA or a client.
 * Messages have no file and line: these would be the same for all.
 */

void md_shim_log_server(const server_rec *server, int level, apr_status_t status, const char *text)
{
    ap_log_error_(NULL, 0, APLOG_MODULE_INDEX, level, status, server, "%s", text);
}

void md_shim_log_connection(const conn_rec *connection, int level, apr_status_t status, const char *text)
{
    if (APLOG_C_IS_LEVEL(connection, level)) {
        ap_log_cerror_(NULL, 0, APLOG_MODULE_INDEX, level, status, connection, "%s", text);
    }
}

void md_shim_log_request(const request_rec *request, int level, apr_status_t status, const char *text)
{
    if (APLOG_R_IS_LEVEL(request, level)) {
        ap_log_rerror_(NULL, 0, APLOG_MODULE_INDEX, level, status, request, "%s", text);
    }
}

/* Optional functions are looked up at each use: a pointer kept in a static would outlive the module that owns it. */

int md_shim_watchdog_loaded(void)
{
    return APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance)
        && APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback)
        && APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_set_callback_interval);
}

apr_status_t md_shim_watchdog_create(ap_watchdog_t **watchdog, const char *name, apr_pool_t *pool)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_get_instance) *get = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_get_instance);
    /* Work runs in children only, in one child at a time. */
    return get ? get(watchdog, name, 0, 1, pool) : APR_ENOTIMPL;
}

apr_status_t md_shim_watchdog_start(ap_watchdog_t *watchdog, apr_interval_time_t interval, const void *data)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_register_callback) *add = APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_register_callback);
    return add ? add(watchdog, interval, data, md_rs_watchdog) : APR_ENOTIMPL;
}

apr_status_t md_shim_watchdog_interval(ap_watchdog_t *watchdog, apr_interval_time_t interval, const void *data)
{
    APR_OPTIONAL_FN_TYPE(ap_watchdog_set_callback_interval) *set =
        APR_RETRIEVE_OPTIONAL_FN(ap_watchdog_set_callback_interval);
    return set ? set(watchdog, interval, data, md_rs_watchdog) : APR_ENOTIMPL;
}

/* A hook of mod_ssl: remembers the TLS state of a connection before its handshake. */
static int pre_handshake(conn_rec *connection, SSL *ssl, int is_proxy)
{
    if (!is_proxy) {
        ap_set_module_config(connection->conn_config, &md_module, ssl);
    }
    return OK;
}

int md_shim_try_tls(apr_pool_t *pool, server_rec *server)
{
    const apr_array_header_t *hooks = ap_hook_get_post_config();
    int i;

    for (i = 0; hooks && i < hooks->nelts; ++i) {
        const ap_LINK_post_config_t *hook = &APR_ARRAY_IDX(hooks, i, ap_LINK_post_config_t);

        if (hook->szName && !strcmp(hook->szName, "mod_ssl.c") && hook->pFunc(pool, pool, pool, server) != OK) {
            return 0;
        }
    }
    return 1;
}

void md_shim_register_ssl_hooks(void)
{
    apr_optional_hook_add("pre_handshake", (void (*)(void))pre_handshake, NULL, NULL, APR_HOOK_MIDDLE);
    apr_optional_hook_add("init_server", (void (*)(void))md_rs_init_server, NULL, NULL, APR_HOOK_MIDDLE);
}

md_status_callback md_shim_context_status_callback(SSL_CTX *context)
{
    md_status_callback callback = {NULL, NULL};

    SSL_CTX_get_tlsext_status_cb(context, &callback.answer);
    SSL_CTX_get_tlsext_status_arg(context, &callback.data);
    return callback;
}

void md_shim_context_set_status_callback(SSL_CTX *context, md_status_callback callback)
{
    SSL_CTX_set_tlsext_status_cb(context, callback.answer);
    SSL_CTX_set_tlsext_status_arg(context, callback.data);
}

/* Copies an EC key into its provider's form; NULL for a key of another kind. The crate openssl has no EVP_PKEY_fromdata. */
static EVP_PKEY *provided(const EVP_PKEY *key)
{
    char group[64];
    unsigned char point[1 + 2 * 128], secret[128];
    size_t length = 0;
    BIGNUM *number = NULL;
    EVP_PKEY_CTX *context = NULL;
    EVP_PKEY *same = NULL;

    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_utf8_string_param(key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof(group), NULL)
        && EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof(point), &length)
        && EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &number)
        && BN_bn2nativepad(number, secret, sizeof(secret)) > 0
        && (context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL)) && EVP_PKEY_fromdata_init(context) == 1) {
        OSSL_PARAM parts[] = {
            OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
            OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, length),
            OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY, secret, sizeof(secret)),
            OSSL_PARAM_construct_end(),
        };
        EVP_PKEY_fromdata(context, &same, EVP_PKEY_KEYPAIR, parts);
    }
    OPENSSL_cleanse(secret, sizeof(secret));
    BN_clear_free(number);
    EVP_PKEY_CTX_free(context);
    return same;
}

int md_shim_pair_share_key(void *leaf, void *key)
{
    EVP_PKEY *native = provided(key);
    const int is_shared = X509_set_pubkey(leaf, native ? native : key) == 1;

    EVP_PKEY_free(native);
    ERR_clear_error();
    return is_shared;
}

size_t md_shim_context_pairs(SSL_CTX *context, md_pair *pairs, size_t room)
{
    X509 *current = SSL_CTX_get0_certificate(context);
    long which = SSL_CERT_SET_FIRST;
    size_t count;

    for (count = 0; count < room && SSL_CTX_set_current_cert(context, which) == 1; ++count, which = SSL_CERT_SET_NEXT) {
        STACK_OF(X509) *issuers = NULL;

        SSL_CTX_get0_chain_certs(context, &issuers);
        pairs[count].leaf = SSL_CTX_get0_certificate(context);
        pairs[count].key = SSL_CTX_get0_privatekey(context);
        pairs[count].issuers = issuers;
    }
    if (current) {
        SSL_CTX_select_current_cert(context, current);
    }
    return count;
}

void md_shim_connection_close_soon(conn_rec *connection)
{
    connection->keepalive = AP_CONN_CLOSE;
}

#define FIELD(result, name, type, expression) \
    result md_shim_##name(const type *it) { return expression; }

FIELD(void *, server_config, server_rec, ap_get_module_config(it->module_config, &md_module))
FIELD(server_rec *, server_next, server_rec, it->next)
FIELD(const char *, server_hostname, server_rec, it->server_hostname)
FIELD(const char *, server_admin, server_rec, it->server_admin)
FIELD(const char *, server_defn_name, server_rec, it->defn_name)
FIELD(unsigned, server_defn_line, server_rec, it->defn_line_number)
FIELD(int, server_is_virtual, server_rec, it->is_virtual != 0)
FIELD(const server_addr_rec *, server_addrs, server_rec, it->addrs)
FIELD(const apr_array_header_t *, server_aliases, server_rec, it->names)
FIELD(const apr_array_header_t *, server_wildcard_aliases, server_rec, it->wild_names)
FIELD(apr_pool_t *, server_process_pool, server_rec, it->process->pool)

const char *md_shim_server_argument(const server_rec *server, int number)
{
    return number < server->process->argc ? server->process->argv[number] : NULL;
}

FIELD(ap_listen_rec *, listener_next, ap_listen_rec, it->next)
FIELD(apr_port_t, listener_port, ap_listen_rec, it->bind_addr->port)
FIELD(const char *, listener_protocol, ap_listen_rec, it->protocol)

FIELD(conn_rec *, ssl_connection, SSL, SSL_get_app_data(it))
FIELD(SSL *, connection_ssl, conn_rec, ap_get_module_config(it->conn_config, &md_module))
FIELD(conn_rec *, connection_master, conn_rec, it->master)
FIELD(server_rec *, connection_base_server, conn_rec, it->base_server)
FIELD(apr_pool_t *, connection_pool, conn_rec, it->pool)
FIELD(apr_table_t *, connection_notes, conn_rec, it->notes)
FIELD(const char *, connection_local_ip, conn_rec, it->local_ip)

FIELD(conn_rec *, request_connection, request_rec, it->connection)
FIELD(server_rec *, request_server, request_rec, it->server)
FIELD(apr_pool_t *, request_pool, request_rec, it->pool)
FIELD(int, request_method_number, request_rec, it->method_number)
FIELD(const char *, request_handler, request_rec, it->handler)
FIELD(const char *, request_hostname, request_rec, it->hostname)
FIELD(const char *, request_path, request_rec, it->parsed_uri.path)
FIELD(const char *, request_path_info, request_rec, it->path_info)
FIELD(const char *, request_query, request_rec, it->args)
FIELD(apr_table_t *, request_headers_in, request_rec, it->headers_in)
FIELD(apr_table_t *, request_headers_out, request_rec, it->headers_out)
FIELD(apr_table_t *, request_error_headers_out, request_rec, it->err_headers_out)

const char *md_shim_request_location(request_rec *request, const char *handler)
{
    const core_server_config *core = ap_get_core_module_config(request->server->module_config);
    int i;

    for (i = 0; i < core->sec_url->nelts; ++i) {
        const core_dir_config *section = ap_get_core_module_config(APR_ARRAY_IDX(core->sec_url, i, ap_conf_vector_t *));
        const char *error = NULL, *name;

        if (!section->expr_handler || !section->d || section->r || section->d_is_fnmatch)
            continue;
        name = ap_expr_str_exec(request, section->expr_handler, &error);
        if (!error && name && !strcmp(name, handler))
            return section->d;
    }
    return NULL;
}

void md_shim_request_set_status(request_rec *request, int status)
{
    request->status = status;
}

static const char HEADER_FILTER[] = "MD_RESPONSE_HEADER";

typedef struct {
    const char *name;
    const char *value;
} header_filter_rec;

static apr_status_t header_filter(ap_filter_t *filter, apr_bucket_brigade *brigade)
{
    const header_filter_rec *header = filter->ctx;
    const request_rec *request = filter->r;

    if (!apr_table_get(request->headers_out, header->name) && !apr_table_get(request->err_headers_out, header->name)) {
        apr_table_setn(request->headers_out, header->name, header->value);
    }
    ap_remove_output_filter(filter);
    return ap_pass_brigade(filter->next, brigade);
}

void md_shim_register_filters(void)
{
    ap_register_output_filter(HEADER_FILTER, header_filter, NULL, AP_FTYPE_CONTENT_SET);
}

void md_shim_add_header_filter(request_rec *request, const char *name, const char *value)
{
    header_filter_rec *header = apr_palloc(request->pool, sizeof(*header));

    header->name = name;
    header->value = value;
    ap_add_output_filter(HEADER_FILTER, header, request, request->connection);
}
