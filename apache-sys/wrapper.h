/* What bindgen reads: md_shim.h includes the headers of httpd and APR that the module uses. */
#include "../c-shim/md_shim.h"
