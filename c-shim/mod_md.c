/* The module record and the registration of all hooks.
 *
 * The file's name is part of the interface: <IfModule mod_md.c> and the log's tag "md" come from it.
 */
#include "md_shim.h"

static void register_hooks(apr_pool_t *pool)
{
    static const char *const tls[] = {"mod_ssl.c", "mod_tls.c", NULL};
    static const char *const ssl[] = {"mod_ssl.c", NULL};
    static const char *const watchdog[] = {"mod_watchdog.c", NULL};
    (void)pool;

    /* Before any directive is applied: statics of an earlier generation are reset, whether or not the module was unloaded. */
    ap_hook_pre_config(md_rs_pre_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* The last check of the settings, which `httpd -t` makes, too. */
    ap_hook_check_config(md_rs_check_config, NULL, NULL, APR_HOOK_MIDDLE);
    /* The end of `httpd -t`. After all others, as a test for a server that wants to restart goes on and ends in this hook. */
    ap_hook_test_config(md_rs_test_config, NULL, NULL, APR_HOOK_REALLY_LAST);
    /* Before the TLS modules: they ask for certificates in their post_config, so domains must be matched and activated. */
    ap_hook_post_config(md_rs_post_config_first, NULL, tls, APR_HOOK_FIRST);
    /* After the TLS modules: they have asked for certificates of their hosts. Before mod_watchdog: it starts registered work. */
    ap_hook_post_config(md_rs_post_config_last, tls, watchdog, APR_HOOK_LAST);

    /* Before mod_ssl and mod_watchdog start using our callbacks in the child. */
    ap_hook_child_init(md_rs_child_init, NULL, tls, APR_HOOK_FIRST);
    /* In the parent, every ten seconds or so: children that are forked later begin with what it has read. */
    ap_hook_monitor(md_rs_monitor, NULL, NULL, APR_HOOK_MIDDLE);
    /* At once when a child is told to stop: its pools may live until the last connection ends. */
    ap_hook_child_stopping(md_rs_child_stopping, NULL, NULL, APR_HOOK_MIDDLE);

    /* Before mod_ssl, so that no module handles a request to a host that has only a placeholder. */
    ap_hook_post_read_request(md_rs_post_read_first, NULL, ssl, APR_HOOK_FIRST);
    /* After mod_ssl; before every translate and access hook, so that no Redirect, Require or ProxyPass hides a challenge,
     * and none of them handles a request that has to come over https. */
    ap_hook_post_read_request(md_rs_post_read_second, ssl, NULL, APR_HOOK_MIDDLE);
    /* Late: the handler has set all headers of the response. */
    md_shim_register_filters();
    ap_hook_insert_filter(md_rs_insert_filter, NULL, NULL, APR_HOOK_LAST);
    /* Called by mod_status, if there is one, for a part of its page. */
    APR_OPTIONAL_HOOK(ap, status_hook, md_rs_status, NULL, NULL, APR_HOOK_MIDDLE);
    /* Acts only where SetHandler names it, so the order among handlers does not matter. */
    ap_hook_handler(md_rs_handler, NULL, NULL, APR_HOOK_MIDDLE);

    /* httpd's own hooks, not those of mod_ssl: it runs them for every TLS module, and they exist without one. */
    ap_hook_ssl_add_cert_files(md_rs_add_cert_files, NULL, NULL, APR_HOOK_MIDDLE);

    /* tls-alpn-01: the protocol has no other speaker, so the order among modules does not matter. */
    ap_hook_protocol_propose(md_rs_protocol_propose, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_protocol_switch(md_rs_protocol_switch, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_protocol_get(md_rs_protocol_get, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_ssl_answer_challenge(md_rs_answer_challenge, NULL, NULL, APR_HOOK_MIDDLE);

    /* Other modules are asked only if this one does not staple, in any order: httpd asks all until one answers. */
    ap_hook_ssl_ocsp_prime_hook(md_rs_ocsp_prime, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_ssl_ocsp_get_resp_hook(md_rs_ocsp_response, NULL, NULL, APR_HOOK_MIDDLE);
    /* Hooks of mod_ssl. */
    md_shim_register_ssl_hooks();
}

module AP_MODULE_DECLARE_DATA md_module = {
    STANDARD20_MODULE_STUFF,
    NULL, /* no settings per directory */
    NULL,
    md_rs_create_server_config,
    md_rs_merge_server_config,
    md_rs_directives,
    register_hooks,
    /* Without the flag httpd skips the merge for hosts with no directive of ours, and they would share the main server's value. */
    AP_MODULE_FLAG_ALWAYS_MERGE,
};
