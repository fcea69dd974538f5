/* For tests, by LD_PRELOAD into httpd: the function of httpd 2.5, and of Red Hat's 2.4, that tells a path below the directory for
 * what servers keep. That directory is $STATE_DIR.
 */
#include <stdlib.h>

typedef struct apr_pool_t apr_pool_t;

char *apr_pstrcat(apr_pool_t *pool, ...);
char *ap_state_dir_relative(apr_pool_t *pool, const char *path);

char *ap_state_dir_relative(apr_pool_t *pool, const char *path)
{
    return apr_pstrcat(pool, getenv("STATE_DIR"), "/", path, (char *)NULL);
}
