/* The entry of the program a2md. The rest is in Rust: program and module are linked from one archive, so that both are
 * compiled once.
 *
 * Only code of the module refers to httpd; the linker drops it from the program.
 */
#include <signal.h>

extern int md_rs_a2md(int argc, char **argv);

int main(int argc, char **argv)
{
    /* A peer that closes its connection is an error to report, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    return md_rs_a2md(argc, argv);
}
