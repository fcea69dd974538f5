/* The program a2md: it is in Rust, in the archive that the module is linked from too, so that both are compiled once.
 *
 * What the program refers to of httpd is what only the module calls: the linker drops it.
 */
#include <signal.h>

extern int md_rs_a2md(int argc, char **argv);

int main(int argc, char **argv)
{
    /* A peer that closes its connection is an error to report, not the end of the program. */
    signal(SIGPIPE, SIG_IGN);
    return md_rs_a2md(argc, argv);
}
