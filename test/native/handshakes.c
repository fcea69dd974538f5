/* A client for bench.py: as many new TLS connections as it can make, one after the other, each asking for a staple.
 *
 *     handshakes <port> <seconds>      prints: connections, how many of them had a staple, seconds
 */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

/* 1 with a staple, 0 without, -1 if there was no connection. */
static int handshake(SSL_CTX *context, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const unsigned char *staple;
    int result = -1, fd = socket(AF_INET, SOCK_STREAM, 0);
    SSL *ssl = SSL_new(context);

    SSL_set_tlsext_status_type(ssl, TLSEXT_STATUSTYPE_ocsp);
    if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 && SSL_set_fd(ssl, fd) && SSL_connect(ssl) == 1) {
        result = SSL_get_tlsext_status_ocsp_resp(ssl, &staple) > 0;
    }
    SSL_free(ssl);
    close(fd);
    return result;
}

int main(int count, char **words)
{
    long connections = 0, stapled = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    double begin = now(), end;

    if (count != 3) {
        return 2;
    }
    for (end = begin + atof(words[2]); now() < end; connections++) {
        int staple = handshake(context, atoi(words[1]));
        if (staple < 0) {
            return 1;
        }
        stapled += staple;
    }
    printf("%ld %ld %.6f\n", connections, stapled, now() - begin);
    return 0;
}
