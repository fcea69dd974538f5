/* For tests, by LD_PRELOAD: makes RSA keys of 2048 and 3072 bits from primes that are there, in milliseconds. OpenSSL searches for primes, which
 * was more than half of what the tests cost.
 *
 * Each key has another pair of primes, so that all keys differ. The file $RSA_KEYS counts the pairs that are used, for all processes that
 * have this library. Without the file, after the last pair, and for other sizes, OpenSSL generates the key.
 */
#define _GNU_SOURCE
#define OPENSSL_SUPPRESS_DEPRECATED
#include <dlfcn.h>
#include <fcntl.h>
#include <openssl/bn.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rsa_primes.h"

#define PRIMES 64u
#define ROUNDS (PRIMES - 1)
#define PAIRS (ROUNDS * PRIMES / 2)

static atomic_uint *used;

__attribute__((constructor)) static void open_counter(void)
{
    const char *path = getenv("RSA_KEYS");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *used, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (page != MAP_FAILED)
        used = page;
}

/* The pairs are those of a tournament, in which each plays each once: keys of a round have no prime in common. */
static int compose(RSA *rsa, const char *const *primes, unsigned int pair, const BIGNUM *e)
{
    unsigned int round = pair / (PRIMES / 2), game = pair % (PRIMES / 2);
    unsigned int first = (round + game) % ROUNDS, second = game ? (round + ROUNDS - game) % ROUNDS : ROUNDS;
    BN_CTX *ctx = BN_CTX_new();
    BIGNUM *p = NULL, *q = NULL, *n = BN_new(), *d = BN_new(), *dp = BN_new(), *dq = BN_new(), *qinv = BN_new();
    BIGNUM *p1 = BN_new(), *q1 = BN_new(), *phi = BN_new();
    int ok = ctx && n && d && dp && dq && qinv && p1 && q1 && phi && BN_hex2bn(&p, primes[first]) && BN_hex2bn(&q, primes[second]);
    if (ok && BN_cmp(p, q) < 0)
        BN_swap(p, q);
    ok = ok && BN_mul(n, p, q, ctx) && BN_sub(p1, p, BN_value_one()) && BN_sub(q1, q, BN_value_one()) && BN_mul(phi, p1, q1, ctx)
        && BN_mod_inverse(d, e, phi, ctx) && BN_mod(dp, d, p1, ctx) && BN_mod(dq, d, q1, ctx) && BN_mod_inverse(qinv, q, p, ctx)
        && RSA_set0_key(rsa, n, BN_dup(e), d) && RSA_set0_factors(rsa, p, q) && RSA_set0_crt_params(rsa, dp, dq, qinv);
    BN_clear_free(p1);
    BN_clear_free(q1);
    BN_clear_free(phi);
    BN_CTX_free(ctx);
    return ok;
}

int RSA_generate_key_ex(RSA *rsa, int bits, BIGNUM *e, BN_GENCB *progress)
{
    const char *const *primes = bits == 2048 ? primes_1024 : bits == 3072 ? primes_1536 : NULL;
    if (used && primes && BN_is_word(e, RSA_F4)) {
        unsigned int pair = atomic_fetch_add(used, 1);
        if (pair < PAIRS)
            return compose(rsa, primes, pair, e);
    }
    int (*generate)(RSA *, int, BIGNUM *, BN_GENCB *);
    *(void **)&generate = dlsym(RTLD_NEXT, "RSA_generate_key_ex");
    return generate ? generate(rsa, bits, e, progress) : 0;
}

/* The C module generates by a context, which does not tell the size that it was given. */
static _Thread_local struct {
    EVP_PKEY_CTX *ctx;
    int bits;
} wanted;

int EVP_PKEY_CTX_set_rsa_keygen_bits(EVP_PKEY_CTX *ctx, int bits)
{
    int (*set)(EVP_PKEY_CTX *, int);
    *(void **)&set = dlsym(RTLD_NEXT, "EVP_PKEY_CTX_set_rsa_keygen_bits");
    wanted.ctx = ctx;
    wanted.bits = bits;
    return set ? set(ctx, bits) : 0;
}

int EVP_PKEY_keygen(EVP_PKEY_CTX *ctx, EVP_PKEY **key)
{
    if (!used || wanted.ctx != ctx || *key) {
        int (*generate)(EVP_PKEY_CTX *, EVP_PKEY **);
        *(void **)&generate = dlsym(RTLD_NEXT, "EVP_PKEY_keygen");
        return generate ? generate(ctx, key) : 0;
    }
    wanted.ctx = NULL;
    RSA *rsa = RSA_new();
    BIGNUM *e = BN_new();
    EVP_PKEY *made = EVP_PKEY_new();
    int ok = rsa && e && made && BN_set_word(e, RSA_F4) && RSA_generate_key_ex(rsa, wanted.bits, e, NULL) && EVP_PKEY_assign_RSA(made, rsa);
    BN_free(e);
    if (ok)
        *key = made;
    return ok;
}
