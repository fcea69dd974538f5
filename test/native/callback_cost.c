/* For bench.py, by LD_PRELOAD into httpd: the CPU time of callbacks in handshakes that answer status requests, and of those
 * that choose certificates.
 *
 * The file $CALLBACK_COST gets two numbers of 8 bytes for each of the two: calls and nanoseconds. Only the callback that was set
 * last is timed, for any host; one that falls through to a former one is not for this.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int callback_fn(SSL *, void *);

enum { STATUS, CERTIFY, KINDS };
static callback_fn *callbacks[KINDS];
static _Atomic(int64_t) *cost;

static int64_t cpu_time(void)
{
    struct timespec at;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static int timed(int kind, SSL *ssl, void *data)
{
    /* The first two tell what reading the clock costs. */
    int64_t before = cpu_time(), begin = cpu_time();
    int result = callbacks[kind](ssl, data);
    int64_t end = cpu_time();

    atomic_fetch_add(&cost[2 * kind], 1);
    atomic_fetch_add(&cost[2 * kind + 1], (end - begin) - (begin - before));
    return result;
}

static int timed_status(SSL *ssl, void *data)
{
    return timed(STATUS, ssl, data);
}

static int timed_certify(SSL *ssl, void *data)
{
    return timed(CERTIFY, ssl, data);
}

__attribute__((constructor)) static void map(void)
{
    const char *path = getenv("CALLBACK_COST");
    int fd = path ? open(path, O_RDWR) : -1;

    /* While it is root; children inherit the pages. */
    if (fd >= 0) {
        cost = mmap(NULL, 2 * KINDS * sizeof(*cost), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
    }
}

long SSL_CTX_callback_ctrl(SSL_CTX *context, int command, void (*callback)(void))
{
    long (*next)(SSL_CTX *, int, void (*)(void)) = dlsym(RTLD_NEXT, "SSL_CTX_callback_ctrl");

    if (command == SSL_CTRL_SET_TLSEXT_STATUS_REQ_CB && cost) {
        callbacks[STATUS] = (callback_fn *)callback;
        callback = (void (*)(void))timed_status;
    }
    return next(context, command, callback);
}

void SSL_CTX_set_cert_cb(SSL_CTX *context, callback_fn *callback, void *data)
{
    void (*next)(SSL_CTX *, callback_fn *, void *) = dlsym(RTLD_NEXT, "SSL_CTX_set_cert_cb");

    if (callback && cost) {
        callbacks[CERTIFY] = callback;
        callback = timed_certify;
    }
    next(context, callback, data);
}
